//! Runs the simulated world for many seeds: `--seeds N [--start S]`, or one seed in full with `--seed S`.

#[path = "../tests/world/mod.rs"]
mod world;

use std::process::ExitCode;

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for a developer's terminal"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        arguments
            .windows(2)
            .find(|pair| pair[0] == name)
            .and_then(|pair| pair[1].parse::<u64>().ok())
    };
    if let Some(seed) = number("--seed") {
        println!("{:?}", world::run(seed));
        return ExitCode::SUCCESS;
    }
    let start = number("--start").unwrap_or(0);
    let seeds = number("--seeds").unwrap_or(2000);
    let (mut operations, mut records, mut crashes, mut conflicts, mut failed) = (0, 0, 0, 0, 0);
    for seed in start..start + seeds {
        match world::run(seed) {
            Ok(outcome) => {
                operations += outcome.operations;
                records += outcome.records;
                crashes += outcome.crashes;
                conflicts += outcome.conflicts;
            }
            Err(broken) => {
                failed += 1;
                eprintln!("{broken}\nagain: cargo xtask sim --seed {seed}");
            }
        }
    }
    println!(
        "{} seeds kept every promise, {failed} did not ({operations} store operations, {records} records, {crashes} crashes, {conflicts} conflicts)",
        seeds - failed
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
