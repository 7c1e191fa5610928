//! An S3 server in a process of its own, for tests and by hand: `testkit-s3 --root DIR [--port N]`.
//!
//! It prints `listening ADDRESS` when it is ready. With `--watch-stdin` it ends when its standard
//! input does, so that it never outlives the test that started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Read, Write};
use std::process::ExitCode;
use testkit::{S3Options, S3Server};

const USAGE: &str = "usage: testkit-s3 [--root DIR] [--port N] [--bucket NAME]... [--access-key K] [--secret-key S] \
                     [--domain D] [--watch-stdin]";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1))
        .and_then(|(options, watch)| run(options, watch).map_err(|e| e.to_string()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<(S3Options, bool), String> {
    let mut options = S3Options {
        buckets: Vec::new(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..S3Options::default()
    };
    let mut watch = false;
    while let Some(arg) = args.next() {
        if arg == "--watch-stdin" {
            watch = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--root" => options.root = Some(value.into()),
            "--port" => options.port = value.parse().map_err(|_| format!("{value} is no port"))?,
            "--bucket" => options.buckets.push(value),
            "--access-key" => options.access_key = value,
            "--secret-key" => options.secret_key = value,
            "--domain" => options.domain = Some(value),
            _ => return Err(format!("{arg} is unknown")),
        }
    }
    Ok((options, watch))
}

fn run(options: S3Options, watch: bool) -> io::Result<()> {
    let server = S3Server::with(options)?;
    println!("listening {}", server.address());
    io::stdout().flush()?;
    if watch {
        io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}
