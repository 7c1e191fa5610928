//! What a server says of itself: a page for people, a line for load balancers, figures for Prometheus.
//!
//! What must hold: the page works without scripts and asks no other server.

use super::Counts;
use super::misses::Miss;
use super::view::{Others, View};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use console::human;
use std::fmt::Write;
use std::sync::atomic::Ordering;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right}.bar{background:#b5651d;height:.8rem;min-width:1px}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1a1a1a}td,th{border-color:#444}}";

/// So many generations are shown.
const RUNS: usize = 10;

/// The page for people.
pub(super) fn status(
    view: &View,
    others: Option<&Others>,
    counts: &Counts,
    misses: &[Miss],
) -> Html<String> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Homebrew mirror</title><style>{STYLE}</style><h1>Homebrew mirror</h1>"
    );
    let Some(generation) = &view.generation else {
        page.push_str("<p>Nothing is mirrored yet. Run <code>homebrew-sync sync</code>.</p>");
        return Html(page);
    };
    let _ = write!(
        page,
        "<p>Generation <b>{}</b>, made {}: {} in {}. {} kept.</p>",
        generation.number,
        generation.created.strftime("%Y-%m-%d %H:%M UTC"),
        human::count(generation.bottles.len() as u64, "bottle"),
        human::bytes(generation.bytes()),
        human::count(view.published.len() as u64, "generation"),
    );
    let by_tag = view.by_tag();
    let rows = by_tag
        .iter()
        .map(|(tag, (count, bytes))| (escaped(tag), *count, *bytes));
    page.push_str(&chart("Platform", &rows.collect::<Vec<_>>()));
    if let Some(others) = others {
        let rows = others.runs.iter().rev().take(RUNS).map(|run| {
            let created = run.created.strftime("%Y-%m-%d %H:%M UTC");
            (format!("{}, {created}", run.number), run.bottles, run.bytes)
        });
        page.push_str("<h2>The last generations</h2>");
        page.push_str(&chart("Generation", &rows.collect::<Vec<_>>()));
    }
    let _ = write!(
        page,
        "<p>Since this server began: {} answered, {} not mirrored, {} sent.</p>",
        human::count(counts.requests.load(Ordering::Relaxed), "request"),
        human::number(counts.misses.load(Ordering::Relaxed)),
        human::bytes(counts.bytes.load(Ordering::Relaxed)),
    );
    if !misses.is_empty() {
        page.push_str("<h2>Asked for last and not mirrored</h2><table>");
        for miss in misses {
            let time = miss.time.strftime("%Y-%m-%d %H:%M UTC");
            let _ = write!(page, "<tr><td>{}<td>{time}</tr>", escaped(&miss.path));
        }
        page.push_str("</table>");
    }
    Html(page)
}

/// A table of what has so many bottles of so many bytes, with a bar for each size.
fn chart(what: &str, rows: &[(String, u64, u64)]) -> String {
    let most = rows.iter().map(|(_, _, bytes)| *bytes).max().unwrap_or(1);
    let mut table = format!("<table><tr><th>{what}<th class=n>Bottles<th class=n>Size<th></tr>");
    for (name, count, bytes) in rows {
        let _ = write!(
            table,
            "<tr><td>{name}<td class=n>{}<td class=n>{}<td style=\"width:40%\"><div class=bar style=\"width:{}%\"></div></tr>",
            human::number(*count),
            human::bytes(*bytes),
            bytes * 100 / most.max(1),
        );
    }
    table.push_str("</table>");
    table
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

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
pub(super) fn metrics(view: &View, counts: &Counts) -> Response {
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = write!(
            text,
            "# HELP homebrew_sync_{name} {help}\n# TYPE homebrew_sync_{name} {kind}\nhomebrew_sync_{name} {value}\n"
        );
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
        generation.map_or(0, crate::log::Generation::bytes),
    );
    let made = generation.map_or(0, |generation| generation.created.as_second());
    line(
        "generation_created_seconds",
        "gauge",
        "When it was made, in seconds since 1970.",
        u64::try_from(made).unwrap_or(0),
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
