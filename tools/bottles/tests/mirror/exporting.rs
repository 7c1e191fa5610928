//! What an export and a new key write over: nothing of anybody's, unless that is said.

use crate::bundle::{near, take_in};
use crate::world::{FIRST, World};
use bottles::bundle::{BundleError, ExportOptions, SigningKey, export};
use bottles::sample::Sample;

#[tokio::test]
async fn another_bundle_is_not_written_over_unless_that_is_meant() {
    let near = near().await;
    let dir = tempfile::tempdir().expect("a directory");
    let files = || {
        let mut found = crate::mending::within(dir.path());
        found.sort();
        let read = found
            .into_iter()
            .map(|path| (std::fs::read(&path).expect("read"), path));
        read.collect::<Vec<_>>()
    };
    let options = |since, replaces| ExportOptions {
        since,
        dir: dir.path(),
        split: 5_000,
        key: &near.key,
        replaces,
    };
    let store = &near.world.store;
    export(store, options(None, false)).await.expect("made");
    let first = files();
    // The same once more.
    export(store, options(None, false)).await.expect("made");
    assert!(files() == first);
    near.world.server.replace(Sample::a_week_later());
    near.world.sync(&[], FIRST + 1).await;
    for since in [None, Some("1")] {
        let refused = export(store, options(since, false)).await;
        assert!(
            matches!(&refused, Err(BundleError::Taken { what, .. }) if what.starts_with("generation 00000001-")),
            "{refused:?}"
        );
    }
    // What is no index may be anybody's.
    std::fs::write(dir.path().join("bundle.json"), "{}").expect("written");
    let refused = export(store, options(None, false)).await;
    assert!(
        matches!(refused, Err(BundleError::Taken { .. })),
        "{refused:?}"
    );
    // What one that was killed has left goes with the next one; what only looks like it stays.
    let left = dir.path().join(".syncline-tmp-0123456789abcdef");
    let other = dir.path().join(".syncline-tmp-notes");
    for path in [&left, &other] {
        std::fs::write(path, "half").expect("written");
    }
    export(store, options(Some("1"), true)).await.expect("made");
    assert!(!left.exists() && other.exists());
    let far = World::new().await;
    let refused = take_in(&far, &near, dir.path()).await;
    assert!(
        matches!(refused, Err(BundleError::Gap { .. })),
        "{refused:?}"
    );
    // An export that was not ended is no bundle.
    std::fs::remove_file(dir.path().join("bundle.json")).expect("removed");
    export(store, options(None, false)).await.expect("made");
    take_in(&far, &near, dir.path()).await.expect("it is whole");
}

#[test]
fn no_key_is_written_over() {
    let dir = tempfile::tempdir().expect("a directory");
    for taken in ["site.key", "site.key.pub"] {
        let path = dir.path().join(taken);
        std::fs::write(&path, "mine").expect("written");
        SigningKey::create(&dir.path().join("site.key")).expect_err("it is taken");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"mine");
        assert_eq!(crate::mending::within(dir.path()).len(), 1, "{taken}");
        std::fs::remove_file(&path).expect("removed");
    }
}
