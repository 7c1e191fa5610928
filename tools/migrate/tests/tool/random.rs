//! Random fleets, random faults, a random sequence of commands, each perhaps cut off at a random step.
//!
//! What must hold after every command, however it ended: each row leads to the bytes it led to at the start, on the disk or in the bucket.
//! A migration that ends with 0 has left no row at its source. Some troubles pass while a command is patient, others outlast it.
//! Once the faults are over, rolling every run back, the newest first, leaves files, rows and objects as they were, byte for byte, but for objects
//! that a run was cut off at and then refused: those are named.
//!
//! `MIGRATE_SEEDS=FROM-TO` plays other seeds than those of every day; a failure names its seed and the commands that led there.
//! It deliberately rolls runs back in order only: undoing an older run below a newer one is refused item by item, which other tests see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use testkit::{Action, Rng, Rule, ScriptedProxy};
use transfer::{ExceptionKind, Journal};

use crate::failures::until;
use crate::world::{BUCKET, Ended, Site, removal};

/// The seeds of every day.
const SEEDS: std::ops::Range<u64> = 0..4;
/// So many commands are played on each fleet.
const COMMANDS: usize = 12;
/// Each command has about so many steps where it can be cut off.
const STEPS: u64 = 60;

/// Every row with a path: table and id, and the path.
const ROWS: &str = "SELECT 'documents/' || id || ' ' || file_path FROM documents \
     UNION ALL SELECT 'failed_documents/' || id || ' ' || file_path FROM failed_documents WHERE file_path IS NOT NULL \
     UNION ALL SELECT 'processed_images/' || id || ' ' || processed_image_path FROM processed_images";

#[test]
fn no_documents_bytes_are_ever_out_of_reach() {
    let seeds = match std::env::var("MIGRATE_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once('-').expect("MIGRATE_SEEDS=FROM-TO");
            let number = |text: &str| text.parse().expect("a number");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        Play::new(seed).play();
    }
}

/// One fleet and what is done to it.
struct Play {
    seed: u64,
    rng: Rng,
    site: Site,
    proxy: ScriptedProxy,
    /// What each row led to at the start.
    content: BTreeMap<String, Vec<u8>>,
    story: Vec<String>,
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut rng = Rng::new(seed);
        let documents = rng.between(3, 25);
        let mut site = Site::drawn(usize::try_from(documents).expect("few"), rng.next_u64());
        let proxy = ScriptedProxy::in_front_of(site.s3.address());
        site.through(proxy.endpoint());
        let mut play = Play {
            seed,
            rng,
            site,
            proxy,
            content: BTreeMap::new(),
            story: vec![format!("{documents} documents")],
        };
        play.content = play.reachable();
        play
    }

    fn play(mut self) {
        let before = self.site.moment();
        // Without a first run most commands would have nothing to do.
        self.run(&[], None);
        for _ in 0..COMMANDS {
            self.faults();
            self.command();
            self.proxy.clear();
            self.check();
        }
        for journal in self.site.journals().into_iter().rev() {
            let file = journal.display().to_string();
            let ended = self.run(&["--rollback", &file], None);
            assert_eq!(ended.code, Some(0), "{}\n{}", self.told(), ended.all());
            self.check();
        }
        let kept = self.kept();
        let mut after = self.site.moment();
        after.bucket = after.bucket.without(|name| kept.contains(name));
        let probes = self.site.probes();
        assert!(probes.is_empty(), "{probes:?} are left\n{}", self.told());
        // This server cannot list uploads, so that nobody finds one again which the probe had begun when it was cut off.
        after.bucket = after
            .bucket
            .without(|name| name.starts_with("(unfinished)"));
        before.assert_same(&after, &self.told());
        #[expect(
            clippy::print_stdout,
            reason = "with --nocapture one can see what was played"
        )]
        {
            println!("{}", self.told());
        }
    }

    /// Trouble for some of the next command's requests.
    fn faults(&mut self) {
        for _ in 0..self.rng.below(4) {
            let (what, rule) = match self.rng.below(6) {
                0 => ("is too fast", Rule::slow_down()),
                1 => ("fails", Rule::s3_error(500, "InternalError", "Try again.")),
                2 => (
                    "is denied",
                    Rule::s3_error(403, "AccessDenied", "Access Denied"),
                ),
                3 => ("never arrives", Rule::new(Action::DropBefore)),
                4 => ("has no answer", Rule::new(Action::DropAfter)),
                _ => ("has half an answer", Rule::new(Action::CutBody(7))),
            };
            let methods = ["PUT", "PUT", "GET", "GET", "HEAD", "DELETE", "POST"];
            let method = methods[self.rng.index(methods.len())];
            let skip = self.rng.below(25);
            // More than any command asks: it gives up.
            let times = match self.rng.chance(150) {
                true => 10_000,
                false => self.rng.between(1, 2),
            };
            self.story
                .push(format!("  {times} {method} {what}, after {skip}"));
            let rule = rule.method(method).skip(skip as usize);
            self.proxy.add(rule.times(times as usize));
        }
    }

    /// One command, or a person's hand.
    fn command(&mut self) {
        let latest = self.site.latest();
        let mut arguments: Vec<&str> = match self.rng.below(12) {
            0..=3 => vec!["--batch-size", "3", "--parallel-uploads", "3"],
            4 | 5 => vec!["--rollback"],
            6 | 7 => removal(&latest).to_vec(),
            8..=10 => vec!["--direction", "s3-to-local", "--batch-size", "4"],
            _ => {
                self.story.push("rm migration_state_*.json".to_owned());
                for file in self.site.state_files("json") {
                    fs::remove_file(file).expect("removes");
                }
                return;
            }
        };
        if arguments.contains(&"--batch-size") {
            let more = [
                None,
                Some("--resume"),
                Some("--fresh-start"),
                Some("--enable-rollback"),
            ];
            arguments.extend(more[self.rng.index(more.len())]);
        }
        // Patience takes time; troubles that last are met soon enough.
        arguments.extend(["--max-retries", ["1", "2"][self.rng.index(2)]]);
        let step = self.rng.chance(400).then(|| self.rng.between(1, STEPS));
        let ended = self.run(&arguments, step);
        let is_told = ended
            .code
            .map_or(step.is_some(), |code| (0..101).contains(&code));
        assert!(is_told, "{}\n{}", self.told(), ended.all());
        if arguments.contains(&"--batch-size") && ended.code == Some(0) {
            self.check_moved(!arguments.contains(&"s3-to-local"), &ended);
        }
    }

    /// After a migration that ended with 0, every row names the target.
    fn check_moved(&self, to_s3: bool, ended: &Ended) {
        let rows = self.site.sql(ROWS);
        for line in rows.lines() {
            let is_there = line
                .split_once(' ')
                .is_some_and(|(_, path)| path.starts_with("s3://") == to_s3);
            assert!(
                is_there,
                "{line} is where it was\n{}\n{}",
                self.told(),
                ended.all()
            );
        }
    }

    /// The keys of objects of which a person was told that they were left.
    fn kept(&self) -> BTreeSet<String> {
        let journals = self.site.journals().into_iter();
        let exceptions = journals.flat_map(|path| {
            let journal = Journal::read_only(&path).expect("opens");
            journal.exceptions().expect("reads")
        });
        let kept = exceptions.filter(|it| it.kind == ExceptionKind::ObjectKept);
        kept.map(|exception| exception.key).collect()
    }

    /// Runs the program, and waits until what it had under way has arrived.
    fn run(&mut self, arguments: &[&str], step: Option<u64>) -> Ended {
        let mut command = self.site.command(arguments);
        if let Some(step) = step {
            command.env("MIGRATE_CRASH_AT", step.to_string());
        }
        let ended = Ended::of(command, arguments);
        until("nothing is under way", || self.proxy.is_idle());
        self.story.push(format!(
            "migrate_to_s3 {} (cut off at {step:?}): {:?}",
            arguments.join(" "),
            ended.code
        ));
        ended
    }

    fn check(&self) {
        let now = self.reachable();
        for (row, bytes) in &self.content {
            assert!(
                now.get(row) == Some(bytes),
                "{row} does not lead to its bytes\n{}",
                self.told()
            );
        }
        assert_eq!(now.len(), self.content.len(), "{}", self.told());
    }

    /// What each row leads to, as the application would read it; nothing for a path that leads nowhere.
    fn reachable(&self) -> BTreeMap<String, Vec<u8>> {
        let rows = self.site.sql(ROWS);
        let rows = rows.lines().filter_map(|line| line.split_once(' '));
        let read = rows.map(|(row, path)| {
            let file = match path.strip_prefix("s3://") {
                Some(key) => self.site.s3.root().join(BUCKET).join(key),
                None => Path::new(path).to_owned(),
            };
            (row.to_owned(), fs::read(file).unwrap_or_default())
        });
        read.collect()
    }

    fn told(&self) -> String {
        format!("seed {}:\n{}", self.seed, self.story.join("\n"))
    }
}
