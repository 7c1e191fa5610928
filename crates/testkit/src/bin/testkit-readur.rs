//! PostgreSQL with Readur's tables and a fleet of documents, in a process of its own, for the guides and by hand.
//!
//! It prints `listening URL`, then does what it reads, a line each, and prints `ready` after it:
//! `fleet FOLDER DOCUMENTS SEED [traps]` makes the database `readur` anew and `FOLDER/uploads` with that many documents, which the rows
//! place in `/app/uploads`; with traps, the objects they need lie in `FOLDER/objects` by their keys. It ends with its input.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use testkit::readur::{Fleet, FleetOptions, install};
use testkit::{Postgres, PostgresOptions};

const USAGE: &str = "lines of input: fleet FOLDER DOCUMENTS SEED [traps]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> io::Result<()> {
    let postgres = Postgres::with(PostgresOptions::default())?;
    // The name is in the guides' lines; the first line of input fills it.
    let url = postgres.named_database("readur").url();
    println!("listening {url}");
    io::stdout().flush()?;
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["fleet", folder, documents, seed, traps @ ..] = words.as_slice() else {
            return Err(io::Error::other(format!("`{line}` is not understood")));
        };
        let options = FleetOptions {
            documents: documents.parse().map_err(io::Error::other)?,
            seed: seed.parse().map_err(io::Error::other)?,
            shown: Some("/app/uploads".into()),
            ..FleetOptions::default()
        };
        build(
            &postgres,
            Path::new(folder),
            &options,
            traps.contains(&"traps"),
        )?;
        println!("ready");
        io::stdout().flush()?;
    }
    Ok(())
}

fn build(
    postgres: &Postgres,
    folder: &Path,
    options: &FleetOptions,
    traps: bool,
) -> io::Result<()> {
    let admin = postgres.admin("postgres");
    let drop = |only_if: &str| format!("DROP DATABASE {only_if} readur WITH (FORCE)");
    admin.try_sql(&drop("IF EXISTS"))?;
    let database = postgres.named_database("readur");
    install(&database);
    let mut fleet = Fleet::build(&database, folder, options);
    if traps {
        for (key, bytes) in fleet.traps().1 {
            let path = folder.join("objects").join(key);
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(path, bytes)?;
        }
    }
    Ok(())
}
