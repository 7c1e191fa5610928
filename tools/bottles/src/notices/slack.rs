//! A notice as Slack's blocks.
//!
//! What must hold: Slack refuses a message as a whole if any of its limits is passed, so all of them are kept whatever a notice holds; what
//! its markup would read as a link or a mention is text.
//!
//! The limits are those of Slack's reference of blocks: 50 blocks, 150 characters of a header, 3,000 of a section, 10 fields of 2,000 each.

use super::{Notice, NoticeKind, cut};
use serde_json::{Value, json};

const BLOCKS_MAX: usize = 50;
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3000;
const FIELDS_MAX: usize = 10;
const FIELD_MAX: usize = 2000;
/// What is shown where blocks are not; Slack cuts it by itself at 40,000.
const TEXT_MAX: usize = 3000;

/// One line of details is no longer than this, so that several fit.
const LINE_MAX: usize = 600;

/// Header and context stand around the sections; one more says what was left out.
const SECTIONS_MAX: usize = BLOCKS_MAX - 3;

/// Writes a notice as the body of a message.
#[must_use]
pub fn message(notice: &Notice) -> Value {
    let title = format!("{} {}", sign(notice.event), notice.title);
    let title = match notice.title.trim().is_empty() {
        // An empty header is refused.
        true => notice.event.as_str().to_owned(),
        false => title,
    };
    let mut sections = Vec::new();
    let fields: Vec<Value> = notice.fields.iter().map(field).collect();
    for fields in fields.chunks(FIELDS_MAX) {
        sections.push(json!({"type": "section", "fields": fields}));
    }
    sections.extend(
        packed(&notice.details)
            .into_iter()
            .map(|text| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})),
    );
    if sections.len() > SECTIONS_MAX {
        sections.truncate(SECTIONS_MAX);
        let text = "… and more: see `homebrew-sync runs`";
        sections.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
    }
    let mut blocks = vec![json!({
        "type": "header", "text": {"type": "plain_text", "text": cut(&title, HEADER_MAX)},
    })];
    blocks.extend(sections);
    let time = notice.time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": time}]}));
    json!({"text": escaped(&title, TEXT_MAX), "blocks": blocks})
}

fn sign(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Start | NoticeKind::Progress => "🔄",
        NoticeKind::Success => "✅",
        NoticeKind::Failure => "❌",
        NoticeKind::Warning => "⚠️",
        NoticeKind::Test => "🔔",
    }
}

fn field((name, value): &(String, String)) -> Value {
    let name = escaped(name, HEADER_MAX);
    let value = escaped(value, FIELD_MAX - HEADER_MAX - 10);
    json!({"type": "mrkdwn", "text": format!("*{name}*\n{value}")})
}

/// Puts lines together to texts that each fit into a section.
fn packed(lines: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let length = |text: &str| text.encode_utf16().count();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let line = escaped(line, LINE_MAX);
        match found.last_mut() {
            Some(last) if length(last) + 1 + length(&line) <= SECTION_MAX => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => found.push(line),
        }
    }
    found
}

/// Writes a text so that it is read as text, cut to so many units with the escapes counted. An escape is not cut in two.
fn escaped(text: &str, units_max: usize) -> String {
    let mut found = String::new();
    let mut units = 0;
    // Where the text is cut if it turns out to be too long: there is room for the ellipsis.
    let mut end = 0;
    for character in text.chars() {
        let before = found.len();
        match character {
            '&' => found.push_str("&amp;"),
            '<' => found.push_str("&lt;"),
            '>' => found.push_str("&gt;"),
            other => found.push(other),
        }
        units += found[before..].encode_utf16().count();
        if units < units_max {
            end = found.len();
        } else if units > units_max {
            found.truncate(end);
            found.push('…');
            return found;
        }
    }
    found
}
