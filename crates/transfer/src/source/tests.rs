//! Tests of files as sources: what changes while it is read is noticed, what is restored is as it was.

use super::*;
use futures::StreamExt;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn blob(path: &Path) -> Blob {
    Blob {
        role: "document".to_owned(),
        source: path.to_str().expect("path").to_owned(),
        key: "key".to_owned(),
        size: None,
        sha256: None,
        required: true,
        attributes: store::Attributes::default(),
    }
}

/// Reads a file of three pieces, with something happening after the first.
async fn read_with(meddle: impl FnOnce(&Path)) -> Result<u64, SourceError> {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("file");
    fs::write(&path, vec![7; 2500]).expect("writes");
    let old = SystemTime::now() - Duration::from_secs(1000);
    fs::File::options()
        .write(true)
        .open(&path)
        .expect("opens")
        .set_modified(old)
        .expect("sets");
    let opened = Files::new().open(&blob(&path), 0, 1000).await?;
    let Contents::Stream(mut stream) = opened.contents else {
        panic!("it is too large to come whole");
    };
    let mut read = stream.next().await.expect("a piece")?.len() as u64;
    meddle(&path);
    while let Some(piece) = stream.next().await {
        read += piece?.len() as u64;
    }
    Ok(read)
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_noticed() {
    assert_eq!(read_with(|_| {}).await.expect("reads"), 2500);
    let changed = |outcome: Result<u64, SourceError>| {
        let error = outcome.expect_err("changed");
        assert_eq!(error.kind(), SourceErrorKind::Changed, "{error:?}");
        assert!(error.to_string().contains("/file"), "{error}");
    };
    changed(read_with(|path| fs::write(path, vec![8; 2500]).expect("writes")).await);
    changed(read_with(|path| fs::write(path, vec![7; 2501]).expect("writes")).await);
    changed(read_with(|path| fs::write(path, "cut").expect("writes")).await);
    changed(read_with(|path| fs::remove_file(path).expect("removes")).await);
    changed(
        read_with(|path| {
            let other = path.with_extension("new");
            fs::write(&other, vec![7; 2500]).expect("writes");
            fs::rename(&other, path).expect("replaces");
        })
        .await,
    );
}

#[tokio::test]
async fn whole_files_come_with_their_hash_and_stamp() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("a \"file\" \u{e4}");
    fs::write(&path, "abc").expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
    let opened = Files::new()
        .open(&blob(&path), 3, 1000)
        .await
        .expect("opens");
    let stamp = opened.stamp.expect("a file has one");
    assert_eq!((opened.size, stamp.mode), (3, 0o640));
    assert_eq!(stamp.mtime_s, fs::metadata(&path).expect("looks").mtime());
    let Contents::Whole { bytes, sha256 } = opened.contents else {
        panic!("it is small");
    };
    assert_eq!((bytes.as_ref(), sha256), (&b"abc"[..], Digest::of(b"abc")));
    let found = Files::new().digest(&blob(&path)).await.expect("reads");
    assert_eq!(found, Some((3, Digest::of(b"abc"))));
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let dir = tempfile::tempdir().expect("scratch");
    let kind = async |path: &Path| {
        let opened = Files::new().open(&blob(path), 10, 10).await;
        opened.err().expect("fails").kind()
    };
    assert_eq!(
        kind(&dir.path().join("missing")).await,
        SourceErrorKind::Missing
    );
    assert_eq!(kind(dir.path()).await, SourceErrorKind::NotAFile);
    let dangling = dir.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).expect("links");
    assert_eq!(kind(&dangling).await, SourceErrorKind::Missing);
    let circle = dir.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).expect("links");
    assert_eq!(kind(&circle).await, SourceErrorKind::Io);
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("makes a pipe");
    assert_eq!(kind(&pipe).await, SourceErrorKind::NotAFile);
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("writes");
    assert_eq!(kind(&file.join("below")).await, SourceErrorKind::Missing);
    let missing = Files::new()
        .digest(&blob(&dir.path().join("missing")))
        .await;
    assert_eq!(missing.expect("is an answer"), None);
}

fn body(bytes: &'static [u8]) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let pieces = bytes.chunks(2).map(|piece| Ok(Bytes::from_static(piece)));
    futures::stream::iter(pieces.collect::<Vec<_>>()).boxed()
}

#[tokio::test]
async fn a_restored_file_is_as_it_was_and_nothing_less_gets_the_name() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("new/directory/file");
    let stored = StoredBlob {
        size: 5,
        sha256: Digest::of(b"hello"),
        created: true,
        stamp: Some(Stamp {
            mtime_s: 1_000_000_000,
            mtime_ns: 123_456_789,
            mode: 0o604,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }),
    };
    let files = Files::new();
    for wrong in [&b"hellO"[..], b"hell", b"hello!", b""] {
        let outcome = files.restore(&blob(&path), &stored, body(wrong)).await;
        let error = outcome.expect_err("is not what was stored");
        assert_eq!(error.kind(), SourceErrorKind::WrongDigest);
        assert!(!path.exists());
    }
    files
        .restore(&blob(&path), &stored, body(b"hello"))
        .await
        .expect("restores");
    let found = fs::metadata(&path).expect("looks");
    assert_eq!(fs::read(&path).expect("reads"), b"hello");
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (1_000_000_000, 123_456_789)
    );
    assert_eq!(found.mode() & 0o7777, 0o604);
    let names = fs::read_dir(path.parent().expect("directory")).expect("lists");
    assert_eq!(names.count(), 1, "no temporary file is left");
    // It may be put back once more where a disk has damaged it, which leaves its time; what somebody else wrote stays.
    let again = files.restore(&blob(&path), &stored, body(b"hello")).await;
    again.expect("is its own");
    fs::write(&path, "HELLO").expect("writes");
    let over = files.restore(&blob(&path), &stored, body(b"hello")).await;
    let kind = over.expect_err("is another's").kind();
    assert_eq!(kind, SourceErrorKind::Occupied);
    let differs = files.remove(&blob(&path), &stored).await;
    assert_eq!(differs.expect("looks"), Removal::Differs);
    assert_eq!(fs::read(&path).expect("reads"), b"HELLO");
    fs::write(&path, "hello").expect("writes");
    for expected in [Removal::Removed, Removal::NotThere] {
        let removed = files.remove(&blob(&path), &stored).await;
        assert_eq!(removed.expect("removes"), expected);
    }
    assert!(!path.exists());
    std::os::unix::fs::symlink("nowhere", &path).expect("links");
    let over = files.restore(&blob(&path), &stored, body(b"hello")).await;
    over.expect("a link to nothing is in nobody's way");
    assert_eq!(fs::read(&path).expect("reads"), b"hello");
}
