//! Side-by-side measurements: `cargo xtask bench hx`.
//!
//! What must hold: the peer and we do the same work on the same input in the same run, and only ratios are judged; nothing is
//! measured that is not printed with its bar.
//! What it deliberately does not do: fail a build. It exits 1 when a bar is missed, for whoever asks.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for a developer's terminal"
)]

mod hx;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("hx") | None => match hx::bench() {
            Ok(0) => ExitCode::SUCCESS,
            Ok(missed) => {
                println!("\n{missed} bars missed");
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Some(other) => {
            eprintln!("error: no benchmark is called `{other}`\nhint: hx");
            ExitCode::from(2)
        }
    }
}
