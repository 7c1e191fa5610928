//! `hx crypto test`: is the cryptography of this build sound on this machine?
//!
//! What must hold: one failed check makes the command fail.
//!
//! What it deliberately does not do: touch the person's keys, database or store.

use clap::Subcommand;
use console::{Exit, Failure, Table, Ui};
use serde_json::json;

/// Arguments of `hx crypto`.
#[derive(Debug, clap::Args)]
pub(super) struct CryptoArgs {
    #[command(subcommand)]
    command: CryptoCommand,
}

#[derive(Debug, Subcommand)]
enum CryptoCommand {
    /// Check the cryptography against published values, and with a round trip
    Test,
}

/// Runs the self-test.
pub(super) fn run(args: &CryptoArgs, ui: &Ui) -> Result<Exit, Failure> {
    let CryptoCommand::Test = args.command;
    let checks = vault::self_test();
    let n_failed = checks.iter().filter(|check| !check.passed).count();
    let mut table = Table::plain();
    for check in &checks {
        table.row([if check.passed { "pass" } else { "FAIL" }, check.name]);
    }
    ui.out(table.render());
    ui.out(format!(
        "{} passed, {n_failed} failed",
        checks.len() - n_failed
    ));
    if ui.is_json() {
        let checks: Vec<_> = checks
            .iter()
            .map(|check| json!({ "name": check.name, "passed": check.passed }))
            .collect();
        ui.json(&json!({ "passed": n_failed == 0, "checks": checks }));
    }
    if n_failed > 0 {
        // A person who sees this must not sync: what is sealed wrongly may never open again.
        ui.hint("do not sync with this build; install hx again, and report the failed checks and the processor");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Ok)
}
