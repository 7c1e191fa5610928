//! `cargo xtask sim`: the vault's simulator, from the same build the tests use.
//!
//! It builds for the whole workspace so that continuous integration compiles nothing twice.

use crate::run::{self, Outcome};
use std::process::Command;

/// Passes the arguments on to the simulator, with `--seeds 2000` when there are none.
pub(crate) fn run(args: &[String]) -> Outcome {
    run::command(
        "cargo",
        &["build", "--quiet", "--workspace", "--example", "sim"],
    )?;
    let program = run::target_dir()?
        .join("debug")
        .join("examples")
        .join("sim");
    let mut command = Command::new(program);
    command.current_dir(run::root());
    if args.is_empty() {
        command.args(["--seeds", "2000"]);
    }
    run::status(command.args(args))
}
