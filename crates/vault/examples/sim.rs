//! Runs the simulated world for many seeds, on all processors: `--seeds N [--start S]`, or one seed in full with `--seed S`.

#[path = "../tests/world/mod.rs"]
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What all seeds showed together.
#[derive(Default)]
struct Sum {
    kept: u64,
    broken: u64,
    operations: u64,
    records: usize,
    crashes: u64,
    conflicts: u64,
    crowds: u64,
    removals: u64,
    damages: u64,
    retired: u64,
    rotations: u64,
    additions: u64,
    returns: u64,
    refused: u64,
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for a developer's terminal"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers = match numbers(&arguments) {
        Ok(numbers) => numbers,
        Err(why) => {
            eprintln!("error: {why}\nusage: [--seeds N] [--start S], or --seed S for one in full");
            return ExitCode::from(2);
        }
    };
    let number = |name: &str| numbers.get(name).copied();
    if let Some(seed) = number("--seed") {
        let outcome = world::run(seed, world::Pausing::AsDesigned);
        match &outcome {
            Ok(outcome) => println!("{outcome:?}"),
            Err(broken) => eprintln!("{broken}"),
        }
        return if outcome.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let start = number("--start").unwrap_or(0);
    let seeds = number("--seeds").unwrap_or(2000);
    let sum = run_all(start, seeds, |seed, broken| {
        eprintln!("{broken}\nagain: cargo xtask sim --seed {seed}");
    });
    println!(
        "{} seeds kept every promise, {} did not ({} store operations, {} records, {} crashes, {} conflicts, {} crowds, {} takeovers, {} damages, {} lines retired, {} rotations, {} passphrases added, {} refusals, {} returns)",
        sum.kept,
        sum.broken,
        sum.operations,
        sum.records,
        sum.crashes,
        sum.conflicts,
        sum.crowds,
        sum.removals,
        sum.damages,
        sum.retired,
        sum.rotations,
        sum.additions,
        sum.refused,
        sum.returns
    );
    if sum.broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The arguments, each with its number. One that is unknown is refused: a simulation takes minutes before it shows what it misunderstood.
fn numbers(arguments: &[String]) -> Result<BTreeMap<&str, u64>, String> {
    let mut numbers = BTreeMap::new();
    for pair in arguments.chunks(2) {
        let name = pair[0].as_str();
        if !["--seed", "--seeds", "--start"].contains(&name) {
            return Err(format!("{name} is unknown"));
        }
        let value = pair.get(1).and_then(|value| value.parse().ok());
        let value = value.ok_or_else(|| format!("{name} needs a number"))?;
        numbers.insert(name, value);
    }
    Ok(numbers)
}

/// Seeds do not know of each other, so it does not matter which thread runs which. They are reported in their order all the same, so that
/// two runs print the same.
fn run_all(start: u64, seeds: u64, report: impl Fn(u64, &str) + Sync) -> Sum {
    let next = AtomicU64::new(start);
    let tally = Mutex::new(Tally {
        reported: start,
        ..Tally::default()
    });
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= start + seeds {
                return;
            }
            let outcome = world::run(seed, world::Pausing::AsDesigned);
            let mut tally = tally.lock().expect("no thread panics while it counts");
            tally.waiting.insert(seed, outcome);
            tally.report(&report);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let tally = tally.into_inner();
    tally.expect("no thread panics while it counts").sum
}

/// Outcomes on their way to the report.
#[derive(Default)]
struct Tally {
    sum: Sum,
    /// Every seed below this one was reported.
    reported: u64,
    waiting: BTreeMap<u64, Result<world::Outcome, String>>,
}

impl Tally {
    /// Reports the outcomes that nothing before them is missing of.
    fn report(&mut self, report: impl Fn(u64, &str)) {
        while let Some(outcome) = self.waiting.remove(&self.reported) {
            match outcome {
                Ok(outcome) => self.sum.add(&outcome),
                Err(broken) => {
                    self.sum.broken += 1;
                    report(self.reported, &broken);
                }
            }
            self.reported += 1;
        }
    }
}

impl Sum {
    fn add(&mut self, outcome: &world::Outcome) {
        self.kept += 1;
        self.operations += outcome.operations;
        self.records += outcome.records;
        self.crashes += outcome.crashes;
        self.conflicts += outcome.conflicts;
        self.crowds += outcome.crowds;
        self.removals += outcome.removals;
        self.damages += outcome.damages;
        self.retired += outcome.retired;
        self.rotations += outcome.rotations;
        self.additions += outcome.additions;
        self.returns += outcome.returns;
        self.refused += outcome.refused;
    }
}
