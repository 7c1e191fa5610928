//! Across an air gap: two mirrors and a directory between them.

use crate::program::{program, run};
use crate::world::{FIRST, World};
use bottles::bundle::{
    BundleError, ExportOptions, ImportOptions, Imported, SigningKey, TrustedKey, export, import,
};
use bottles::log::Log;
use bottles::prune::{PruneOptions, prune};
use bottles::rollback::roll_back;
use bottles::sample::Sample;
use bottles::sync::fetch::FetchOptions;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transfer::{Retry, Silent, StopSignal};

/// The near side, with a key.
pub struct Near {
    pub world: World,
    pub key: SigningKey,
    trusted: PathBuf,
}

pub async fn near() -> Near {
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
    pub async fn export(&self, since: Option<&str>, dir: &Path) -> bottles::bundle::Exported {
        let options = ExportOptions {
            since,
            dir,
            split: 5_000,
            key: &self.key,
            replaces: false,
        };
        export(&self.world.store, options)
            .await
            .expect("it is exported")
    }
}

pub async fn take_in(far: &World, near: &Near, dir: &Path) -> Result<Imported, BundleError> {
    take_in_if(far, near, dir, false, false).await
}

async fn take_in_if(
    far: &World,
    near: &Near,
    dir: &Path,
    again: bool,
    other_mirror: bool,
) -> Result<Imported, BundleError> {
    let trusted = [TrustedKey::read(&near.trusted).expect("a key")];
    let options = ImportOptions {
        dir,
        trusted: &trusted,
        again,
        other_mirror,
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
    far.check_settled().await;
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
        replaces: false,
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

async fn go_to(world: &World, number: u64) {
    let log = Log::read(&world.store).await.expect("listed");
    let id = log.named(&number.to_string())[0].clone();
    roll_back(&world.store, &id).await.expect("gone back to");
}

async fn prune_all_but_one(world: &World, now: i64) {
    world.handle.set_clock_ms(now as u64 * 1000);
    let options = PruneOptions {
        keep: 1,
        grace: Duration::from_secs(60),
        dry_run: false,
        now: jiff::Timestamp::from_second(now).expect("a time"),
    };
    prune(&world.store, options).await.expect("pruned");
}

#[tokio::test]
async fn what_was_gone_back_from_does_not_come_again_unless_that_is_meant() {
    for is_pruned in [false, true] {
        let (near, far) = (near().await, World::new().await);
        far.handle.set_clock_ms(FIRST as u64 * 1000);
        let (first, second) = (
            tempfile::tempdir().expect("a directory"),
            tempfile::tempdir().expect("a directory"),
        );
        near.export(None, first.path()).await;
        take_in(&far, &near, first.path()).await.expect("taken in");
        near.world.server.replace(Sample::a_week_later());
        near.world.sync(&[], FIRST + 1).await;
        near.export(None, second.path()).await;
        take_in(&far, &near, second.path()).await.expect("taken in");
        go_to(&far, 1).await;
        if is_pruned {
            prune_all_but_one(&far, FIRST + 864_000).await;
        }
        let replayed = take_in(&far, &near, second.path()).await;
        assert!(
            matches!(replayed, Err(BundleError::TakenBefore { .. })),
            "{replayed:?}"
        );
        assert_eq!(far.check_settled().await.number, 1);
        // A later one of the same mirror is no replay.
        near.world.sync(&["tree"], FIRST + 2).await;
        let third = tempfile::tempdir().expect("a directory");
        near.export(None, third.path()).await;
        if is_pruned {
            take_in(&far, &near, third.path()).await.expect("taken in");
            assert_eq!(far.check_settled().await.number, 3);
        }
        take_in_if(&far, &near, second.path(), true, false)
            .await
            .map_or_else(
                |error| {
                    assert!(
                        is_pruned && matches!(error, BundleError::Downgrade { .. }),
                        "{error}"
                    )
                },
                |_| assert!(!is_pruned),
            );
        assert_eq!(
            far.check_settled().await.number,
            if is_pruned { 3 } else { 2 }
        );
    }
}

#[tokio::test]
async fn a_bad_generation_that_the_near_side_took_back_can_be_followed_by_a_better_one() {
    let (near, far) = (near().await, World::new().await);
    near.world.handle.set_clock_ms(FIRST as u64 * 1000);
    near.world.server.replace(Sample::a_week_later());
    near.world.sync(&[], FIRST + 1).await;
    let bad = tempfile::tempdir().expect("a directory");
    near.export(None, bad.path()).await;
    take_in(&far, &near, bad.path()).await.expect("taken in");
    go_to(&near.world, 1).await;
    prune_all_but_one(&near.world, FIRST + 864_000).await;
    near.world.sync(&["tree"], FIRST + 2).await;
    let better = tempfile::tempdir().expect("a directory");
    near.export(None, better.path()).await;
    take_in(&far, &near, better.path()).await.expect("taken in");
    assert_eq!(far.check_settled().await.number, 3);
    assert_eq!(far.check().await, near.world.check().await);
}

#[tokio::test]
async fn what_a_generation_that_was_gone_back_from_has_brought_is_relied_on_if_it_is_right() {
    for (spoilt, is_refused) in [("nothing", false), ("bottle", true), ("manifest", true)] {
        let (near, far) = (near().await, World::new().await);
        let take = async |since: Option<&str>| {
            let dir = tempfile::tempdir().expect("a directory");
            near.export(since, dir.path()).await;
            take_in(&far, &near, dir.path()).await
        };
        take(None).await.expect("the first is taken in");
        near.world.server.replace(Sample::a_week_later());
        near.world.sync(&[], FIRST + 1).await;
        let second = near.world.check().await.expect("published");
        take(Some("1")).await.expect("the second is taken in");
        go_to(&far, 1).await;
        near.world.sync(&["tree"], FIRST + 2).await;
        let jq = second.bottles.iter().find(|held| held.formula == "jq");
        let jq = jq.expect("it is there");
        match spoilt {
            "bottle" => {
                let mut bytes = far.objects()[&jq.blob_key()].to_vec();
                bytes[20] ^= 1;
                far.handle.put_raw(&jq.blob_key(), bytes);
            }
            "manifest" => assert!(far.handle.remove_raw(&jq.manifest_key())),
            _ => {}
        }
        let before = far.objects();
        let taken = take(Some("2")).await;
        if is_refused {
            assert!(
                matches!(taken, Err(BundleError::Gap { missing: 1, .. })),
                "{spoilt}: {taken:?}"
            );
            assert_eq!(far.objects(), before, "{spoilt}");
            continue;
        }
        taken.expect("the third is taken in");
        assert_eq!(far.check_settled().await, near.world.check_settled().await);
        far.check_static(&["jq", "wget", "tree"]);
    }
}

#[tokio::test]
async fn a_far_side_whose_record_is_damaged_is_mended_by_its_bundle_or_by_a_later_one() {
    let (near, far) = (near().await, World::new().await);
    let dir = tempfile::tempdir().expect("a directory");
    near.export(None, dir.path()).await;
    take_in(&far, &near, dir.path()).await.expect("taken in");
    let spoil = || {
        let objects = far.objects();
        let records = objects
            .keys()
            .filter(|key| key.contains("/log/generation-"));
        for key in records {
            far.handle.put_raw(key, "cut");
        }
    };
    spoil();
    let again = take_in(&far, &near, dir.path()).await.expect("taken in");
    assert!(again.already_there, "{again:?}");
    assert_eq!(far.check_settled().await, near.world.check_settled().await);
    near.world.server.replace(Sample::a_week_later());
    near.world.sync(&[], FIRST + 1).await;
    let next = tempfile::tempdir().expect("a directory");
    near.export(Some("1"), next.path()).await;
    spoil();
    let taken = take_in(&far, &near, next.path()).await.expect("taken in");
    assert_eq!(taken.warnings.len(), 1, "{taken:?}");
    assert_eq!(far.check_settled().await, near.world.check_settled().await);
    far.check_static(&["jq", "wget"]);
}

#[tokio::test]
async fn a_bundle_of_another_mirror_is_refused_unless_that_is_meant() {
    let (near, far) = (near().await, World::new().await);
    let other = World::new().await;
    other.sync(&["tree"], FIRST + 7).await;
    // Its number alone would lead on.
    other.server.replace(Sample::a_week_later());
    other.sync(&["tree"], FIRST + 8).await;
    // The same site signs both.
    let other = Near {
        world: other,
        key: SigningKey::read(&near.world.state.path().join("site.key")).expect("it is read"),
        trusted: near.trusted.clone(),
    };
    let (ours, theirs) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    near.export(None, ours.path()).await;
    other.export(None, theirs.path()).await;
    take_in(&far, &near, ours.path()).await.expect("taken in");
    let before = far.objects();
    let refused = take_in(&far, &near, theirs.path()).await;
    assert!(
        matches!(refused, Err(BundleError::OtherMirror { .. })),
        "{refused:?}"
    );
    assert!(far.objects() == before);
    take_in_if(&far, &near, theirs.path(), false, true)
        .await
        .expect("it is meant");
    let generation = far.check_settled().await;
    assert!(generation.bottles.iter().all(|held| held.formula == "tree"));
    // And now the first one is another mirror's.
    let refused = take_in(&far, &near, ours.path()).await;
    assert!(
        matches!(refused, Err(BundleError::OtherMirror { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_leaves_a_record_and_a_hash_file() {
    let near = near().await;
    let dir = tempfile::tempdir().expect("a directory");
    near.export(None, dir.path()).await;
    let far = World::new().await;
    let mirror = far.state.path().join("mirror");
    std::fs::create_dir(&mirror).expect("a directory");
    let command = |arguments: &[&str]| {
        let mut command = program(&far);
        command.env("HOMEBREW_SYNC_STORE", &mirror).args(arguments);
        command
    };
    let mut import = command(&["bundle", "import", "--json", "--trust"]);
    import.arg(&near.trusted).arg(dir.path());
    let (code, out, err) = run(import).await;
    assert_eq!(code, 0, "{err}");
    let out: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(out["run"]["trigger"], "import", "{out}");
    let hash = std::fs::read(mirror.join("bottles_hash.json")).expect("it is there");
    let hash = bottles::hashfile::HashFile::parse(&hash).expect("it is read");
    let count = near.world.check().await.expect("published").bottles.len();
    assert_eq!(hash.bottles.len(), count);
    let (code, out, err) = run(command(&["runs", "--json"])).await;
    assert_eq!(code, 0, "{err}");
    let runs: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(runs[0]["outcome"], "published", "{out}");
    assert_eq!(runs[0]["bottles"], count, "{out}");
}

#[tokio::test]
async fn what_was_damaged_when_it_was_first_read_is_not_kept() {
    let near = near().await;
    let blob = near.world.check().await.expect("published").bottles[0].blob_key();
    let whole = near.world.objects()[&blob].clone();
    let mut turned = whole.to_vec();
    turned[0] ^= 1;
    let put = async |bytes: Bytes| near.world.store.put(&blob, bytes).await.expect("put");
    let dir = tempfile::tempdir().expect("a directory");
    // Parts that are smaller than an object, and one that ends where an object does.
    for split in [100, whole.len() as u64] {
        let options = || ExportOptions {
            since: None,
            dir: dir.path(),
            split,
            key: &near.key,
            replaces: false,
        };
        put(turned.clone().into()).await;
        let refused = export(&near.world.store, options()).await;
        assert!(
            matches!(&refused, Err(BundleError::DamagedHere { key }) if *key == blob),
            "{refused:?}"
        );
        put(whole.clone()).await;
        export(&near.world.store, options()).await.expect("made");
        let far = World::new().await;
        take_in(&far, &near, dir.path()).await.expect("it is whole");
        assert_eq!(far.check().await, near.world.check().await);
    }
}

#[tokio::test]
async fn a_smaller_bundle_takes_the_place_of_a_larger_one() {
    let near = near().await;
    let dir = tempfile::tempdir().expect("a directory");
    let split = |split| ExportOptions {
        since: None,
        dir: dir.path(),
        split,
        key: &near.key,
        replaces: false,
    };
    export(&near.world.store, split(1_000)).await.expect("made");
    let one = export(&near.world.store, split(1 << 30))
        .await
        .expect("made");
    assert_eq!(one.parts, 1);
    let names = std::fs::read_dir(dir.path()).expect("listed");
    assert_eq!(names.count(), 3);
    let far = World::new().await;
    take_in(&far, &near, dir.path()).await.expect("it is whole");

    // One that cannot be ended is none, and the earlier one is gone.
    let blob = near.world.check().await.expect("published").bottles[0].blob_key();
    let store = &near.world.store;
    store.put(&blob, "damaged".into()).await.expect("put");
    export(&near.world.store, split(1_000))
        .await
        .expect_err("a blob is damaged");
    assert!(!dir.path().join("bundle.json").exists());
}

#[tokio::test]
async fn what_is_missing_or_damaged_on_the_far_side_comes_from_the_bundle_again() {
    let near = near().await;
    let dir = tempfile::tempdir().expect("a directory");
    near.export(None, dir.path()).await;
    let far = World::new().await;
    take_in(&far, &near, dir.path()).await.expect("taken in");
    let whole = far.objects();
    let nth = |part: &str, nth: usize| {
        let mut keys = whole.keys().filter(|key| key.contains(part));
        keys.nth(nth).expect("there are so many").clone()
    };
    let (bottle, other) = (nth("/blobs/", 0), nth("/blobs/", 1));
    let (manifest, cut) = (nth("/manifests/", 0), nth("/manifests/", 1));
    let api = "api/formula.jws.json".to_owned();
    far.handle.remove_raw(&bottle);
    far.handle.remove_raw(&manifest);
    far.handle.put_raw(&cut, "");
    far.handle.remove_raw(&api);
    let again = take_in(&far, &near, dir.path()).await.expect("taken in");
    assert!(again.already_there && again.stored == 1, "{again:?}");
    for key in [&bottle, &manifest, &cut, &api] {
        assert!(far.objects().get(key) == whole.get(key), "{key}");
    }
    far.check_settled().await;
    // Only reading it would tell.
    let mut bytes = whole[&other].to_vec();
    bytes[3] ^= 1;
    far.handle.put_raw(&other, bytes);
    let again = take_in_if(&far, &near, dir.path(), true, false).await;
    assert_eq!(again.expect("taken in").stored, 1);
    far.check_settled().await;
    // Nothing is missing, and the bundle is cut: who only asks is told.
    let part = dir.path().join("part-0000");
    std::fs::write(&part, "cut").expect("written");
    let trusted = [TrustedKey::read(&near.trusted).expect("a key")];
    let options = ImportOptions {
        dir: dir.path(),
        trusted: &trusted,
        again: false,
        other_mirror: false,
        dry_run: true,
        fetching: FetchOptions {
            concurrency: 1,
            retry: Retry::default(),
            state_dir: far.state.path().to_owned(),
            observer: Arc::new(Silent),
            stop: StopSignal::new(),
        },
    };
    let outcome = import(&far.store, options).await;
    assert!(
        matches!(outcome, Err(BundleError::Part { .. })),
        "{outcome:?}"
    );
    take_in(&far, &near, dir.path())
        .await
        .expect("nothing to do");
}
