//! What is said to do about damage, done.

use crate::program::{program, run, sync};
use crate::world::World;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const JQ: [&str; 4] = ["--formula", "jq", "--platform", "x86_64_linux"];

/// Runs a command over the mirror of a world; returns its code and all that it said.
pub async fn does(world: &World, arguments: &[&str]) -> (i32, String) {
    let mut command = program(world);
    let mirror = world.state.path().join("mirror");
    command.args(arguments).arg("--store").arg(mirror);
    let (code, out, err) = run(command).await;
    (code, out + &err)
}

/// Turns the last byte of a file.
pub fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("it is there");
    *bytes.last_mut().expect("it has bytes") ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// The files in a folder of the mirror's.
pub fn within(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scrub_says_to_do_mends_bottles_manifests_and_files_of_the_api() {
    let world = World::new().await;
    let (code, _, err) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 0, "{err}");
    let mirror = world.state.path().join("mirror");
    let image = mirror.join("v2/homebrew/core/jq");
    let bottle = within(&image.join("blobs")).remove(0);
    let manifest = within(&image.join("manifests")).remove(0);
    let api = mirror.join("api/cask.jws.json");
    let damaged = [&bottle, &manifest, &api];
    let whole = damaged.map(|path| std::fs::read(path).expect("it is there"));
    for path in damaged {
        damage(path);
    }
    let (code, said) = does(&world, &["scrub"]).await;
    assert_eq!(code, 16, "{said}");
    let named = |path: &Path| {
        let key = path.strip_prefix(&mirror).expect("it is of the mirror");
        let name = format!("warning: {}: ", key.display());
        said.lines().any(|line| line.starts_with(&name))
    };
    assert!(damaged.iter().all(|path| named(path)), "{said}");
    assert!(
        said.contains("Remove the bottles and manifests")
            && said.contains("`homebrew-sync sync --check`"),
        "{said}"
    );
    // As it is said.
    std::fs::remove_file(&bottle).expect("removed");
    std::fs::remove_file(&manifest).expect("removed");
    let (code, _, err) = run(sync(&world, &["--check"])).await;
    assert_eq!(code, 0, "{err}");
    for (path, whole) in damaged.iter().zip(&whole) {
        let found = std::fs::read(path).expect("it is there again");
        assert!(found == *whole, "{} is not mended", path.display());
    }
    let (code, said) = does(&world, &["scrub"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_of_which_a_kept_file_is_damaged_is_not_gone_back_to() {
    let world = World::new().await;
    let (code, _, err) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 0, "{err}");
    let kept = world.state.path().join("mirror/.syncline/mirror/files");
    let files = within(&kept);
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    let (code, _, err) = run(sync(&world, &[])).await;
    assert_eq!(code, 0, "{err}");
    // Only reading it would tell.
    for path in files {
        damage(&path);
    }
    let (code, said) = does(&world, &["rollback"]).await;
    assert_eq!(code, 16, "{said}");
    for part in ["cannot be gone back to", "nothing was changed"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, said) = does(&world, &["status"]).await;
    assert!(said.contains("Generation   2 "), "{said}");
    // A scrub names what that generation can no longer be served with.
    let (code, said) = does(&world, &["scrub"]).await;
    assert_eq!(code, 16, "{said}");
    for part in [
        "api/formula.jws.json of generation 1\n",
        ".syncline/mirror/files/",
        "cannot be gone back to",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = does(&world, &["prune", "--keep", "1", "--grace", "0s"]).await;
    assert_eq!(code, 0, "{said}");
    let (code, _, err) = run(sync(&world, &["--check"])).await;
    assert_eq!(code, 0, "{err}");
    let (code, said) = does(&world, &["scrub"]).await;
    assert_eq!(code, 0, "{said}");
}

/// Turns the last byte of a file as a disk does: nothing else of it changes.
fn rot(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .open(path)
        .expect("it is there");
    let time = file.metadata().expect("it is there").modified();
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).expect("it has bytes");
    file.read_exact(&mut last).expect("read");
    file.seek(SeekFrom::End(-1)).expect("it has bytes");
    file.write_all(&[last[0] ^ 1]).expect("written");
    file.set_modified(time.expect("a time")).expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_api_that_has_rotted_comes_from_its_copy_and_the_copy_from_it() {
    let world = World::new().await;
    let (code, _, err) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 0, "{err}");
    let mirror = world.state.path().join("mirror");
    let api = mirror.join("api/formula.jws.json");
    let whole = std::fs::read(&api).expect("it is there");
    let digest = transfer::Digest::of(&whole).to_string();
    let copy = mirror.join(".syncline/mirror/files").join(digest);
    assert_eq!(std::fs::read(&copy).expect("it is there"), whole);
    // The upstream is not there: its copy is.
    rot(&api);
    let alone = ["--check", "--api", "http://127.0.0.1:1/api"];
    let (code, _, err) = run(sync(&world, &alone)).await;
    assert_eq!(code, 14, "{err}");
    assert!(std::fs::read(&api).expect("it is there") == whole);
    // The copy is named, and made anew.
    rot(&copy);
    let (code, said) = does(&world, &["scrub"]).await;
    assert_eq!(code, 16, "{said}");
    assert!(
        said.contains("it is api/formula.jws.json of generation 1\n"),
        "{said}"
    );
    let (code, _, err) = run(sync(&world, &["--check"])).await;
    assert_eq!(code, 0, "{err}");
    assert!(std::fs::read(&copy).expect("it is there") == whole);
    let (code, said) = does(&world, &["scrub"]).await;
    assert_eq!(code, 0, "{said}");
    // One that has rotted is not relied on when what it is a copy of is written over.
    rot(&copy);
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    let (code, _, err) = run(sync(&world, &[])).await;
    assert_eq!(code, 0, "{err}");
    let (code, said) = does(&world, &["rollback", "1"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(std::fs::read(&api).expect("it is there") == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_fetches_manifests_that_are_cut_or_empty() {
    // The last one can be read as a manifest still. Each begins anew: what was mended once has a copy.
    for length in [0, 1, 100, usize::MAX] {
        let world = World::new().await;
        let (code, _, err) = run(sync(&world, &["--formula", "wget"])).await;
        assert_eq!(code, 0, "{err}");
        let mirror = world.state.path().join("mirror");
        let core = mirror.join("v2/homebrew/core");
        let manifest = |image: &str| within(&core.join(image).join("manifests")).remove(0);
        for path in ["wget", "openssl/3", "ca-certificates"].map(manifest) {
            let whole = std::fs::read(&path).expect("it is there");
            let bytes = match whole.get(..length) {
                Some(cut) => cut.to_vec(),
                None => [&whole[..], b"\n"].concat(),
            };
            std::fs::write(&path, bytes).expect("written");
            let (code, _, err) = run(sync(&world, &["--check"])).await;
            assert_eq!(code, 0, "{err}");
            let found = std::fs::read(&path).expect("it is there");
            assert!(found == whole, "{} of {length}", path.display());
        }
        let (code, said) = does(&world, &["scrub"]).await;
        assert_eq!(code, 0, "{said}");
    }
}
