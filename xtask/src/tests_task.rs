//! `cargo xtask test`: installs what the tests need, builds, runs them, stops everything.
//!
//! Servers are started by the tests themselves, on free ports, and end with them; this task only
//! makes sure that the programs exist and tells the tests where they are. It uses `cargo test`,
//! because a fresh machine has nothing else.

use crate::packages;
use crate::run::{self, Outcome};
use crate::tools;

/// Runs the tests; arguments other than `--garage` are filters.
pub(crate) fn run(args: &[String]) -> Outcome {
    let garage = args.iter().any(|arg| arg == "--garage");
    let filters: Vec<&String> = args.iter().filter(|arg| *arg != "--garage").collect();
    packages::postgres()?;
    packages::shells()?;
    packages::syncthing()?;
    packages::chromium()?;
    let moto = tools::moto()?;
    let smtpd = tools::smtpd()?;
    let mut command = run::cargo();
    command.args(["test", "--workspace"]);
    if !filters.is_empty() {
        command.arg("--").args(&filters);
    }
    command.env("SYNCLINE_MOTO", &moto);
    command.env("SYNCLINE_SMTPD", &smtpd);
    run::status(&mut command)?;
    match garage {
        true => run_garage(&filters),
        false => Ok(()),
    }
}

/// Runs the test binaries named `garage`, one in each crate that speaks to stores. The manifests keep them out of every other run.
fn run_garage(filters: &[&String]) -> Outcome {
    let program = tools::garage()?;
    let mut command = run::cargo();
    command.args(["test", "--workspace", "--test", "garage"]);
    if !filters.is_empty() {
        command.arg("--").args(filters);
    }
    command.env("SYNCLINE_GARAGE", program);
    run::status(&mut command)
}
