//! The page that a server has for people.
//!
//! What must hold: it works without scripts and asks no other server; whatever names, paths and errors hold is text.

mod chart;

use super::Counts;
use super::misses::Miss;
use super::view::{Others, View};
use crate::log::Generation;
use crate::runs::{RunOutcome, RunRecord};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use console::human;
use jiff::Timestamp;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

const STYLE: &str = include_str!("page/style.css");

/// So many generations are shown.
const GENERATIONS: usize = 10;

/// So many runs are in the table; the chart has more.
const RUNS: usize = 10;

/// Nothing is fetched from anywhere, not even from here.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a page tells of.
pub(super) struct Told<'a> {
    pub(super) view: &'a View,
    pub(super) others: Option<&'a Others>,
    pub(super) counts: &'a Counts,
    pub(super) runs: &'a [RunRecord],
    pub(super) misses: &'a [Miss],
    pub(super) now: Timestamp,
}

/// Writes the page.
pub(super) fn status(told: &Told<'_>) -> Response {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"60\"><link rel=\"icon\" href=\"data:,\"><title>Homebrew mirror</title><style>{STYLE}</style></head><body>\
         <header><h1>Homebrew mirror</h1>{}</header>",
        badge(told)
    );
    match &told.view.generation {
        Some(generation) => page.push_str(&cards(told, generation)),
        None => page.push_str(
            "<p class=empty>Nothing is mirrored yet. Run <code>homebrew-sync sync --formula NAME</code>.</p>",
        ),
    }
    page.push_str(&runs(told));
    if let Some(generation) = &told.view.generation {
        page.push_str(&mirrored(told, generation));
    }
    page.push_str(&generations(told));
    page.push_str(&misses(told));
    let _ = write!(
        page,
        "<footer>Written {}. Figures for Prometheus are at <a href=\"/metrics\">/metrics</a>.</footer></body></html>",
        time(told.now)
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn ago(time: Timestamp, now: Timestamp) -> String {
    human::ago(Duration::try_from(now.duration_since(time)).unwrap_or_default())
}

/// A word on the last run that has ended, beside the title.
fn badge(told: &Told<'_>) -> String {
    let ended = told.runs.iter().rev();
    let mut ended = ended.filter(|run| run.outcome != RunOutcome::Running);
    match ended.next() {
        Some(run) => format!(
            "<span class=\"badge {}\">last run: {}, {}</span>",
            class(run.outcome),
            run.outcome.as_str(),
            ago(run.started, told.now)
        ),
        None => String::new(),
    }
}

fn class(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Published => "good",
        RunOutcome::NothingNew | RunOutcome::Running => "calm",
        RunOutcome::Interrupted | RunOutcome::PublishedIncomplete => "warn",
        RunOutcome::Incomplete | RunOutcome::Failed | RunOutcome::Killed => "bad",
    }
}

fn cards(told: &Told<'_>, generation: &Generation) -> String {
    let counts = told.counts;
    let asked = counts.requests.load(Ordering::Relaxed);
    let missed = counts.misses.load(Ordering::Relaxed);
    let sent = human::bytes(counts.bytes.load(Ordering::Relaxed));
    let made = ago(generation.created, told.now);
    let kept = human::count(told.view.published.len() as u64, "generation");
    let selected = match generation.selection.all {
        true => "every formula".to_owned(),
        false => human::count(generation.selection.formulae.len() as u64, "formula") + " asked for",
    };
    let mut text = "<section class=cards>".to_owned();
    for (name, value, more) in [
        (
            "Generation",
            generation.number.to_string(),
            format!("made {made}, {kept} kept"),
        ),
        (
            "Bottles",
            human::number(generation.bottles.len() as u64),
            selected,
        ),
        (
            "Size",
            human::bytes(told.view.bytes),
            "each file counted once".to_owned(),
        ),
        (
            "Requests",
            human::number(asked),
            format!("{sent} sent since this server began"),
        ),
        (
            "Misses",
            human::number(missed),
            "asked for and not mirrored".to_owned(),
        ),
    ] {
        let _ = write!(
            text,
            "<div class=card><div class=name>{name}</div><div class=value>{value}</div><div class=more>{}</div></div>",
            escaped(&more)
        );
    }
    text + "</section>"
}

fn runs(told: &Told<'_>) -> String {
    let mut text = "<section><h2>Last runs</h2>".to_owned();
    if told.runs.is_empty() {
        return text + "<p class=empty>No run has left a record yet.</p></section>";
    }
    text.push_str(&chart::runs(told.runs));
    text.push_str(
        "<table><thead><tr><th>Began<th class=n>Took<th>Outcome<th class=n>Fetched<th class=n>Size<th>Why</tr></thead><tbody>",
    );
    for run in told.runs.iter().rev().take(RUNS) {
        let took = run.took().map_or_else(String::new, human::duration);
        let _ = write!(
            text,
            "<tr><td>{}<td class=n>{took}<td><span class=\"badge {}\">{}</span><td class=n>{}<td class=n>{}<td class=why>{}</tr>",
            time(run.started),
            class(run.outcome),
            run.outcome.as_str(),
            human::number(run.fetched),
            human::bytes(run.fetched_bytes),
            escaped(&why(run)),
        );
    }
    text + "</tbody></table></section>"
}

/// Why a run did not end well; nothing if it did.
fn why(run: &RunRecord) -> String {
    if let Some(error) = &run.error {
        let remedy = run.remedy.as_ref();
        return remedy.map_or_else(|| error.clone(), |remedy| format!("{error} → {remedy}"));
    }
    let names: Vec<&str> = run
        .failures
        .iter()
        .map(|failure| failure.formula.as_str())
        .collect();
    match run.failed > names.len() as u64 {
        true => format!("{} and more failed", names.join(", ")),
        false if names.is_empty() => String::new(),
        false => format!("{} failed", names.join(", ")),
    }
}

fn mirrored(told: &Told<'_>, generation: &Generation) -> String {
    let rows = told.view.by_tag.iter();
    let rows: Vec<_> = rows
        .map(|(tag, (count, bytes))| (escaped(tag), *count, *bytes))
        .collect();
    let platforms: Vec<&str> = generation
        .selection
        .platforms
        .iter()
        .map(String::as_str)
        .collect();
    format!(
        "<section><h2>What is mirrored</h2><p>For {}.</p>{}</section>",
        escaped(&platforms.join(", ")),
        bars("Built for", &rows)
    )
}

fn generations(told: &Told<'_>) -> String {
    let Some(others) = told.others else {
        return String::new();
    };
    let rows = others.runs.iter().rev().take(GENERATIONS);
    let rows: Vec<_> = rows
        .map(|run| {
            (
                format!("{}, {}", run.number, time(run.created)),
                run.bottles,
                run.bytes,
            )
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<section><h2>Generations</h2>{}</section>",
            bars("Generation", &rows)
        ),
    }
}

fn misses(told: &Told<'_>) -> String {
    if told.misses.is_empty() {
        return String::new();
    }
    let mut text = "<section><h2>Asked for last and not mirrored</h2><p><code>homebrew-sync doctor --client</code> explains them.</p><table><tbody>".to_owned();
    for miss in told.misses {
        let _ = write!(
            text,
            "<tr><td class=path>{}<td class=n>{}</tr>",
            escaped(&miss.path),
            time(miss.time)
        );
    }
    text + "</tbody></table></section>"
}

/// A table of what has so many bottles of so many bytes, with a bar for each size.
fn bars(what: &str, rows: &[(String, u64, u64)]) -> String {
    let most = rows.iter().map(|(_, _, bytes)| *bytes).max().unwrap_or(1);
    let mut table = format!(
        "<table><thead><tr><th>{what}<th class=n>Bottles<th class=n>Size<th class=wide></tr></thead><tbody>"
    );
    for (name, count, bytes) in rows {
        let _ = write!(
            table,
            "<tr><td>{name}<td class=n>{}<td class=n>{}<td class=wide><div class=bar style=\"width:{}%\"></div></tr>",
            human::number(*count),
            human::bytes(*bytes),
            bytes * 100 / most.max(1),
        );
    }
    table + "</tbody></table>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
