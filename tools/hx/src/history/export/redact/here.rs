//! Secrets in here-documents: a file of settings (`cat <<EOF > .env`), commands for a shell (`ssh host <<EOF`), a body for a request, or
//! a secret as a whole (`chpasswd <<EOF`).
//!
//! What must hold: every span lies within the text and on character borders; what only refers to a value stays, unless the quotes of the
//! delimiter make it plain text.
//!
//! What it deliberately does not do: know the formats of files. A line that gives a name a value is one, in any of them; a value that
//! goes on in further lines without quotes is not followed.

use std::ops::Range;

use super::names::means_secret;
use super::shell::{self, Command, HereDocument};
use super::{readers, value_at};

/// What of a command's documents may be commands: all of it for a shell; else each line by itself, with those that it goes on in, so
/// that an apostrophe in a text does not reach beyond its line.
pub(super) fn commands_in(text: &str, command: &Command) -> Vec<Range<usize>> {
    let bodies = command.documents.iter().map(|document| &document.body);
    if readers::is_shell(&command.words) {
        bodies.cloned().collect()
    } else {
        bodies.flat_map(|body| joined(text, body)).collect()
    }
}

/// The values of secret names in the documents of a command, each to the end of its line. Only of what is surely commands it is said
/// that a value after `=` ends where its word does; that is left to those who look for commands.
pub(super) fn settings(text: &str, command: &Command) -> Vec<Range<usize>> {
    let signs: &[char] = match readers::is_shell(&command.words) {
        true => &[':'],
        false => &['=', ':'],
    };
    let documents = command.documents.iter();
    documents
        .flat_map(|document| {
            lines(text, &document.body)
                .filter_map(|line| setting(text, line, signs, document.is_literal))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn lines<'t>(text: &'t str, body: &Range<usize>) -> impl Iterator<Item = Range<usize>> + 't {
    let mut at = body.start;
    text[body.clone()].split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        start..start + line.trim_end_matches('\n').len()
    })
}

/// As [`lines`], each together with the next where a backslash hides its end.
fn joined(text: &str, body: &Range<usize>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    let mut goes_on = false;
    for line in lines(text, body) {
        let backslashes = text[line.clone()]
            .bytes()
            .rev()
            .take_while(|byte| *byte == b'\\');
        let is_hidden = backslashes.count() % 2 == 1;
        match joined.last_mut().filter(|_| goes_on) {
            Some(before) => before.end = line.end,
            None => joined.push(line),
        }
        goes_on = is_hidden;
    }
    joined
}

/// The whole of a document that a program reads a secret from.
pub(super) fn whole(text: &str, document: &HereDocument) -> Option<Range<usize>> {
    let body = trimmed(text, document.body.clone());
    let refers = |line: &str| !document.is_literal && is_reference(line.trim());
    (!text[body.clone()].lines().all(refers)).then_some(body)
}

/// The value of a line such as `export NAME=value`, `name: value` or `"name": "value",`.
fn setting(
    text: &str,
    line: Range<usize>,
    signs: &[char],
    is_literal: bool,
) -> Option<Range<usize>> {
    let line = trimmed(text, line);
    let rest = &text[line.clone()];
    let rest = rest.strip_prefix("- ").unwrap_or(rest).trim_start();
    let rest = rest.strip_prefix("export ").unwrap_or(rest).trim_start();
    let rest = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
    let length = rest
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
        .count();
    let (name, rest) = rest.split_at(length);
    let rest = rest.strip_prefix(['"', '\'']).unwrap_or(rest).trim_start();
    let rest = rest.strip_prefix('+').unwrap_or(rest);
    let value = rest.strip_prefix(signs)?.trim_start();
    let start = line.end - value.len();
    if value.is_empty() || !means_secret(name) || (!is_literal && is_reference(value)) {
        return None;
    }
    Some(match value.as_bytes()[0] {
        b'"' | b'\'' => value_at(text, start),
        _ => start..line.end,
    })
}

/// A part of the text without the blanks around it.
fn trimmed(text: &str, part: Range<usize>) -> Range<usize> {
    let inner = &text[part.clone()];
    let start = part.start + inner.len() - inner.trim_start().len();
    start..start + inner.trim().len()
}

/// Whether a text is one `$NAME`, `${NAME}` or `$(command)`.
fn is_reference(text: &str) -> bool {
    let commands = shell::commands(text);
    match commands.as_slice() {
        [command] => matches!(command.words.as_slice(), [word] if word.only_refers()),
        _ => false,
    }
}
