//! What the exit codes mean here, for `--help`.
//!
//! What must hold: the numbers are those of [`console::Exit`]; the words are those of the book; what this tool never ends with is
//! not in the list.
//!
//! What it deliberately does not do: choose a code.

use console::Exit;

/// Each code with its meaning.
pub const MEANINGS: [(Exit, &str); 14] = [
    (Exit::Ok, "done; rows, disk and bucket balance"),
    (
        Exit::Failed,
        "failed for a reason without a code of its own",
    ),
    (
        Exit::Usage,
        "the command line is wrong, or an unfinished run needs `--resume` or `--fresh-start`",
    ),
    (
        Exit::Partial,
        "done in part, or (`--dry-run`) would be; each exception is named",
    ),
    (
        Exit::Config,
        "a setting is wrong, a directory or table is not there, or none of the run's files is",
    ),
    (Exit::NoStore, "no bucket there, or no run"),
    (Exit::Locked, "another process is at it"),
    (
        Exit::Denied,
        "credentials missing or wrong, or permission refused (by the file system too)",
    ),
    (
        Exit::Network,
        "network, database connection, timeout, throttling",
    ),
    (
        Exit::Conflict,
        "the run had other settings, may be a clone's, is partly undone, or a later one moved rows",
    ),
    (
        Exit::Corrupt,
        "an object is not what was stored, or a journal cannot be believed",
    ),
    (Exit::DiskFull, "disk or quota full, or read-only"),
    (Exit::ClockSkew, "the clock is too far off"),
    (Exit::Interrupted, "interrupted; it can be resumed"),
];

/// Renders the table, one code a line.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in MEANINGS {
        let plain = meaning.replace('`', "");
        text.push_str(&format!("  {:>3}  {plain}\n", exit.code()));
    }
    text
}
