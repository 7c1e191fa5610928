//! The real program, killed at random moments of a first run, and run again until it gets to its end.
//!
//! What must hold: the mirror ends up as an undisturbed run makes it, byte for byte; a bottle that had arrived is never asked for again, so
//! that what is fetched twice is at most what was under way.

use bottles::sample::{self, Sample, SampleFormula, SampleServer};
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Environment, Store, StoreUrl, Tuning};
use testkit::{Rng, S3Server};
use transfer::Digest;

/// So many kills, unless the variable says otherwise.
const KILLS: usize = 12;
const KILLS_VARIABLE: &str = "HOMEBREW_SYNC_TEST_KILLS";
const SEED_VARIABLE: &str = "HOMEBREW_SYNC_TEST_SEED";

/// So many bottles at once.
const AT_ONCE: usize = 4;

/// A run that takes longer hangs.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

fn upstream() -> Sample {
    let formulae: Vec<SampleFormula> = (0..60)
        .map(|number| SampleFormula {
            name: format!("formula{number}"),
            version: "1.0".to_owned(),
            revision: 0,
            rebuild: number % 2,
            tags: [
                "arm64_tahoe",
                "arm64_sequoia",
                "arm64_linux",
                "x86_64_linux",
            ]
            .map(str::to_owned)
            .to_vec(),
            dependencies: Vec::new(),
            // Large ones are passed on while they come, small ones held.
            filling: match number % 10 {
                9 => 400_000,
                _ => 3_000 + 500 * usize::try_from(number).expect("it is small"),
            },
        })
        .collect();
    Sample::of(&formulae)
}

/// How a run ended.
enum End {
    Done,
    Killed,
}

struct Mirror<'m> {
    url: String,
    scratch: &'m Path,
}

impl Mirror<'_> {
    /// Runs; kills after a time, if it is still at work then.
    fn run(&self, server: &SampleServer, kill_after: Option<Duration>) -> End {
        let key = self.scratch.join("key.pem");
        std::fs::write(&key, sample::PUBLIC_KEY).expect("a file");
        let program = testkit::built_binary("bottles", "homebrew-sync");
        let mut child = Command::new(program)
            .env_clear()
            .env("SOURCE_DATE_EPOCH", "1790000000")
            .env("HOME", self.scratch)
            .args(["sync", "--all", "--quiet", "--store", &self.url])
            .args(["--concurrency", &AT_ONCE.to_string()])
            .args(["--api", &server.api()])
            .args(["--registry", &server.registry()])
            .arg("--api-key")
            .arg(&key)
            .arg("--state-dir")
            .arg(self.scratch.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it is waited for") {
                assert!(status.success(), "it ended with {status}");
                return End::Done;
            }
            if kill_after.is_some_and(|after| begun.elapsed() >= after) {
                child.kill().expect("it is killed");
                child.wait().expect("it is waited for");
                return End::Killed;
            }
            assert!(begun.elapsed() < RUN_TIME_MAX, "it hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Everything that the mirror holds, by digest.
    async fn objects(&self) -> BTreeMap<String, Digest> {
        let url: StoreUrl = self.url.parse().expect("a store");
        let environment = Environment::default();
        let store = Store::open(&url, &Tuning::default(), &environment).await;
        let store = store.expect("it opens");
        let mut found = BTreeMap::new();
        let mut entries = store.list_stream("");
        while let Some(entry) = entries.next().await {
            let key = entry.expect("it is listed").key;
            // Only a folder keeps room for a prune of a full disk.
            if key == crate::full::RESERVE {
                continue;
            }
            let bytes = store.get(&key).await.expect("it is read");
            found.insert(key, Digest::of(&bytes));
        }
        found
    }
}

fn blobs<'k>(keys: impl Iterator<Item = &'k String>) -> BTreeSet<String> {
    let blobs = keys.filter(|key| key.contains("/blobs/"));
    blobs.cloned().collect()
}

/// The bottles that were asked for.
fn asked(server: &SampleServer) -> Vec<String> {
    let lines = server.take_asked().into_iter();
    let paths = lines.filter_map(|line| Some(line.strip_prefix("GET /")?.to_owned()));
    paths.filter(|path| path.contains("/blobs/")).collect()
}

/// Runs again and again, each time killed within a span if it is still at work, until one gets to its end; returns how often one was killed,
/// and how many bottles were fetched twice.
async fn killed_until_done(
    mirror: &Mirror<'_>,
    sample: &Sample,
    random: &mut Rng,
    span: Duration,
) -> (usize, usize) {
    // Each run has a server of its own: what a killed one has sent may be read by the server later.
    let mut runs = Vec::new();
    loop {
        let before = blobs(mirror.objects().await.keys());
        let server = SampleServer::start(sample.clone()).await;
        let server = server.expect("it starts");
        // Longer each time: on a machine that gets busier no run would ever come to its end.
        let kills = u32::try_from(runs.len()).expect("they are few");
        let span = span + span * kills / 10;
        let micros = u64::try_from(span.as_micros()).expect("it is short");
        let after = Duration::from_micros(random.below(micros));
        let end = tokio::task::block_in_place(|| mirror.run(&server, Some(after)));
        runs.push((before, server));
        if matches!(end, End::Done) {
            break;
        }
    }
    let (killed, mut twice) = (runs.len() - 1, 0);
    let mut after = blobs(mirror.objects().await.keys());
    for (before, server) in runs.into_iter().rev() {
        let asked = asked(&server);
        let again: Vec<_> = asked.iter().filter(|key| before.contains(*key)).collect();
        assert!(
            again.is_empty(),
            "it was there, and fetched again: {again:?}"
        );
        let lost: Vec<_> = asked.iter().filter(|key| !after.contains(*key)).collect();
        let last = asked.iter().rev().take(2 * AT_ONCE).collect::<Vec<_>>();
        assert!(
            lost.len() <= AT_ONCE,
            "more were under way than go at once: {lost:#?}; asked last: {last:#?}; of {} before, {} after: {}",
            before.len(),
            after.len(),
            mirror.url
        );
        twice += lost.len();
        after = before;
    }
    (killed, twice)
}

#[expect(clippy::print_stderr, reason = "who repeats a failure needs the seed")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_a_first_run_is_killed_the_mirror_ends_up_the_same() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number(KILLS_VARIABLE).map_or(KILLS, |kills: u64| {
        usize::try_from(kills).expect("it is small")
    });
    let seed = number(SEED_VARIABLE).unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{SEED_VARIABLE}={seed} {KILLS_VARIABLE}={kills}");
    let mut random = Rng::new(seed);
    let sample = upstream();
    let s3 = S3Server::start();

    let scratch = tempfile::tempdir().expect("a directory");
    let folder = scratch.path().join("whole");
    std::fs::create_dir(&folder).expect("a directory");
    let whole = Mirror {
        url: folder.display().to_string(),
        scratch: scratch.path(),
    };
    let begun = Instant::now();
    let server = SampleServer::start(sample.clone()).await;
    let server = server.expect("it starts");
    tokio::task::block_in_place(|| whole.run(&server, None));
    let span = begun.elapsed();
    let expected = whole.objects().await;
    assert_eq!(blobs(expected.keys()).len(), 240);

    let (mut killed, mut twice, mut mirrors) = (0, 0, 0);
    while killed < kills {
        mirrors += 1;
        let scratch = tempfile::tempdir().expect("a directory");
        let folder = scratch.path().join("mirror");
        std::fs::create_dir(&folder).expect("a directory");
        let url = match mirrors % 2 {
            1 => folder.display().to_string(),
            _ => s3.store_url("bucket", &format!("mirror{mirrors}")),
        };
        let mirror = Mirror {
            url,
            scratch: scratch.path(),
        };
        let (times, lost) = killed_until_done(&mirror, &sample, &mut random, span + span / 4).await;
        killed += times;
        twice += lost;
        eprintln!("{killed} kills in {mirrors} mirrors");
        let found = mirror.objects().await;
        let names =
            |objects: &BTreeMap<String, Digest>| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{}", mirror.url);
        assert!(found == expected, "the same keys hold other bytes");
    }
    eprintln!(
        "{killed} kills in {mirrors} mirrors; {twice} bottles were fetched twice, an undisturbed run took {span:?}"
    );
}
