//! Across an air gap: two mirrors and a directory between them.

use crate::world::{FIRST, World};
use bottles::bundle::{
    BundleError, ExportOptions, ImportOptions, Imported, SigningKey, TrustedKey, export, import,
};
use bottles::sample::Sample;
use bottles::sync::fetch::FetchOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transfer::{Retry, Silent, StopSignal};

/// The near side, with a key.
struct Near {
    world: World,
    key: SigningKey,
    trusted: PathBuf,
}

async fn near() -> Near {
    let world = World::new().await;
    world.sync(&["jq", "wget"], FIRST).await;
    let path = world.state.path().join("site.key");
    SigningKey::create(&path).expect("a key is made");
    Near {
        key: SigningKey::read(&path).expect("it is read"),
        trusted: path.with_added_extension("pub"),
        world,
    }
}

impl Near {
    async fn export(&self, since: Option<&str>, dir: &Path) -> bottles::bundle::Exported {
        let options = ExportOptions {
            since,
            dir,
            split: 5_000,
            key: &self.key,
        };
        export(&self.world.store, options)
            .await
            .expect("it is exported")
    }
}

async fn take_in(far: &World, near: &Near, dir: &Path) -> Result<Imported, BundleError> {
    let trusted = [TrustedKey::read(&near.trusted).expect("a key")];
    let options = ImportOptions {
        dir,
        trusted: &trusted,
        again: false,
        other_mirror: false,
        dry_run: false,
        fetching: FetchOptions {
            concurrency: 1,
            retry: Retry {
                attempts: 1,
                ..Retry::default()
            },
            state_dir: far.state.path().to_owned(),
            observer: Arc::new(Silent),
            stop: StopSignal::new(),
        },
    };
    import(&far.store, options).await
}

#[tokio::test]
async fn the_far_side_gets_the_same_and_later_only_what_it_lacks() {
    let (near, far) = (near().await, World::new().await);
    let dir = tempfile::tempdir().expect("a directory");
    let all = near.export(None, dir.path()).await;
    assert!(all.parts > 5, "{all:?}");
    let taken = take_in(&far, &near, dir.path())
        .await
        .expect("it is taken in");
    assert_eq!(
        taken.stored,
        near.world.check().await.expect("published").bottles.len() as u64
    );
    assert_eq!(far.check().await, near.world.check().await);
    far.check_static(&["jq", "wget"]);
    assert!(
        take_in(&far, &near, dir.path())
            .await
            .expect("again")
            .already_there
    );

    near.world.server.replace(Sample::a_week_later());
    near.world.sync(&[], FIRST + 1).await;
    let next = tempfile::tempdir().expect("a directory");
    let delta = near.export(Some("1"), next.path()).await;
    assert!(delta.bytes < all.bytes);
    take_in(&far, &near, next.path())
        .await
        .expect("it is taken in");
    assert_eq!(far.check().await, near.world.check().await);
    far.check_static(&["jq", "wget"]);
    // The old one leads back now.
    let replayed = take_in(&far, &near, dir.path()).await;
    assert!(
        matches!(replayed, Err(BundleError::Downgrade { .. })),
        "{replayed:?}"
    );
    // And the new one builds on what an empty mirror does not have.
    let empty = World::new().await;
    let refused = take_in(&empty, &near, next.path()).await;
    assert!(
        matches!(refused, Err(BundleError::Gap { .. })),
        "{refused:?}"
    );
    assert!(empty.objects().is_empty());
}

#[tokio::test]
async fn what_is_not_whole_or_not_signed_changes_nothing() {
    let (near, far) = (near().await, World::new().await);
    let dir = tempfile::tempdir().expect("a directory");
    near.export(None, dir.path()).await;
    let other = World::new().await.state;
    let stranger = other.path().join("stranger.key");
    SigningKey::create(&stranger).expect("a key is made");
    let foreign = Near {
        world: World::new().await,
        key: SigningKey::read(&stranger).expect("read"),
        trusted: stranger.with_added_extension("pub"),
    };
    assert!(matches!(
        take_in(&far, &foreign, dir.path()).await,
        Err(BundleError::ForeignSignature)
    ));
    let files: Vec<PathBuf> = std::fs::read_dir(dir.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    for path in files {
        let whole = std::fs::read(&path).expect("read");
        let mut turned = whole.clone();
        let middle = turned.len() / 2;
        turned[middle] ^= 1;
        for damaged in [turned, whole[..whole.len() - 1].to_vec(), Vec::new()] {
            std::fs::write(&path, damaged).expect("written");
            take_in(&far, &near, dir.path())
                .await
                .expect_err("it is damaged");
            assert!(far.objects().is_empty(), "{}", path.display());
        }
        std::fs::remove_file(&path).expect("removed");
        take_in(&far, &near, dir.path())
            .await
            .expect_err("it is not whole");
        std::fs::write(&path, whole).expect("written");
    }
    take_in(&far, &near, dir.path())
        .await
        .expect("now it is whole");
    far.check().await.expect("published");
}

#[tokio::test]
async fn an_import_that_dies_anywhere_goes_on() {
    let near = near().await;
    let dir = tempfile::tempdir().expect("a directory");
    near.export(None, dir.path()).await;
    let whole = World::new().await;
    take_in(&whole, &near, dir.path()).await.expect("taken in");
    let expected = whole.objects();
    let operations = whole.handle.operations();
    for at in 1..=operations {
        let far = World::new().await;
        far.handle.crash_after(at);
        let outcome = take_in(&far, &near, dir.path()).await;
        if !far.handle.is_crashed() {
            outcome.expect("nothing stood in its way");
        }
        far.handle.revive();
        far.check().await;
        take_in(&far, &near, dir.path()).await.expect("it goes on");
        assert!(far.objects() == expected, "died at {at}");
    }
}

#[tokio::test]
async fn an_export_that_was_cut_off_keeps_its_parts() {
    let near = near().await;
    let dir = tempfile::tempdir().expect("a directory");
    // The disk was full: one of the later parts could not be written.
    let stands_in_the_way = dir.path().join("part-0004");
    std::fs::create_dir(&stands_in_the_way).expect("a directory");
    let options = ExportOptions {
        since: None,
        dir: dir.path(),
        split: 5_000,
        key: &near.key,
    };
    export(&near.world.store, options)
        .await
        .expect_err("it cannot be written");
    assert!(!dir.path().join("bundle.json").exists());
    std::fs::remove_dir(&stands_in_the_way).expect("removed");
    let made = near.export(None, dir.path()).await;
    assert_eq!(made.parts_kept, 4);
    let far = World::new().await;
    take_in(&far, &near, dir.path()).await.expect("it is whole");
    assert_eq!(far.check().await, near.world.check().await);
}
