//! What a server says of itself to programs: a line for load balancers, figures for Prometheus.
//!
//! What must hold: a name keeps its meaning; what is not known is left out, not 0.

use super::Counts;
use super::view::View;
use crate::runs::RunRecord;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Whether there is something to serve, and whether what is new is seen.
pub(super) fn health(view: &View, is_stale: bool) -> Response {
    let ill = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    match &view.id {
        Some(id) if is_stale => ill(format!(
            "the mirror's log cannot be read; {id} is served on as far as it can be\n"
        )),
        Some(id) => format!("ok {id}\n").into_response(),
        None => ill("nothing is mirrored yet\n".to_owned()),
    }
}

/// Figures in the text format of Prometheus.
pub(super) fn metrics(view: &View, counts: &Counts, runs: &[RunRecord]) -> Response {
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: u64| {
        add(&mut text, name, kind, help, value);
    };
    let counted = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    line(
        "requests_total",
        "counter",
        "Requests answered.",
        counted(&counts.requests),
    );
    line(
        "misses_total",
        "counter",
        "Requests for what is not mirrored.",
        counted(&counts.misses),
    );
    line(
        "store_errors_total",
        "counter",
        "Requests that failed because the store did.",
        counted(&counts.errors),
    );
    line(
        "refresh_failures",
        "gauge",
        "How often in a row a new generation was looked for in vain.",
        counted(&counts.not_refreshed),
    );
    line(
        "sent_bytes_total",
        "counter",
        "Bytes of bodies sent.",
        counted(&counts.bytes),
    );
    let generation = view.generation.as_ref();
    line(
        "generation",
        "gauge",
        "Number of the generation that is served.",
        generation.map_or(0, |generation| generation.number),
    );
    line(
        "bottles",
        "gauge",
        "Bottles of the generation that is served.",
        generation.map_or(0, |generation| generation.bottles.len() as u64),
    );
    line(
        "bottle_bytes",
        "gauge",
        "Their bytes, each file counted once.",
        view.bytes,
    );
    let made = generation.map_or(0, |generation| generation.created.as_second());
    line(
        "generation_created_seconds",
        "gauge",
        "When it was made, in seconds since 1970.",
        u64::try_from(made).unwrap_or(0),
    );
    of_runs(&mut text, runs);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn add(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // A string takes everything.
    let _ = write!(
        text,
        "# HELP homebrew_sync_{name} {help}\n# TYPE homebrew_sync_{name} {kind}\nhomebrew_sync_{name} {value}\n"
    );
}

/// Figures of the last run, and when one ended well last.
fn of_runs(text: &mut String, runs: &[RunRecord]) {
    let seconds = |time: jiff::Timestamp| u64::try_from(time.as_second()).unwrap_or(0);
    let mut gauge = |name: &str, help: &str, value: u64| add(text, name, "gauge", help, value);
    if let Some(last) = runs.last() {
        gauge(
            "last_run_success",
            "Whether the last run ended well.",
            last.outcome.is_good().into(),
        );
        gauge(
            "last_run_started_seconds",
            "When it began, in seconds since 1970.",
            seconds(last.started),
        );
        if let Some(took) = last.took() {
            gauge(
                "last_run_duration_seconds",
                "How long it took.",
                took.as_secs(),
            );
        }
        gauge(
            "last_run_fetched_bottles",
            "Bottles that it fetched.",
            last.fetched,
        );
        gauge("last_run_fetched_bytes", "Their bytes.", last.fetched_bytes);
        gauge(
            "last_run_failures",
            "Formulae that failed in it.",
            last.failed,
        );
    }
    let good = runs.iter().rev().find(|run| run.outcome.is_good());
    if let Some(ended) = good.and_then(|run| run.ended) {
        gauge(
            "last_success_seconds",
            "When a run ended well last, in seconds since 1970.",
            seconds(ended),
        );
    }
}
