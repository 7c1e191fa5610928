//! Puts a mark in place of what is probably a secret in a command.
//!
//! What must hold: a text is never cut within a character; what is marked once stays as it is; references such as `$TOKEN` stay, for
//! they are no secrets; a secret goes as a whole, however it is quoted.
//!
//! What it deliberately does not do: promise to find everything. What it knows is in tables: `names`, forms (`forms`), and programs
//! (`programs/table`, `programs/places`).

mod forms;
mod here;
mod names;
mod programs;
mod readers;
mod shell;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::names::{is_header, is_secret_option, means_secret, scheme_length, simple};
use self::shell::Word;

/// What stands in place of a secret.
const MARK: &str = "«redacted»";

/// So deep commands within quotes or substitutions of others are looked at.
const DEPTH_MAX: usize = 6;

/// Replaces likely secrets.
pub fn redact(text: &str) -> String {
    let mut spans = secrets(text, 0);
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        // Within what is marked already, or over its end, or right after it: one mark is enough.
        if span.start > done || done == 0 {
            redacted.push_str(&text[done..span.start]);
            redacted.push_str(MARK);
        }
        done = done.max(span.end);
    }
    redacted.push_str(&text[done..]);
    redacted
}

/// Where secrets are: in the text as it stands, in what its words say without their quotes, and in the commands within these.
fn secrets(text: &str, depth: usize) -> Vec<Range<usize>> {
    let mut spans = as_written(text);
    let commands = shell::commands(text);
    spans.extend(programs::piped(text, &commands));
    for command in &commands {
        spans.extend(programs::options(command));
        spans.extend(programs::in_place_of_files(text, &command.words));
        spans.extend(here::settings(text, command));
        if depth < DEPTH_MAX {
            let parts = here::commands_in(text, command);
            spans.extend(parts.iter().flat_map(|part| secrets_in(text, part, depth)));
        }
        for (index, word) in command.words.iter().enumerate() {
            spans.extend(assigned(word, command.words.get(index + 1)));
            spans.extend(programs::said_for(text, word));
        }
        for word in command.all().filter(|_| depth < DEPTH_MAX) {
            if word.plain != text[word.raw.clone()] {
                let within = secrets(&word.plain, depth + 1);
                spans.extend(within.into_iter().flat_map(|span| word.cover(span)));
                spans.extend(forms::in_quoted_url(word));
                continue;
            }
            for part in &word.substitutions {
                spans.extend(secrets_in(text, part, depth));
            }
        }
    }
    spans
}

/// Where secrets are in a part of the text, which may be commands of its own.
fn secrets_in(text: &str, part: &Range<usize>, depth: usize) -> Vec<Range<usize>> {
    secrets(&text[part.clone()], depth + 1)
        .into_iter()
        .map(|span| part.start + span.start..part.start + span.end)
        .collect()
}

/// What shows without regard to a shell.
fn as_written(text: &str) -> Vec<Range<usize>> {
    let mut spans = forms::all(text);
    spans.extend(named(text));
    spans.retain(|span| {
        let secret = &text[span.clone()];
        !secret.starts_with('$') && !secret.starts_with('`')
    });
    spans.retain(|span| !span.is_empty());
    spans
}

/// The rest of a word after `NAME=`, or the next word after `--name`, to its real end through all quotes.
fn assigned(word: &Word, next: Option<&Word>) -> Vec<Range<usize>> {
    let mut at = 0;
    loop {
        let rest = &word.plain[at..];
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
            .count();
        let (name, after) = rest.split_at(length);
        let means_secret = is_header(&simple(name)) || means_secret(name);
        match after.as_bytes().first() {
            Some(b'=' | b':') if !after.starts_with("://") => at += length + 1,
            Some(b'+') if after.starts_with("+=") => at += length + 2,
            None if at == 0 && is_secret_option(name) => {
                return next
                    .filter(|next| !next.plain.starts_with("--"))
                    .map(|next| next.secret(0))
                    .unwrap_or_default();
            }
            _ => return Vec::new(),
        }
        if means_secret {
            let value = &word.plain[at..];
            at += value.len() - value.trim_start_matches(' ').len();
            if is_header(&simple(name)) {
                at += scheme_length(&word.plain[at..]);
            }
            return word.secret(at);
        }
    }
}

/// Values after names: `TOKEN=…`, `--password …`, `"secret": "…"`, `Authorization: Bearer …`.
fn named(text: &str) -> Vec<Range<usize>> {
    runs(text, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    })
    .filter_map(|run| value_after(text, run))
    .collect()
}

fn value_after(text: &str, run: Range<usize>) -> Option<Range<usize>> {
    let name = &text[run.clone()];
    let plain = simple(name);
    let after = &text[run.end..];
    if plain == "bearer" {
        let value = after.trim_start_matches(' ');
        let start = text.len() - value.len();
        let span = value_at(text, start);
        return (span.len() >= 8 && start > run.end).then_some(span);
    }
    let header = is_header(&plain);
    if !header && !means_secret(name) {
        return None;
    }
    // The name itself may be quoted, as in JSON.
    let rest = after.strip_prefix(['"', '\'']).unwrap_or(after);
    // Or be what a list is asked for: `ENV["API_TOKEN"] = "…"`, `$ENV{API_TOKEN} = "…"`.
    let rest = rest.strip_prefix([']', '}']).unwrap_or(rest);
    let value = if let Some(value) = rest.strip_prefix('=').or(rest.strip_prefix("+=")) {
        value.strip_prefix('>').map_or(value, str::trim_start)
    } else if let Some(value) = set_apart(rest) {
        value
    } else if let Some(value) = rest
        .strip_prefix(':')
        // A scheme or a user's name in an address is none.
        .filter(|value| !value.starts_with("//") && !text[..run.start].ends_with("//"))
    {
        value.trim_start_matches(' ')
    } else if is_secret_option(name) && rest.starts_with(' ') {
        rest.trim_start_matches(' ')
    } else {
        return None;
    };
    let start = text.len() - value.len();
    if header {
        let start = start + scheme_length(value);
        let end = text[start..]
            .find(['"', '\'', '\n'])
            .map_or(text.len(), |at| start + at);
        return Some(start..end);
    }
    // `--password --user x` has no value.
    (!text[start..].starts_with("--")).then(|| value_at(text, start))
}

/// The quoted value of `name = "value"` and `'name' => 'value'`, as programs have it; a shell's assignment has no blanks.
fn set_apart(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches(' ');
    let value = ["=>", ":=", "||=", "??=", "+=", ".=", "="]
        .iter()
        .find_map(|sign| rest.strip_prefix(sign))?
        .trim_start_matches(' ');
    value.starts_with(['"', '\'']).then_some(value)
}

/// The value that begins here: what is in the quotes, or up to a blank or a sign that ends a word.
fn value_at(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    if let Some(quote @ (b'"' | b'\'')) = rest.bytes().next() {
        let (mut at, bytes) = (1, rest.as_bytes());
        while at < bytes.len() && bytes[at] != quote {
            // In double quotes a backslash hides the next sign.
            at += 1 + usize::from(quote == b'"' && bytes[at] == b'\\');
        }
        let at = if at < bytes.len() { at } else { bytes.len() };
        return start + 1..start + at;
    }
    if let Some(list) = rest.strip_prefix('(') {
        // A list of a shell: `TOKEN=(secret)`.
        let length = list.find(')').unwrap_or(list.len());
        let list = &list[..length];
        let start = start + 1 + list.len() - list.trim_start().len();
        return start..start + list.trim().len();
    }
    let end = rest.find(|c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '&' | ';' | '|' | ')' | '}' | ',' | '<' | '>'
            )
    });
    start..end.map_or(text.len(), |at| start + at)
}

/// The longest stretches of bytes that `within` accepts. It must accept no part of a longer character only.
fn runs(text: &str, within: impl Fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !within(bytes[at]) {
            at += 1;
        }
        let start = at;
        while at < bytes.len() && within(bytes[at]) {
            at += 1;
        }
        (start < at).then_some(start..at)
    })
}
