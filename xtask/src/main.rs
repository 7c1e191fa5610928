//! The project's own tasks: `cargo xtask <task>`.
//!
//! Each task is one module and one function from arguments to success. What must hold: a task needs
//! no more than Rust, a C compiler and the usual package managers, says what it runs, and stops what
//! it started. It deliberately has few dependencies, because everybody waits for it to compile.
// A task is a program for a terminal; only the libraries are forbidden to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod brew;
mod deps;
mod guides;
mod http;
mod packages;
mod run;
mod sim;
mod tests_task;
mod tidy;
mod tools;

use run::Outcome;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  test [--garage] [FILTER..]     everything the tests need, then the tests
  ci                             what continuous integration runs, in order
  sim --seeds N [--start S]      simulated devices over a faulty store; --seed S for one, verbose
  guides [--only TEXT] [--list]  every command line of the guides, run as printed
  brew --checkout DIR            the real brew (tag 4.3.0) installs from a mirror, network cut
  bench NAME [FLAG...]           a benchmark beside its peers: hx, migrate, bottles, bottles-cold, bottles-serve
  deps                           layers, sources and versions of dependencies
  tidy                           rules for the tree: headers, lengths, banned words";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = args
        .split_first()
        .map_or(("", &[][..]), |(task, rest)| (task.as_str(), rest));
    match dispatch(task, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: &str, args: &[String]) -> Outcome {
    match task {
        "test" => tests_task::run(args),
        "ci" => run::command("bash", &[".ci/run"]),
        "sim" => sim::run(args),
        "guides" => guides::run(args),
        "brew" => brew::run(args),
        "bench" => bench(args),
        "deps" => deps::run(),
        "tidy" => tidy::run(),
        // Used by the set-ups of the guides, which are shell scripts.
        "s3" => http::s3_tool(args),
        "" | "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("there is no task {task}\n\n{USAGE}")),
    }
}

/// Benchmarks are the one thing measured on a release build. The peers are installed by name, once.
fn bench(args: &[String]) -> Outcome {
    let name = args.first().map_or("hx", String::as_str);
    let mut more = Vec::new();
    match name {
        "migrate" => {
            packages::postgres()?;
            more = vec!["--s5cmd".to_owned(), tools::s5cmd()?.display().to_string()];
        }
        "bottles-cold" => {
            let programs = [("--s5cmd", tools::s5cmd()?), ("--rclone", tools::rclone()?)];
            for (flag, program) in programs {
                more.extend([flag.to_owned(), program.display().to_string()]);
            }
        }
        "bottles-serve" => packages::nginx()?,
        "hx" => {
            tools::atuin()?;
        }
        _ => {}
    }
    // All in one go, whichever is measured: with other packages, cargo chooses other features and compiles what they share anew.
    let build = "build --release --package testkit --package bench --package hx --package migrate --package bottles";
    run::command("cargo", &build.split(' ').collect::<Vec<_>>())?;
    let mut all = vec![name];
    all.extend(args.iter().skip(1).chain(&more).map(String::as_str));
    let program = run::target_dir()?.join("release").join("bench");
    run::command(&program.display().to_string(), &all)
}
