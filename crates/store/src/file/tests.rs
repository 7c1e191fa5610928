//! Files that are there whole or not at all, links, and what cannot be written.

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("lists")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_link_is_replaced_where_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("scratch");
    let (decoy, path) = (dir.path().join("decoy"), dir.path().join("object"));
    fs::write(&decoy, b"precious").expect("writes");
    std::os::unix::fs::symlink(&decoy, &path).expect("links");
    let mut file = AtomicFile::create_in_place(&path).expect("begins");
    file.write_all(b"new").expect("writes");
    file.commit().expect("commits");
    assert_eq!(fs::read(&decoy).expect("reads"), b"precious");
    assert!(fs::symlink_metadata(&path).expect("is there").is_file());
    assert_eq!(fs::read(&path).expect("reads"), b"new");
}

#[test]
fn a_directory_of_one_relative_name_is_made_where_we_are() {
    // The only test that needs a path without a directory; it takes a name that nobody has, since the working directory is everybody's.
    let name = format!("made-by-{}-{}", std::process::id(), line!());
    let made = create_dir_durably(Path::new(&name));
    let is_there = Path::new(&name).is_dir();
    let _ = fs::remove_dir(&name);
    made.expect("makes");
    assert!(is_there);
}

#[test]
fn replaces_whole_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("file");
    atomic_write(&path, b"old").expect("writes");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("mode");
    atomic_write(&path, b"new").expect("writes");
    assert_eq!(fs::read(&path).expect("reads"), b"new");
    assert_eq!(
        fs::metadata(&path).expect("mode").permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_private_file_is_private_even_over_a_public_one() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("file");
    atomic_write(&path, b"public").expect("writes");
    atomic_write_private(&path, b"secret").expect("writes");
    assert_eq!(
        fs::metadata(&path).expect("mode").permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn an_abandoned_file_changes_nothing() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("file");
    atomic_write(&path, b"old").expect("writes");
    let mut file = AtomicFile::create(&path).expect("begins");
    file.write_all(&[7; 100_000]).expect("writes");
    assert_eq!(
        names(dir.path()).len(),
        2,
        "it has a name of its own meanwhile"
    );
    drop(file);
    assert_eq!(fs::read(&path).expect("reads"), b"old");
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn what_a_killed_process_left_is_cleared_and_what_is_being_written_is_not() {
    let dir = tempfile::tempdir().expect("scratch");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/b")).expect("makes");
    let left = ".syncline-tmp-0123456789abcdef";
    let not_ours = ".syncline-tmp-of-a-person";
    for name in [left, "a/file", not_ours] {
        fs::write(at(name), b"half").expect("writes");
    }
    fs::write(at("a/b").join(left), b"half").expect("writes");
    let target = at("a/written");
    let mut random = AtomicFile::create(&target).expect("begins");
    let mut again = AtomicFile::create_anew(&at("a/again")).expect("begins");
    for file in [&mut random, &mut again] {
        file.write_all(b"whole").expect("writes");
        file.flush().expect("flushes");
    }
    assert_eq!(clear_temporaries(dir.path()).files, 2);
    assert_eq!(names(&at("a/b")), [""; 0]);
    random.commit().expect("commits");
    again.commit().expect("commits");
    assert_eq!(names(dir.path()), [not_ours, "a"]);
    assert_eq!(names(&at("a")), ["again", "b", "file", "written"]);
    let nowhere = clear_temporaries(&at("nowhere"));
    assert_eq!((nowhere.files, nowhere.passed_over), (0, 0));
}

#[test]
fn what_cannot_be_read_keeps_no_other_half_from_being_cleared() {
    let dir = tempfile::tempdir().expect("scratch");
    let left = ".syncline-tmp-0123456789abcdef";
    for name in ["a", "b", "c"] {
        let below = dir.path().join(name);
        fs::create_dir(&below).expect("makes");
        fs::write(below.join(left), b"half").expect("writes");
    }
    // A name that cannot be opened, also for root: it is longer than a path may be.
    let mut deep = dir.path().join("b");
    while deep.as_os_str().len() < 3_800 {
        deep.push("d".repeat(200));
        fs::create_dir(&deep).expect("makes");
    }
    let (above, name) = (File::open(&deep).expect("opens"), "e".repeat(255));
    let mode = rustix::fs::Mode::from_raw_mode(0o700);
    rustix::fs::mkdirat(&above, &name, mode).expect("makes");
    let inner = rustix::fs::openat(&above, &name, rustix::fs::OFlags::RDONLY, mode);
    rustix::fs::mkdirat(inner.expect("opens"), &name, mode).expect("makes");
    let cleared = clear_temporaries(dir.path());
    assert_eq!((cleared.files, cleared.passed_over), (3, 1));
    assert!(cleared.first.is_some());
}

#[test]
fn two_who_write_one_file_at_once_do_not_meet() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("file");
    let mut one = AtomicFile::create_anew(&path).expect("begins");
    one.write_all(b"whole").expect("writes");
    let mut other = AtomicFile::create_anew(&path).expect("begins");
    other.write_all(b"who").expect("writes");
    other.flush().expect("flushes");
    one.commit().expect("commits its own");
    assert_eq!(fs::read(&path).expect("reads"), b"whole");
    drop(other);
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn only_the_first_creates() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("file");
    AtomicFile::create(&path)
        .expect("begins")
        .commit_new()
        .expect("is the first");
    let second = AtomicFile::create(&path)
        .expect("begins")
        .commit_new()
        .expect_err("is the second");
    assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_link_stays_a_link() {
    let dir = tempfile::tempdir().expect("scratch");
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    atomic_write(&real, b"old").expect("writes");
    std::os::unix::fs::symlink(&real, &link).expect("links");
    atomic_write(&link, b"new").expect("writes");
    assert_eq!(fs::read(&real).expect("reads"), b"new");
    assert!(
        fs::symlink_metadata(&link)
            .expect("is there")
            .file_type()
            .is_symlink()
    );
}

#[test]
fn errors_name_the_path() {
    let error =
        atomic_write(Path::new("/nonexistent/place/file"), b"").expect_err("no such directory");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        error.to_string().contains("/nonexistent/place/file"),
        "{error}"
    );
    let error = create_dir_durably(Path::new("/proc/nonexistent/x")).expect_err("refused");
    assert!(error.to_string().contains("/proc/nonexistent"), "{error}");
}
