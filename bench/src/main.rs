//! Side-by-side measurements: `cargo xtask bench hx`, and so on: `migrate`, `bottles`, `bottles-cold`, `bottles-serve`.
//!
//! What must hold: the peer and we do the same work on the same input in the same run, and only ratios are judged; nothing is
//! measured that is not printed with its bar.
//! What it deliberately does not do: fail a build. It exits 1 when a bar is missed, for whoever asks.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for a developer's terminal"
)]

mod bottles;
mod cold;
mod flags;
mod hx;
mod migrate;
mod run;
mod serving;
mod table;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("hx", &[][..]),
    };
    let missed = match name {
        "hx" => hx::bench(),
        "migrate" => migrate::bench(rest),
        "bottles" => bottles::bench(rest),
        "bottles-cold" => cold::bench(rest),
        "bottles-serve" => serving::bench(rest),
        other => {
            eprintln!(
                "error: no benchmark is called `{other}`\nhint: hx, migrate, bottles, bottles-cold, bottles-serve"
            );
            return ExitCode::from(2);
        }
    };
    match missed {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            println!("\n{missed} bars missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
