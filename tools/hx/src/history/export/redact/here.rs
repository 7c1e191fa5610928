//! Secrets in here-documents: a file of settings (`cat <<EOF > .env`), commands for a shell (`ssh host <<EOF`), a body for a request, or
//! a secret as a whole (`chpasswd <<EOF`).
//!
//! What must hold: every span lies within the text and on character borders; what only refers to a value stays, unless the quotes of the
//! delimiter make it plain text.
//!
//! What it deliberately does not do: know the formats of files. A line that gives a name a value is one, in any of them; a value that
//! goes on in further lines without quotes is not followed.

use std::ops::Range;

use super::shell::{self, Command, HereDocument};
use super::{means_secret, value_at};

/// Programs that take the document for commands, in which a value ends where a word ends.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "zsh", "ksh", "fish", "ssh"];

/// What of a command's documents may be commands: all of it for a shell; else each line by itself, so that an apostrophe in a text
/// does not reach beyond its line.
pub(super) fn commands_in(text: &str, command: &Command) -> Vec<Range<usize>> {
    let bodies = command.documents.iter().map(|document| &document.body);
    if is_shell(command) {
        bodies.cloned().collect()
    } else {
        bodies.flat_map(|body| lines(text, body)).collect()
    }
}

/// The values of secret names in the documents of a command, each to the end of its line.
pub(super) fn settings(text: &str, command: &Command) -> Vec<Range<usize>> {
    if is_shell(command) {
        return Vec::new();
    }
    let documents = command.documents.iter();
    documents
        .flat_map(|document| {
            lines(text, &document.body)
                .filter_map(|line| setting(text, line, document.is_literal))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn is_shell(command: &Command) -> bool {
    command.words.iter().any(|word| {
        let base = word.plain.rsplit('/').next();
        base.is_some_and(|base| SHELLS.contains(&base))
    })
}

fn lines<'t>(text: &'t str, body: &Range<usize>) -> impl Iterator<Item = Range<usize>> + 't {
    let mut at = body.start;
    text[body.clone()].split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        start..start + line.trim_end_matches('\n').len()
    })
}

/// The whole of a document that a program reads a secret from.
pub(super) fn whole(text: &str, document: &HereDocument) -> Option<Range<usize>> {
    let body = trimmed(text, document.body.clone());
    let refers = |line: &str| !document.is_literal && is_reference(line.trim());
    (!text[body.clone()].lines().all(refers)).then_some(body)
}

/// The value of a line such as `export NAME=value`, `name: value` or `"name": "value",`.
fn setting(text: &str, line: Range<usize>, is_literal: bool) -> Option<Range<usize>> {
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
    let value = rest.strip_prefix(['=', ':'])?.trim_start();
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
