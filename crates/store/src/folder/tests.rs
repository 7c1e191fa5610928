//! The folder store against a real file system.

mod guard;

use super::walk;
use super::*;
use crate::{Environment, ErrorKind, Store, StoreUrl, Tuning};
use bytes::Bytes;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

async fn open(root: &Path) -> Store {
    let url = StoreUrl::from_folder(root);
    Store::open(&url, &Tuning::default(), &Environment::default())
        .await
        .expect("opens")
}

async fn filled() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("scratch");
    let store = open(&dir.path().join("a/store")).await;
    for key in ["vault.json", "manifests/n1/1-a", "objects/blobs/ab/cd"] {
        store
            .put(key, Bytes::from(format!("bytes of {key}")))
            .await
            .expect("puts");
    }
    (dir, store)
}

async fn keys(store: &Store, prefix: &str) -> Vec<String> {
    store
        .list(prefix)
        .await
        .expect("lists")
        .into_iter()
        .map(|entry| entry.key)
        .collect()
}

#[tokio::test]
async fn what_is_put_is_read_listed_and_deleted() {
    let (_dir, store) = filled().await;
    assert_eq!(
        keys(&store, "").await,
        ["manifests/n1/1-a", "objects/blobs/ab/cd", "vault.json"]
    );
    assert_eq!(keys(&store, "manifests/").await, ["manifests/n1/1-a"]);
    assert_eq!(keys(&store, "absent").await, Vec::<String>::new());
    assert_eq!(
        store.get("vault.json").await.expect("reads"),
        "bytes of vault.json"
    );
    store
        .put("vault.json", Bytes::new())
        .await
        .expect("overwrites");
    assert_eq!(store.get("vault.json").await.expect("reads"), "");
    store
        .delete(&[
            "vault.json".into(),
            "absent".into(),
            "objects/blobs/ab/cd".into(),
        ])
        .await
        .expect("deletes");
    assert_eq!(keys(&store, "").await, ["manifests/n1/1-a"]);
    let error = store.get("vault.json").await.expect_err("is gone");
    assert_eq!(
        (error.kind(), error.key()),
        (ErrorKind::NotFound, Some("vault.json"))
    );
    let error = store.get("manifests").await.expect_err("is a directory");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_litter_of_sync_tools_is_not_read() {
    let (dir, store) = filled().await;
    let root = dir.path().join("a/store");
    let before = keys(&store, "").await;
    for name in [
        "manifests/n1/1-a.sync-conflict-20261120-101112-ABCDEFG",
        "manifests/n1/.syncthing.2-b.tmp",
        "manifests/~syncthing~2-b.tmp",
        ".stversions/vault.json",
        ".stfolder/x",
        "vault (conflicted copy 2026-11-20).json",
        ".dropbox.cache/x",
        "objects/x.partial",
        "objects/x.crdownload",
        "desktop.ini",
        ".DS_Store",
        "new\nline",
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("makes");
        fs::write(path, b"litter").expect("writes");
    }
    use std::os::unix::ffi::OsStrExt;
    fs::write(
        root.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")),
        b"litter",
    )
    .expect("writes");
    assert_eq!(keys(&store, "").await, before);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_an_error_and_never_empty() {
    let (dir, store) = filled().await;
    fs::rename(dir.path().join("a"), dir.path().join("unmounted")).expect("unmounts");
    for error in [
        store.list("").await.err(),
        store.get("vault.json").await.err(),
        store.delete(&["vault.json".into()]).await.err(),
    ] {
        // Deleting what is not there is fine, but not where nothing is.
        let error = error.expect("fails");
        assert_eq!(error.kind(), ErrorKind::NoBucket, "{error}");
        assert!(error.remedy().contains("mount"), "{}", error.remedy());
        assert!(
            std::error::Error::source(&error)
                .is_some_and(|cause| cause.to_string().contains("a/store")),
            "{error:?}"
        );
    }
    fs::write(dir.path().join("a"), b"a file").expect("writes");
    assert_eq!(
        store.list("").await.expect_err("is no folder").kind(),
        ErrorKind::NoBucket
    );
}

#[tokio::test]
async fn a_folder_in_whose_place_an_empty_one_came_is_neither_read_nor_written() {
    let (dir, store) = filled().await;
    let root = dir.path().join("a/store");
    let upload = store
        .multipart("large", &crate::Attributes::default())
        .await;
    let upload = upload.expect("begins");
    let part = upload.put_part(0, Bytes::from_static(b"part"), None);
    part.await.expect("writes");
    for is_there in [true, false] {
        fs::rename(&root, dir.path().join("unmounted")).expect("unmounts");
        if is_there {
            fs::create_dir(&root).expect("a mount point");
        }
        for error in [
            store.put("new/key", Bytes::from_static(b"x")).await.err(),
            store.put("key", Bytes::from_static(b"x")).await.err(),
            store.get("vault.json").await.err(),
            store.list("").await.err(),
        ] {
            let error = error.expect("fails");
            assert_eq!(error.kind(), ErrorKind::NoBucket, "{error}");
            assert!(error.remedy().contains("mount"), "{}", error.remedy());
        }
        assert_eq!(is_there, root.exists(), "it is not made");
        if is_there {
            let nothing = fs::read_dir(&root).expect("lists").count();
            assert_eq!(nothing, 0, "and nothing is put there");
            fs::remove_dir(&root).expect("removes");
        }
        fs::rename(dir.path().join("unmounted"), &root).expect("mounts");
        store.get("vault.json").await.expect("is there again");
    }
    upload.complete().await.expect("it has its name");
    let upload = store
        .multipart("other", &crate::Attributes::default())
        .await;
    let upload = upload.expect("begins");
    fs::rename(&root, dir.path().join("unmounted")).expect("unmounts");
    fs::create_dir(&root).expect("a mount point");
    let refused = upload.complete().await.expect_err("it is elsewhere");
    assert_eq!(refused.kind(), ErrorKind::NoBucket, "{refused}");
}

#[tokio::test]
async fn only_a_write_makes_the_folder() {
    let dir = tempfile::tempdir().expect("scratch");
    let root = dir.path().join("new/store");
    let store = open(&root).await;
    assert_eq!(
        store.list("").await.expect_err("is not there").kind(),
        ErrorKind::NoBucket
    );
    assert!(!root.exists());
    store
        .put("key", Bytes::from_static(b"x"))
        .await
        .expect("puts");
    assert!(root.join(MARKER).is_file(), "it says what it is");
    assert_eq!(keys(&store, "").await, ["key"]);
}

#[tokio::test]
async fn an_unfinished_write_is_never_seen_and_removed_when_stale() {
    let (dir, store) = filled().await;
    let stale = dir
        .path()
        .join("a/store/manifests/.syncline-tmp-0123456789abcdef");
    let fresh = dir
        .path()
        .join("a/store/manifests/.syncline-tmp-fedcba9876543210");
    fs::write(&stale, b"half").expect("writes");
    fs::write(&fresh, b"half").expect("writes");
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    fs::File::options()
        .write(true)
        .open(&stale)
        .expect("opens")
        .set_modified(long_ago)
        .expect("ages");
    assert_eq!(keys(&store, "manifests").await, ["manifests/n1/1-a"]);
    assert!(!stale.exists() && fresh.exists());
}

#[tokio::test]
async fn many_writers_of_one_key_leave_one_whole_object() {
    let (_dir, store) = filled().await;
    let texts: Vec<String> = (0..16).map(|n| format!("{n}").repeat(10_000 + n)).collect();
    let writes = texts
        .iter()
        .map(|text| store.put("same", Bytes::from(text.clone())));
    futures::future::join_all(writes)
        .await
        .into_iter()
        .for_each(|outcome| outcome.expect("puts"));
    let read = store.get("same").await.expect("reads");
    assert!(
        texts.iter().any(|text| text.as_bytes() == read),
        "{} bytes",
        read.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_become_empty_go_and_writers_make_them_again() {
    let (dir, store) = filled().await;
    store
        .delete(&["objects/blobs/ab/cd".into()])
        .await
        .expect("deletes");
    assert!(
        !dir.path().join("a/store/objects").exists()
            && dir.path().join("a/store/manifests").exists()
    );
    let work = (0..4).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = format!("deep/er/{n}");
            for _ in 0..50 {
                store
                    .put(&key, Bytes::from_static(b"x"))
                    .await
                    .expect("puts");
                assert_eq!(store.get(&key).await.expect("reads"), "x");
                store
                    .delete(std::slice::from_ref(&key))
                    .await
                    .expect("deletes");
            }
        })
    });
    futures::future::join_all(work)
        .await
        .into_iter()
        .for_each(|outcome| outcome.expect("no task failed"));
    assert!(!dir.path().join("a/store/deep").exists());
}

#[tokio::test]
async fn a_key_cannot_lead_out_of_the_folder() {
    let (_dir, store) = filled().await;
    for key in ["../escape", "a/../../b", "", "a//b", "/", "a\nb"] {
        assert!(store.put(key, Bytes::new()).await.is_err(), "{key:?}");
        assert!(store.get(key).await.is_err(), "{key:?}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_names_itself() {
    let store = open(Path::new("/proc/nowhere/store")).await;
    let error = store.put("key", Bytes::new()).await.expect_err("refused");
    let cause = std::error::Error::source(&error)
        .expect("has a cause")
        .to_string();
    assert!(cause.contains("/proc/nowhere"), "{error:?}");
}

#[test]
fn a_directory_that_cannot_be_read_fails_the_walk() {
    let dir = tempfile::tempdir().expect("scratch");
    // A name longer than the file system allows fails for everybody, root included.
    let below = Key::from("x".repeat(300));
    walk::walk(dir.path(), &below, walk::Wanted::NoLitter).expect_err("fails");
}

#[tokio::test]
async fn the_listing_with_directories_follows_the_library() {
    let dir = tempfile::tempdir().expect("scratch");
    let folder = Folder::new(dir.path().to_owned());
    for key in ["a/1", "a/b/2", "c"] {
        folder
            .write(&Key::from(key), &PutPayload::from_static(b"x"), false)
            .expect("writes");
    }
    let top = folder.list_with_delimiter(None).await.expect("lists");
    assert_eq!(
        (top.common_prefixes, top.objects.len()),
        (vec![Key::from("a")], 1)
    );
    let below = folder
        .list_with_delimiter(Some(&Key::from("a")))
        .await
        .expect("lists");
    assert_eq!(
        (below.common_prefixes, below.objects.len()),
        (vec![Key::from("a/b")], 1)
    );
}

#[tokio::test]
async fn a_second_name_follows_its_object_and_goes_alone() {
    let (dir, store) = filled().await;
    store
        .put("a/b/one", Bytes::from_static(b"1"))
        .await
        .expect("put");
    store
        .put("two", Bytes::from_static(b"2"))
        .await
        .expect("put");
    let name = |key: &str, to: &str| (key.to_owned(), to.to_owned());
    let names = [
        name("flat/one", "a/b/one"),
        name("flat/deep/er", "two"),
        name("flat/gone", "x/y"),
    ];
    assert!(store.can_refer());
    store.refer(&names).await.expect("made");
    assert_eq!(store.get("flat/one").await.expect("read").as_ref(), b"1");
    store
        .put("a/b/one", Bytes::from_static(b"new"))
        .await
        .expect("put");
    assert_eq!(store.get("flat/one").await.expect("read").as_ref(), b"new");
    // A copy of the folder elsewhere still leads to its own objects.
    let link = std::fs::read_link(dir.path().join("a/store/flat/deep/er")).expect("a link");
    assert_eq!(link, Path::new("../../two"));
    store.refer(&[name("flat/one", "two")]).await.expect("made");
    assert_eq!(store.get("flat/one").await.expect("read").as_ref(), b"2");
    std::fs::write(dir.path().join("a/store/flat/file"), "").expect("written");
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("a/store/flat/out"))
        .expect("linked");
    let found = store.references("flat").await.expect("listed");
    let mut found: Vec<_> = found
        .iter()
        .map(|found| (found.key.as_str(), found.to.as_deref()))
        .collect();
    found.sort_unstable();
    let expected = [
        ("flat/deep/er", Some("two")),
        ("flat/file", None),
        ("flat/gone", Some("x/y")),
        ("flat/one", Some("two")),
        ("flat/out", None),
    ];
    assert_eq!(found, expected);
    let keys = ["flat/one", "flat/gone"].map(str::to_owned);
    store.delete(&keys).await.expect("deleted");
    assert_eq!(store.get("two").await.expect("it stays").as_ref(), b"2");
    assert_eq!(store.references("flat").await.expect("listed").len(), 3);
    assert!(
        store
            .references("nothing")
            .await
            .expect("listed")
            .is_empty()
    );
}
