//! What is wrong between settings that are each right on their own.
//!
//! What must hold: a combination that cannot work is an error; one that surprises is a warning that says what happens.
//!
//! It deliberately does not ask the store or the disk: `hx config validate` works offline.

use std::str::FromStr;

use console::{Origin, Problem, Setting, Severity, redact};
use store::{StoreUrl, UrlError};

use super::{Secret, Settings};

/// Names every problem between settings.
pub(super) fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    store(settings, &mut problems);
    timeouts(settings, &mut problems);
    parallelism(settings, &mut problems);
    passphrase(settings, &mut problems);
    problems
}

/// Says what is wrong with the store URL.
pub(super) fn bad_store(given: &Setting<Secret>, error: &UrlError) -> Problem {
    Problem {
        place: place("sync.store", &given.origin),
        what: format!(
            "`{}` is no store URL: {}",
            redact(given.value.expose()),
            redact(&error.to_string())
        ),
        nearest: None,
        remedy: error.remedy().to_string(),
        severity: Severity::Error,
    }
}

fn store(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(given) = &settings.sync.store else {
        return;
    };
    match StoreUrl::from_str(given.value.expose()) {
        Err(error) => problems.push(bad_store(given, &error)),
        Ok(url) if url.secrets().is_some() && matches!(given.origin, Origin::File(_)) => problems
            .push(warning(
                place("sync.store", &given.origin),
                "it holds credentials in clear",
                "run `hx sync init --store` with this URL once: it moves them to a private file",
            )),
        Ok(_) => {}
    }
}

fn timeouts(settings: &Settings, problems: &mut Vec<Problem>) {
    let sync = &settings.sync;
    let total = &sync.total_timeout;
    for (key, setting) in [
        ("sync.timeout", &sync.timeout),
        ("sync.connect_timeout", &sync.connect_timeout),
        ("sync.read_timeout", &sync.read_timeout),
    ] {
        // Who shortens the whole means its parts too: a part that nobody chose is no mistake.
        if setting.value > total.value && !setting.is_default() {
            problems.push(warning(
                place(key, &setting.origin),
                "it is longer than sync.total_timeout, which ends the operation first",
                "raise sync.total_timeout (HX_SYNC_TOTAL_TIMEOUT) above it",
            ));
        }
    }
}

fn parallelism(settings: &Settings, problems: &mut Vec<Problem>) {
    let sync = &settings.sync;
    let connections = sync.max_connections.value;
    for (key, setting) in [
        ("sync.concurrent_uploads", &sync.concurrent_uploads),
        ("sync.concurrent_downloads", &sync.concurrent_downloads),
    ] {
        // Nobody chose either: the defaults go together.
        if setting.value > connections
            && !(setting.is_default() && sync.max_connections.is_default())
        {
            let what =
                format!("only {connections} at a time can be under way, by sync.max_connections");
            problems.push(warning(
                place(key, &setting.origin),
                what,
                "raise sync.max_connections (HX_SYNC_MAX_CONNECTIONS) to it",
            ));
        }
    }
    if sync.chunk_size.value > sync.max_memory_usage.value / 2 {
        problems.push(warning(
            place("sync.chunk_size", &sync.chunk_size.origin),
            "an object of this size does not fit twice, raw and sealed, into sync.max_memory_usage; one at a time is moved and the limit exceeded",
            "lower sync.chunk_size or raise sync.max_memory_usage",
        ));
    }
}

fn passphrase(settings: &Settings, problems: &mut Vec<Problem>) {
    if let (Some(passphrase), Some(_)) = (&settings.sync.passphrase, &settings.sync.passphrase_file)
    {
        problems.push(warning(
            passphrase.origin.to_string(),
            "a passphrase file is set too, and the file wins",
            "unset HX_SYNC_PASSPHRASE or HX_SYNC_PASSPHRASE_FILE",
        ));
    }
}

fn place(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::Environment(name) => format!("environment {name}"),
        other => format!("{key} ({other})"),
    }
}

fn warning(place: String, what: impl Into<String>, remedy: &str) -> Problem {
    Problem {
        place,
        what: what.into(),
        nearest: None,
        remedy: remedy.to_string(),
        severity: Severity::Warning,
    }
}
