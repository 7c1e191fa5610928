//! Where files are found: each form of path that Readur has left behind, maps, and links.

use super::*;
use crate::mapping::Mapping;
use std::os::unix::fs::symlink;

/// A scratch machine: the application's working directory with `uploads` in it.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("uploads/documents")).expect("a folder");
        Machine { folder }
    }

    fn write(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, name).expect("a file");
        path
    }

    fn paths(&self, upload: &str) -> Paths {
        Paths {
            upload: upload.to_owned(),
            base: self.folder.path().to_owned(),
            maps: Vec::new(),
            symlinks: Symlinks::Inside,
        }
    }
}

fn row(path: &str) -> Row {
    Row {
        key: "id".to_owned(),
        path: path.to_owned(),
        ..Row::default()
    }
}

fn find(paths: &Paths, path: &str) -> Found {
    paths.find(&Mapping::readur(), &row(path))
}

fn file_at(paths: &Paths, path: &str) -> PathBuf {
    match find(paths, path) {
        Found::File(file) => file.path.canonicalize().expect("it is there"),
        other => panic!("{path}: {other}"),
    }
}

#[test]
fn every_form_of_path_is_found_as_the_application_finds_it() {
    let machine = Machine::new();
    let file = machine
        .write("uploads/documents/a b.pdf")
        .canonicalize()
        .expect("it is there");
    let absolute = machine.folder.path().join("uploads").display().to_string();
    for upload in ["./uploads", "uploads/", absolute.as_str()] {
        let paths = machine.paths(upload);
        for form in [
            "./uploads/documents/a b.pdf",
            "uploads/documents/a b.pdf",
            "./uploads/a b.pdf",
            "uploads/a b.pdf",
            "documents/a b.pdf",
            "a b.pdf",
            &format!("{absolute}/documents/a b.pdf"),
            &format!("{absolute}/a b.pdf"),
        ] {
            assert_eq!(file_at(&paths, form), file, "{form} with {upload}");
        }
        for form in [
            "./uploads/documents/other.pdf",
            "other",
            "/nowhere/other.pdf",
            "\0",
            &"x".repeat(5000),
        ] {
            assert!(
                matches!(find(&paths, form), Found::Missing { .. }),
                "{form:.20}"
            );
        }
        for form in [
            "../no-such-file-here",
            "./uploads/documents/../../machine",
            "uploads/../uploads/documents/a b.pdf",
            "/nowhere/../nowhere/other.pdf",
        ] {
            assert!(
                matches!(find(&paths, form), Found::Leaves { .. }),
                "{form} with {upload}"
            );
        }
        let within = "./uploads/documents/x/../a b.pdf";
        assert!(!paths.leaves(&paths.here(within)), "it stays inside");
    }
}

#[test]
fn the_first_place_that_has_a_file_wins() {
    let machine = Machine::new();
    let flat = machine.write("uploads/x.pdf");
    machine.write("uploads/documents/x.pdf");
    let paths = machine.paths("./uploads");
    assert_eq!(
        file_at(&paths, "./uploads/x.pdf"),
        flat.canonicalize().expect("it is there")
    );
    let Found::File(found) = find(&paths, "x.pdf") else {
        panic!("it is there")
    };
    assert!(found.is_legacy);
}

#[test]
fn paths_of_another_machine_are_mapped_and_the_longest_map_wins() {
    let machine = Machine::new();
    let near = machine.write("host/near/documents/1.pdf");
    let far = machine.write("host/far/1.pdf");
    let mut paths = machine.paths("/app/uploads");
    let root = machine.folder.path().display().to_string();
    paths.maps = vec![
        format!("/app/uploads={root}/host/near")
            .parse()
            .expect("a pair"),
        format!("/app/uploads/old/={root}/host/far")
            .parse()
            .expect("a pair"),
    ];
    assert_eq!(paths.here("/app/uploads/documents/1.pdf"), near);
    assert_eq!(paths.here("/app/uploads/old/1.pdf"), far);
    assert_eq!(
        paths.here("/app/uploads"),
        machine.folder.path().join("host/near")
    );
    assert_eq!(
        paths.here("/app/uploads-too/1.pdf"),
        PathBuf::from("/app/uploads-too/1.pdf")
    );
    assert_eq!(
        file_at(&paths, "/app/uploads/documents/1.pdf"),
        near.canonicalize().expect("it is there")
    );
    // A row from the days of the default upload path, seen from outside the container.
    assert_eq!(
        file_at(&paths, "./uploads/documents/1.pdf"),
        near.canonicalize().expect("it is there")
    );
    for wrong in ["/a", "=/b", "/a="] {
        assert!(wrong.parse::<PathMap>().is_err(), "{wrong}");
    }
}

#[test]
fn links_are_followed_by_choice() {
    let machine = Machine::new();
    let inside = machine.write("uploads/temp/in.bytes");
    let outside = machine.write("elsewhere/out.bytes");
    let at = |name: &str| machine.folder.path().join("uploads/documents").join(name);
    symlink(&inside, at("in.pdf")).expect("a link");
    symlink(&outside, at("out.pdf")).expect("a link");
    symlink("nothing", at("dangling.pdf")).expect("a link");
    symlink(machine.folder.path().join("elsewhere"), at("folder")).expect("a link");
    let kinds = |symlinks| {
        let paths = Paths {
            symlinks,
            ..machine.paths("./uploads")
        };
        ["in.pdf", "out.pdf", "dangling.pdf", "folder/out.bytes"].map(|name| {
            match find(&paths, &format!("./uploads/documents/{name}")) {
                Found::File(_) => "file",
                Found::Refused { .. } => "refused",
                Found::Dangling { .. } => "dangling",
                other => panic!("{name}: {other}"),
            }
        })
    };
    assert_eq!(
        kinds(Symlinks::Inside),
        ["file", "refused", "dangling", "refused"]
    );
    assert_eq!(kinds(Symlinks::All), ["file", "file", "dangling", "file"]);
    assert_eq!(
        kinds(Symlinks::Refuse),
        ["refused", "refused", "refused", "refused"]
    );
}

#[test]
fn an_upload_path_that_is_itself_a_link_is_no_way_out() {
    let machine = Machine::new();
    let file = machine.write("disk/documents/1.pdf");
    fs::remove_dir_all(machine.folder.path().join("uploads")).expect("it goes");
    symlink("disk", machine.folder.path().join("uploads")).expect("a link");
    assert_eq!(
        file_at(&machine.paths("./uploads"), "./uploads/documents/1.pdf"),
        file.canonicalize().expect("it is there")
    );
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let machine = Machine::new();
    fs::create_dir(machine.folder.path().join("uploads/documents/1.pdf")).expect("a folder");
    let found = find(&machine.paths("./uploads"), "./uploads/documents/1.pdf");
    assert!(
        matches!(
            found,
            Found::NotAFile {
                what: "a directory",
                ..
            }
        ),
        "{found}"
    );
    machine.write("uploads/documents/file");
    let below = find(
        &machine.paths("./uploads"),
        "./uploads/documents/file/1.pdf",
    );
    assert!(matches!(below, Found::Missing { .. }), "{below}");
}

#[test]
fn thumbnails_are_found_by_the_files_name_and_by_the_documents() {
    let machine = Machine::new();
    let mapping = Mapping::readur();
    let paths = machine.paths("./uploads");
    let derived = &mapping.derived[0];
    let old = Row {
        key: "new-id".to_owned(),
        path: "./uploads/documents/own.pdf".to_owned(),
        ..Row::default()
    };
    assert_eq!(paths.find_derived(derived, &old), None);
    let by_id = machine.write("uploads/thumbnails/new-id_thumb.jpg");
    let found = paths.find_derived(derived, &old).expect("it is there");
    assert_eq!(found.path.canonicalize().ok(), by_id.canonicalize().ok());
    let by_stem = machine.write("uploads/thumbnails/own_thumb.jpg");
    let found = paths.find_derived(derived, &old).expect("it is there");
    assert_eq!(found.path.canonicalize().ok(), by_stem.canonicalize().ok());
}
