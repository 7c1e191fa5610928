//! What a server says of itself: a page for people, a line for load balancers, figures for Prometheus.
//!
//! What must hold: the page works without scripts and asks no other server.

use super::Counts;
use super::view::View;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use console::human;
use std::fmt::Write;
use std::sync::atomic::Ordering;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right}.bar{background:#b5651d;height:.8rem;min-width:1px}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1a1a1a}td,th{border-color:#444}}";

/// The page for people.
pub(super) fn status(view: &View, counts: &Counts) -> Html<String> {
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
    let most = by_tag
        .values()
        .map(|(_, bytes)| *bytes)
        .max()
        .unwrap_or(1)
        .max(1);
    page.push_str("<table><tr><th>Platform<th class=n>Bottles<th class=n>Size<th></tr>");
    for (tag, (count, bytes)) in &by_tag {
        let _ = write!(
            page,
            "<tr><td>{}<td class=n>{}<td class=n>{}<td style=\"width:40%\"><div class=bar style=\"width:{}%\"></div></tr>",
            escaped(tag),
            human::number(*count),
            human::bytes(*bytes),
            bytes * 100 / most,
        );
    }
    let _ = write!(
        page,
        "</table><p>Since this server began: {} answered, {} not mirrored, {} sent.</p>",
        human::count(counts.requests.load(Ordering::Relaxed), "request"),
        human::number(counts.misses.load(Ordering::Relaxed)),
        human::bytes(counts.bytes.load(Ordering::Relaxed)),
    );
    Html(page)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Whether there is something to serve.
pub(super) fn health(view: &View) -> Response {
    match &view.id {
        Some(id) => format!("ok {id}\n").into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing is mirrored yet\n").into_response(),
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
