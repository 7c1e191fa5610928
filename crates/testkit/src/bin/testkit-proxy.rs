//! The forward proxy in a process of its own: any host, plain or TLS, goes to one loopback upstream.
//!
//! It prints `listening ADDRESS CA-FILE` when it is ready, and ends when its standard input does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Read, Write};
use std::process::ExitCode;
use testkit::{ProxyOptions, ScriptedProxy};

const USAGE: &str =
    "usage: testkit-proxy --upstream ADDRESS [--bucket-domain DOMAIN]... [--port N]";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1))
        .and_then(|options| run(options).map_err(|e| e.to_string()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<ProxyOptions, String> {
    let mut options = ProxyOptions::default();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--upstream" => {
                options.upstream = Some(
                    value
                        .parse()
                        .map_err(|_| format!("{value} is no address"))?,
                )
            }
            "--bucket-domain" => options.bucket_domains.push(value),
            "--port" => options.port = value.parse().map_err(|_| format!("{value} is no port"))?,
            _ => return Err(format!("{arg} is unknown")),
        }
    }
    Ok(options)
}

fn run(options: ProxyOptions) -> io::Result<()> {
    let proxy = ScriptedProxy::with(options)?;
    println!(
        "listening {} {}",
        proxy.address(),
        proxy.ca_pem_path().display()
    );
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
