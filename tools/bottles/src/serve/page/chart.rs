//! The chart of the last runs: a bar for each, as high as what it fetched.
//!
//! What must hold: each run shows, also one that fetched nothing, and what its colour says is in its title and in the key too.

use super::class;
use crate::runs::RunRecord;
use console::human;
use std::fmt::Write;

/// So many runs are in it.
const BARS: usize = 40;

const WIDTH: usize = 960;
const HEIGHT: usize = 190;
/// Where the bars stand, and up to where they reach.
const FLOOR: usize = 150;
const CEILING: usize = 20;
const LEFT: usize = 70;
/// A run that fetched little or nothing is to be seen.
const LEAST: u64 = 4;
/// Bars of few runs are not as broad as the page.
const BAR_MAX: usize = 28;

/// Draws the last runs, the newest on the right.
pub(super) fn runs(runs: &[RunRecord]) -> String {
    let shown = &runs[runs.len().saturating_sub(BARS)..];
    let most = shown
        .iter()
        .map(|run| run.fetched_bytes)
        .max()
        .unwrap_or(0)
        .max(1);
    let slot = ((WIDTH - LEFT) / shown.len().max(1)).min(2 * BAR_MAX);
    let bar = (slot * 2 / 3).clamp(2, BAR_MAX);
    let mut svg = format!(
        "<svg id=\"runs\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"runs-title\"><title id=\"runs-title\">What the last {} fetched</title>",
        human::count(shown.len() as u64, "run")
    );
    for (part, of) in [(0, 2), (1, 2), (2, 2)] {
        let y = FLOOR - (FLOOR - CEILING) * part / of;
        let bytes = human::bytes(most * part as u64 / of as u64);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{WIDTH}\" y2=\"{y}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{bytes}</text>",
            LEFT - 8,
            y + 4
        );
    }
    for (place, run) in shown.iter().enumerate() {
        let height = height(run.fetched_bytes, most);
        let x = LEFT + place * slot + (slot - bar) / 2;
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"{bar}\" height=\"{height}\" rx=\"2\"><title>{}</title></rect>",
            class(run.outcome),
            FLOOR as u64 - height,
            said(run)
        );
    }
    for (place, _) in failed(shown) {
        let x = LEFT + place * slot + slot / 2;
        let _ = write!(
            svg,
            "<text class=\"bad mark\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">×</text>",
            FLOOR - 8
        );
    }
    for place in labelled(shown.len(), slot) {
        let x = LEFT + place * slot + slot / 2;
        let date = shown[place].started.strftime("%b %-d");
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{date}</text>",
            FLOOR + 16
        );
    }
    svg.push_str(&key());
    svg + "</svg>"
}

/// The runs that failed: their bars are low, and a colour alone is not seen by all.
fn failed(shown: &[RunRecord]) -> impl Iterator<Item = (usize, &RunRecord)> {
    let runs = shown.iter().enumerate();
    runs.filter(|(_, run)| class(run.outcome) == "bad")
}

fn height(bytes: u64, most: u64) -> u64 {
    let room = (FLOOR - CEILING) as u128;
    // It cannot be more than the room.
    let height = u64::try_from(u128::from(bytes) * room / u128::from(most)).unwrap_or(0);
    height.max(LEAST)
}

fn said(run: &RunRecord) -> String {
    format!(
        "{}: {}, {} of {}",
        run.started.strftime("%Y-%m-%d %H:%M UTC"),
        run.outcome.as_str(),
        human::count(run.fetched, "bottle"),
        human::bytes(run.fetched_bytes)
    )
}

/// Under which bars a date fits.
fn labelled(count: usize, slot: usize) -> impl Iterator<Item = usize> {
    let every = 60_usize.div_ceil(slot.max(1));
    // From the newest on: that one always has its date.
    (0..count).rev().step_by(every)
}

fn key() -> String {
    let mut text = String::new();
    let words = [
        ("good", "published"),
        ("calm", "nothing new"),
        ("warn", "in part, or stopped"),
        ("bad", "failed ×"),
    ];
    for (place, (class, word)) in words.iter().enumerate() {
        let x = LEFT + place * 150;
        let _ = write!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" rx=\"2\"/><text x=\"{}\" y=\"{}\">{word}</text>",
            HEIGHT - 12,
            x + 16,
            HEIGHT - 3
        );
    }
    text
}
