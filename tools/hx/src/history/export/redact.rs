//! Puts a mark in place of what is probably a secret in a command.
//!
//! What must hold: a text is never cut within a character; what is marked once stays as it is; references such as `$TOKEN` stay, for
//! they are no secrets; a secret goes as a whole, however it is quoted.
//!
//! What it deliberately does not do: promise to find everything. It knows names, well-known forms of tokens, and long random texts.

mod here;
mod programs;
mod readers;
mod shell;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::shell::Word;

/// What stands in place of a secret.
const MARK: &str = "«redacted»";

/// Names whose value is a secret, in lower case with `_`; a longer name that has one of them counts too.
const NAMES: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "credential",
    "pwd",
    "auth_key",
    "signing_key",
    "encryption_key",
    "master_key",
];

/// Endings of names whose value says where a secret is, or something about it.
const HARMLESS_ENDINGS: [&str; 13] = [
    "_file", "_path", "_name", "_id", "_stdin", "_url", "_length", "_policy", "_type", "_env",
    "_count", "_dir", "_fd",
];

/// Beginnings of well-known tokens, and the least length of what follows.
const TOKENS: [(&str, usize); 27] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxs-", 10),
    ("sk-", 20),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("AIza", 30),
    ("npm_", 30),
    ("hf_", 25),
    ("SG.", 30),
    ("dop_v1_", 30),
    ("pypi-", 30),
    ("AGE-SECRET-KEY-1", 20),
    ("hvs.", 20),
    ("glptt-", 16),
    ("shpat_", 20),
];

/// Long texts of mixed letters and digits are taken for secrets from this length on; a hash in hexadecimal digits is not mixed.
const RANDOM_MIN: usize = 40;

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
        spans.extend(here::settings(text, command));
        if depth < DEPTH_MAX {
            let parts = here::commands_in(text, command);
            spans.extend(parts.iter().flat_map(|part| secrets_in(text, part, depth)));
        }
        for (index, word) in command.words.iter().enumerate() {
            spans.extend(assigned(word, command.words.get(index + 1)));
        }
        for word in command.all().filter(|_| depth < DEPTH_MAX) {
            if word.plain != text[word.raw.clone()] {
                let within = secrets(&word.plain, depth + 1);
                spans.extend(within.into_iter().flat_map(|span| word.cover(span)));
                spans.extend(in_quoted_url(word));
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
    let mut spans = private_keys(text);
    spans.extend(named(text));
    spans.extend(words(text));
    spans.extend(in_urls(text));
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
            None if at == 0 && means_secret && name.starts_with("--") => {
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

/// `-----BEGIN … PRIVATE KEY-----` to its end, or to the end of the text.
fn private_keys(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find("-----BEGIN ").map(|at| from + at) {
        let label_end = text[begin..].find('\n').map_or(text.len(), |at| begin + at);
        let is_private = text[begin..label_end].contains("PRIVATE KEY");
        let end = text[begin..].find("-----END ").map(|at| begin + at);
        let end = end.map_or(text.len(), |end| {
            text[end + 9..]
                .find("-----")
                .map_or(text.len(), |at| end + 9 + at + 5)
        });
        if is_private {
            spans.push(begin..end);
        }
        from = end.max(begin + 11);
    }
    spans
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
    let value = if let Some(value) = rest.strip_prefix('=') {
        value
    } else if let Some(value) = rest
        .strip_prefix(':')
        .filter(|value| !value.starts_with("//"))
    {
        value.trim_start_matches(' ')
    } else if name.starts_with("--") && rest.starts_with(' ') {
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

/// A name as the lists above have it.
fn simple(name: &str) -> String {
    name.trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('-', "_")
}

fn is_header(simple: &str) -> bool {
    matches!(simple, "authorization" | "proxy_authorization" | "cookie")
}

/// The length of the words before the secret in such a header.
fn scheme_length(value: &str) -> usize {
    ["Bearer ", "Basic ", "Token ", "token ", "bearer ", "basic "]
        .iter()
        .find(|scheme| value.starts_with(**scheme))
        .map_or(0, |scheme| scheme.len())
}

/// Whether the value of a variable or option of this name is a secret.
fn means_secret(name: &str) -> bool {
    let plain = simple(name);
    let is_loud = name.bytes().all(|byte| !byte.is_ascii_lowercase());
    is_secret_name(&plain) || (is_loud && (plain.ends_with("_key") || plain.ends_with("_pass")))
}

fn is_secret_name(plain: &str) -> bool {
    let named = plain == "pass" || NAMES.iter().any(|name| plain.contains(name));
    named
        && !HARMLESS_ENDINGS
            .iter()
            .any(|ending| plain.ends_with(ending))
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
    let end = rest.find(|c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '&' | ';' | '|' | ')' | '}' | ',' | '<' | '>'
            )
    });
    start..end.map_or(text.len(), |at| start + at)
}

/// Well-known tokens, and long random texts.
fn words(text: &str) -> Vec<Range<usize>> {
    let in_word =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/');
    let mut spans = Vec::new();
    for run in runs(text, in_word) {
        let word = &text[run.clone()];
        let known = |part: &str| {
            TOKENS.iter().any(|(begin, least)| {
                part.strip_prefix(begin)
                    .is_some_and(|rest| rest.len() >= *least)
            })
        };
        if known(word) || is_random(word) || is_web_token(word) {
            spans.push(run);
        } else if let Some(at) = word
            .rfind('/')
            .map(|at| at + 1)
            .filter(|at| known(&word[*at..]))
        {
            spans.push(run.start + at..run.end);
        }
    }
    spans
}

fn is_random(word: &str) -> bool {
    let has = |test: fn(&u8) -> bool| word.as_bytes().iter().any(test);
    let count = |sign: char| word.matches(sign).count();
    word.len() >= RANDOM_MIN
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && count('.') == 0
        && count('/') <= 3
        && count('-') + count('_') <= 3
        && !word.starts_with('/')
}

/// A JSON web token: three parts, the first of which begins as an encoded `{"` does.
fn is_web_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.len() >= 30 && word.matches('.').count() == 2
}

/// `scheme://user:secret@host`
fn in_urls(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        let authority = &rest[..rest
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
            .unwrap_or(rest.len())];
        let Some(user) = authority.rfind('@').map(|end| &authority[..end]) else {
            continue;
        };
        if let Some(colon) = user.find(':') {
            spans.push(start + colon + 1..start + user.len());
        }
    }
    spans
}

/// As [`in_urls`] for a URL that has quotes in it: these may hide any sign.
fn in_quoted_url(word: &Word) -> Vec<Range<usize>> {
    let Some(start) = word.plain.find("://").map(|at| at + 3) else {
        return Vec::new();
    };
    let authority = &word.plain[start..];
    let authority = authority.split('/').next().unwrap_or_default();
    match (authority.find(':'), authority.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => word.secret_part(start + colon + 1..start + at),
        _ => Vec::new(),
    }
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
