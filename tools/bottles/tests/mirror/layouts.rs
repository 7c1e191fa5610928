//! Second names of bottles, and what other tools and the store itself say of them.

use crate::world::{FIRST, World};
use bottles::hashfile::{self, HashFile};
use bottles::log::Held;
use bottles::prune::{PruneOptions, prune};
use bottles::sample::{self, Sample};
use bottles::sync::{SyncError, SyncOptions, rebuild_hash};
use bottles::{flat, names, rollback};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use store::{Environment, Store, StoreUrl, Tuning};
use testkit::S3Server;
use transfer::Digest;

async fn open(url: &str) -> Store {
    let url: StoreUrl = url.parse().expect("a store");
    let store = Store::open(&url, &Tuning::default(), &Environment::default()).await;
    store.expect("it opens")
}

/// A world whose mirror is a real folder.
pub async fn in_folder(sample: Sample, root: &Path) -> World {
    World {
        store: open(&root.display().to_string()).await,
        ..World::small(sample).await
    }
}

pub fn asking_flat(world: &World, formulae: &[&str], now: i64) -> SyncOptions {
    let mut options = world.options(formulae, now);
    options.selection.flat = true;
    options
}

fn flat_name(held: &Held) -> String {
    let file = names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
    format!("flat/{file}")
}

/// What a web server that follows links finds under the flat names of bottles, by digest.
fn flat_files(root: &Path) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("flat")).expect("it is there") {
        let path = entry.expect("it is read").path();
        let is_link = path.symlink_metadata().expect("it is there").is_symlink();
        let name = path.file_name().expect("a name").to_str().expect("text");
        if name.contains(".bottle.") {
            assert!(is_link, "{name} is a copy");
            let bytes = std::fs::read(&path).expect("it leads to something");
            found.insert(format!("flat/{name}"), Digest::of(&bytes));
        }
    }
    found
}

/// The sample, with other bytes in `tree`, of the same version.
fn rebuilt_tree() -> Sample {
    let mut formulae = sample::formulae();
    for formula in &mut formulae {
        match formula.name.as_str() {
            "tree" => formula.filling += 1,
            "jq" => formula.version = "1.8.0".to_owned(),
            _ => {}
        }
    }
    Sample::of(&formulae)
}

#[tokio::test]
async fn flat_names_follow_the_current_generation_and_go_with_the_last_that_has_them() {
    let folder = tempfile::tempdir().expect("a directory");
    let root = folder.path();
    let world = in_folder(Sample::embedded(), root).await;
    let formulae = ["gtk+", "openssl@3", "tree"];
    let report = world.run(&asking_flat(&world, &formulae, FIRST)).await;
    report.expect("it is mirrored");
    let (first, before) = world.current().await.expect("something is published");
    let wanted = |generation: &bottles::log::Generation| -> BTreeMap<String, Digest> {
        let bottles = generation.bottles.iter();
        let bottles = bottles.map(|held| (flat_name(held), held.sha256.parse().expect("a digest")));
        bottles.collect()
    };
    assert_eq!(flat_files(root), wanted(&before));
    for key in before.manifests.keys() {
        let name = key.replace(names::CORE, "flat");
        let link = std::fs::read(root.join(&name)).expect("it leads to something");
        assert_eq!(link, std::fs::read(root.join(key)).expect("it is there"));
    }
    // Nobody has to ask for them again.
    world.server.replace(rebuilt_tree());
    world.sync(&[], FIRST + 1).await;
    let (_, after) = world.current().await.expect("something is published");
    let mut both = wanted(&before);
    both.extend(wanted(&after));
    assert_eq!(flat_files(root), both);
    assert_ne!(wanted(&before), wanted(&after));
    // One under whose name the two have other bytes goes back with the rest.
    rollback::roll_back(&world.store, &first)
        .await
        .expect("it goes back");
    let mut both = wanted(&after);
    both.extend(wanted(&before));
    assert_eq!(flat_files(root), both);
    world.sync(&[], FIRST + 2).await;

    let jq = before.bottles.iter().find(|held| held.formula == "jq");
    let old = root.join(flat_name(jq.expect("gtk+ needs it")));
    let options = PruneOptions {
        keep: 1,
        grace: Duration::ZERO,
        dry_run: false,
        now: Timestamp::from_second(FIRST).expect("a time"),
    };
    assert!(old.symlink_metadata().is_ok());
    prune(&world.store, options).await.expect("it is pruned");
    assert!(old.symlink_metadata().is_err());
    let (_, current) = world.current().await.expect("something is published");
    assert_eq!(flat_files(root), wanted(&current));
}

#[tokio::test]
async fn a_flat_name_that_is_gone_or_stands_for_something_else_is_found_and_mended() {
    let folder = tempfile::tempdir().expect("a directory");
    let world = in_folder(Sample::embedded(), folder.path()).await;
    let report = world
        .run(&asking_flat(&world, &["tree", "jq"], FIRST))
        .await;
    report.expect("it is mirrored");
    let (_, generation) = world.current().await.expect("something is published");
    let names: Vec<String> = generation.bottles.iter().map(flat_name).collect();
    let wrong = async || {
        flat::wrong(&world.store, &generation)
            .await
            .expect("listed")
    };
    assert_eq!(wrong().await, []);
    std::fs::remove_file(folder.path().join(&names[0])).expect("removed");
    let pair = [(names[1].clone(), "bottles_hash.json".to_owned())];
    world.store.refer(&pair).await.expect("made");
    let found: Vec<String> = wrong().await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, names[..2]);
    let options = SyncOptions {
        checks_store: true,
        ..world.options(&[], FIRST + 1)
    };
    world.run(&options).await.expect("it is mended");
    assert_eq!(wrong().await, []);
}

#[tokio::test]
async fn a_bucket_has_no_flat_names_and_says_so_before_anything_is_written() {
    let world = World::small(Sample::embedded()).await;
    let outcome = world.run(&asking_flat(&world, &["tree"], FIRST)).await;
    assert!(matches!(outcome, Err(SyncError::NoReferences(_))));
    assert!(world.objects().is_empty());
}

#[tokio::test]
async fn what_another_tool_claims_is_fetched_all_the_same_and_gives_days_only() {
    let world = World::small(Sample::embedded()).await;
    world.sync(&["tree"], FIRST).await;
    let own = world.hash_file();
    let (name, entry) = own.bottles.iter().next().expect("a bottle");
    let mut external = own.clone();
    external
        .bottles
        .get_mut(name)
        .expect("it is there")
        .download_date = "2020-02-02".to_owned();
    let jq = "jq-1.7.1-x86_64_linux";
    external.bottles.insert(jq.to_owned(), entry.clone());
    external
        .bottles
        .insert("elsewhere-1-all".to_owned(), entry.clone());
    let options = SyncOptions {
        external: Some(external),
        ..world.options(&["jq"], FIRST + 86_400)
    };
    let report = world.run(&options).await.expect("it is mirrored");
    assert_eq!(report.fetched, 2, "jq and what it needs");
    let merged = report.external.expect("it was looked at");
    assert_eq!((merged.shared, merged.elsewhere), (1, 1));
    assert_eq!(merged.others, [jq]);
    assert!(
        report.warnings.iter().any(|text| text.contains(jq)),
        "{:?}",
        report.warnings
    );
    let now = world.check_settled().await;
    assert_eq!(now.bottles.len(), 3);
    assert_eq!(world.hash_file().bottles[name].download_date, "2020-02-02");
    // Later runs keep the day without the other file.
    let before = world.objects();
    world.sync(&[], FIRST + 2 * 86_400).await;
    assert_eq!(world.objects(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_hash_file_leaves_out_what_the_store_says_is_something_else() {
    let s3 = S3Server::start();
    let world = World {
        store: open(&s3.store_url("bucket", "mirror")).await,
        ..World::small(Sample::embedded()).await
    };
    world.sync(&["tree", "jq"], FIRST).await;
    let (_, generation) = world.current().await.expect("something is published");
    let now = Timestamp::from_second(FIRST).expect("a time");
    let rebuilt = rebuild_hash(&world.store, None, now)
        .await
        .expect("rebuilt");
    assert_eq!((rebuilt.bottles, rebuilt.digests_compared), (3, 3));
    assert!(rebuilt.missing.is_empty() && rebuilt.damaged.is_empty());
    let [bad, short, good] = &generation.bottles[..] else {
        panic!("three bottles are mirrored");
    };
    let mut bytes = world
        .store
        .get(&bad.blob_key())
        .await
        .expect("read")
        .to_vec();
    bytes[0] ^= 1;
    let sum = Digest::of(&bytes).0;
    let (key, attributes) = (bad.blob_key(), store::Attributes::default());
    let written = world
        .store
        .put_with(&key, bytes.into(), &attributes, Some(sum));
    written.await.expect("written");
    world
        .store
        .put(&short.blob_key(), "short".into())
        .await
        .expect("written");
    let _ = world.server.take_asked();
    let rebuilt = rebuild_hash(&world.store, None, now)
        .await
        .expect("rebuilt");
    assert_eq!(
        (&rebuilt.damaged, &rebuilt.missing),
        (&vec![bad.clone()], &vec![short.clone()])
    );
    let file = world.store.get(hashfile::KEY).await.expect("it is there");
    let file = HashFile::parse(&file).expect("it is read");
    assert_eq!(file.bottles.len(), 1);
    assert_eq!(
        file.bottles.values().next().map(|entry| &entry.sha256),
        Some(&good.sha256)
    );
    assert!(world.server.take_asked().is_empty());
}
