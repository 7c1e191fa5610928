//! Random worlds, faults and sequences of run, resume, rollback and removal: no document's bytes are ever unreachable, and at
//! the end all are where they belong.

use super::*;
use testkit::{Faults, FaultyStore, Rng};

/// So many seeds are played; each is reproducible by its number.
const SEEDS: u64 = 60;

struct Play {
    world: World,
    store: FaultyStore,
    content: BTreeMap<String, Vec<u8>>,
    start: Picture,
    /// Objects of which a person was told, by journals that are no longer gone on with.
    named: std::collections::BTreeSet<String>,
}

impl Play {
    async fn new(rng: &mut Rng) -> Play {
        let store = FaultyStore::new(rng.next_u64(), Faults::none());
        let target = Store::from_object_store(Arc::new(store.clone()), "");
        let mut world = World::with(target, rng.between(1, 14) as usize);
        world.limits.batch = rng.between(1, 6) as usize;
        world.limits.parallel = rng.between(1, 5) as usize;
        world.limits.retry.attempts = rng.between(1, 4) as u32;
        if rng.chance(300) {
            world.limits.multipart_threshold = 100;
        }
        let read = |item: &Item| fs::read(&item.blobs[0].source).expect("reads");
        let content = world.items.iter().map(|item| (item.id.clone(), read(item)));
        let content = content.collect();
        let start = world.picture().await;
        Play {
            world,
            store,
            content,
            start,
            named: std::collections::BTreeSet::new(),
        }
    }

    fn trouble(&self, rng: &mut Rng) {
        let mut rate = |max: u64| {
            if rng.chance(400) {
                rng.below(max) as u32
            } else {
                0
            }
        };
        self.store.set_faults(Faults {
            error_before: rate(150),
            error_after: rate(150),
            cut_list: rate(150),
            cut_read: rate(100),
            corrupt_read: rate(100),
            ..Faults::none()
        });
    }

    /// Every document can be read where its row says that it is.
    fn check(&self, what: &str) {
        let objects = self.store.objects();
        for (id, path) in self.world.rows.all() {
            let found = match path.strip_prefix("s3://") {
                Some(key) => objects.get(key).map(|bytes| bytes.to_vec()),
                None => fs::read(&path).ok(),
            };
            assert_eq!(
                found.as_ref(),
                Some(&self.content[&id]),
                "{what}: {id} at {path}"
            );
        }
    }

    /// The keys of objects of which a person was told that they were left behind: an item was cut off while it was copied, and then refused by
    /// the store, so that nobody could say whose the object was. By the time of the rollback the row of another run may name it, so that does
    /// not touch it either.
    async fn named(&self) -> std::collections::BTreeSet<String> {
        let exceptions = self.world.journal().await.exceptions().expect("reads");
        let kept = exceptions.into_iter();
        kept.filter(|exception| exception.kind == ExceptionKind::ObjectKept)
            .map(|exception| exception.key)
            .chain(self.named.iter().cloned())
            .collect()
    }

    /// What an object of a document or thumbnail is a copy of.
    fn source(&self, key: &str) -> Vec<u8> {
        let mut blobs = self.world.items.iter().flat_map(|item| &item.blobs);
        let blob = blobs.find(|blob| blob.key == key).expect("a key of ours");
        fs::read(&blob.source).expect("reads")
    }

    async fn act(&mut self, rng: &mut Rng) -> String {
        let steps = match rng.chance(600) {
            true => Steps::fail_at(rng.between(1, 60)),
            false => Steps::all(),
        };
        let world = &self.world;
        let (what, outcome) = match rng.below(5) {
            0 | 1 => (
                "run",
                in_a_process(async || world.run_with(steps.clone()).await),
            ),
            2 => (
                "rollback",
                in_a_process(async || world.rollback_with(steps.clone()).await),
            ),
            3 => (
                "remove",
                in_a_process(async || world.remove_sources(steps.clone()).await),
            ),
            _ => {
                let is_undone =
                    |state| matches!(state, State::Undone | State::LeftOut | State::Lost);
                let tally = self.world.journal().await.tally();
                if tally.0.keys().all(|state| is_undone(*state)) {
                    let named = self.named().await;
                    self.named = named;
                    self.world.fresh_journal();
                }
                return "another journal".to_owned();
            }
        };
        match outcome {
            Ok(report) => format!("{what}: {:?}", report.ended),
            Err(error) => format!("{what}: {error}"),
        }
    }
}

async fn play(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut play = Play::new(&mut rng).await;
    let mut story = format!("seed {seed}");
    for _ in 0..rng.between(2, 8) {
        play.trouble(&mut rng);
        story.push_str("; ");
        story.push_str(&play.act(&mut rng).await);
        play.check(&story);
    }
    play.store.heal();
    play.world.limits.retry.attempts = 6;
    let undone = play
        .world
        .rollback()
        .await
        .unwrap_or_else(|error| panic!("{story}: {error:?}"));
    let kept = |exception: &&Exception| exception.kind == ExceptionKind::ObjectKept;
    let kept = undone.exceptions.iter().find(kept);
    assert_eq!(
        kept, None,
        "{story}: every source is there, and the store well"
    );
    play.check(&story);
    let now = play.world.picture().await;
    assert_eq!(now.rows, play.start.rows, "{story}");
    assert_eq!(now.files, play.start.files, "{story}");
    let named = play.named().await;
    for (key, bytes) in &now.objects {
        assert!(named.contains(key), "{story}: {key} is left behind");
        let source = play.source(key);
        assert_eq!(*bytes, Digest::of(&source), "{story}: {key} is no copy");
    }
    let report = play
        .world
        .run()
        .await
        .unwrap_or_else(|error| panic!("{story}: {error:?}"));
    assert!(report.is_clean(), "{story}: {report:?}");
    play.check(&story);
    assert!(
        play.world
            .rows
            .all()
            .values()
            .all(|path| path.starts_with("s3://")),
        "{story}"
    );
}

#[tokio::test]
async fn no_sequence_of_troubles_makes_a_document_unreachable() {
    for seed in 0..SEEDS {
        play(seed).await;
    }
}
