//! What shows for a secret by its form, whatever stands around it: tokens, keys, addresses, and texts in which a password has its place.
//!
//! What must hold: every span lies within the text and on character borders.
//!
//! What it deliberately does not do: know shells. The words of a command are looked at by their names and programs besides.

use std::ops::Range;

use super::names::grants;
use super::shell::Word;
use super::{runs, value_at};

/// Beginnings of well-known tokens, and the least length of what follows.
const TOKENS: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("glptt-", 16),
    ("gldt-", 16),
    ("glrt-", 16),
    ("glsa_", 20),
    ("glc_", 20),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxs-", 10),
    ("xoxe-", 10),
    ("xapp-", 10),
    ("sk-", 20),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 16),
    ("AIza", 30),
    ("GOCSPX-", 20),
    ("ya29.", 20),
    ("npm_", 30),
    ("hf_", 25),
    ("SG.", 30),
    ("dop_v1_", 30),
    ("doo_v1_", 30),
    ("pypi-", 30),
    ("rubygems_", 30),
    ("AGE-SECRET-KEY-1", 20),
    ("hvs.", 20),
    ("hvb.", 20),
    ("shpat_", 20),
    ("shpss_", 20),
    ("shpca_", 20),
    ("dckr_pat_", 20),
    ("dp.st.", 20),
    ("dp.pt.", 20),
    ("tskey-", 16),
    ("lin_api_", 20),
    ("figd_", 20),
    ("ntn_", 20),
    ("sntrys_", 20),
    ("sntryu_", 20),
    ("pul-", 30),
    ("PMAK-", 20),
    ("NRAK-", 20),
    ("phx_", 20),
    ("sbp_", 20),
    ("nfp_", 20),
    ("fo1_", 20),
    ("gsk_", 20),
    ("pplx-", 20),
    ("xai-", 20),
    ("r8_", 20),
    ("ATATT3x", 20),
    ("ATBB", 20),
    ("AKCp", 20),
    ("sq0atp-", 16),
    ("sq0csp-", 16),
    ("key-", 32),
];

/// Long texts of mixed letters and digits are taken for secrets from this length on; a hash in hexadecimal digits is not mixed.
const RANDOM_MIN: usize = 40;

/// Addresses whose rest is the secret.
const SECRET_ADDRESSES: &[&str] = &[
    "hooks.slack.com/services/",
    "hooks.slack.com/workflows/",
    "hooks.slack.com/triggers/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    "webhook.office.com/webhookb2/",
    "outlook.office.com/webhook/",
    "api.telegram.org/bot",
    "hooks.zapier.com/hooks/catch/",
    "maker.ifttt.com/trigger/",
    "chat.googleapis.com/v1/spaces/",
];

/// Names before the `@` of an address that are no tokens.
const PLAIN_USERS: &[&str] = &[
    "git",
    "hg",
    "svn",
    "anonymous",
    "guest",
    "user",
    "username",
    "me",
    "root",
    "admin",
];

/// What stands for a password where the name is the token.
const FILLERS: &[&str] = &["x-oauth-basic", "x"];

/// Where a text shows secrets by their form.
pub(super) fn all(text: &str) -> Vec<Range<usize>> {
    let mut spans = private_keys(text);
    spans.extend(words(text));
    spans.extend(in_urls(text));
    spans.extend(parameters(text));
    spans.extend(in_sql(text));
    spans.extend(in_password_files(text));
    spans.extend(in_dialogues(text));
    spans
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

/// `scheme://user:secret@host`, `https://token@host`, and addresses that are secrets themselves.
fn in_urls(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        let ends =
            |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | '>' | ';' | '|');
        let address = &rest[..rest.find(ends).unwrap_or(rest.len())];
        let secret = SECRET_ADDRESSES.iter().find_map(|known| {
            let at = address.find(known).map(|at| at + known.len())?;
            (!address[..at].contains('?') && at < address.len()).then_some(at)
        });
        spans.extend(secret.map(|at| start + at..start + address.len()));
        let signs = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
        let authority = &rest[..rest.find(signs).unwrap_or(rest.len())];
        let secret = user_secret(&text[..at], authority);
        spans.extend(secret.map(|secret| start + secret.start..start + secret.end));
    }
    spans
}

/// As [`in_urls`] for a URL that has quotes in it: these may hide any sign.
pub(super) fn in_quoted_url(word: &Word) -> Vec<Range<usize>> {
    let Some(at) = word.plain.find("://") else {
        return Vec::new();
    };
    let start = at + 3;
    let authority = word.plain[start..].split('/').next().unwrap_or_default();
    user_secret(&word.plain[..at], authority)
        .map(|secret| word.secret_part(start + secret.start..start + secret.end))
        .unwrap_or_default()
}

/// What is secret before the `@`: what comes after a colon; without one, in an address of the web, all of it.
fn user_secret(before: &str, authority: &str) -> Option<Range<usize>> {
    let user = &authority[..authority.rfind('@')?];
    if let Some(colon) = user.find(':') {
        let is_filler = FILLERS.contains(&&user[colon + 1..]);
        return Some(if is_filler {
            0..colon
        } else {
            colon + 1..user.len()
        });
    }
    let is_web = before.ends_with("http") || before.ends_with("https");
    (is_web && !PLAIN_USERS.contains(&user)).then_some(0..user.len())
}

/// `?sig=…&X-Amz-Signature=…`
fn parameters(text: &str) -> Vec<Range<usize>> {
    runs(text, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    })
    .filter(|run| {
        text[..run.start].ends_with(['?', '&'])
            && text[run.end..].starts_with('=')
            && grants(&text[run.clone()])
    })
    .map(|run| value_at(text, run.end + 1))
    .collect()
}

/// `ALTER USER x PASSWORD '…'`, `IDENTIFIED BY '…'`, `SET PASSWORD = PASSWORD('…')`, `PRAGMA key = '…'`.
fn in_sql(text: &str) -> Vec<Range<usize>> {
    let all: Vec<Range<usize>> =
        runs(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_').collect();
    let is = |run: Option<&Range<usize>>, word: &str| {
        run.is_some_and(|run| text[run.clone()].eq_ignore_ascii_case(word))
    };
    let mut spans = Vec::new();
    for (index, run) in all.iter().enumerate() {
        let before = &all[index.saturating_sub(4)..index];
        let says = (is(Some(run), "by") && before.iter().any(|run| is(Some(run), "identified")))
            || is(Some(run), "password")
            || (is(Some(run), "key") && is(before.last(), "pragma"));
        let rest = text[run.end..].trim_start_matches([' ', '\t', '\n', '=', '(', '\\']);
        let start = text.len() - rest.len();
        if says && start > run.end && rest.starts_with(['\'', '"']) {
            spans.push(value_at(text, start));
        }
    }
    spans
}

/// `machine h login u password p` of a `.netrc`, and `host:port:database:user:password` of a `.pgpass`.
fn in_password_files(text: &str) -> Vec<Range<usize>> {
    let all: Vec<Range<usize>> = runs(text, |byte| {
        !byte.is_ascii_whitespace() && !b"'\"`\\".contains(&byte)
    })
    .collect();
    let mut spans = Vec::new();
    for (index, run) in all.iter().enumerate() {
        let before = &all[index.saturating_sub(5)..index];
        let is_netrc = before
            .iter()
            .any(|run| matches!(&text[run.clone()], "login" | "machine"));
        if let Some(value) = all.get(index + 1)
            && is_netrc
            && matches!(&text[run.clone()], "password" | "passwd")
            && !text[value.clone()].starts_with([':', '='])
        {
            spans.push(value.clone());
        }
        if text.contains("pgpass") || text.contains("PGPASS") {
            spans.extend(fifth_field(text, run));
        }
    }
    spans
}

/// What is sent for a password: `send "…"` of `expect`, `user name …` of `ftp`, `.auth("name", "…")` of `mongosh`.
fn in_dialogues(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    if text.contains("assword") {
        let after_send = text
            .match_indices("send ")
            .map(|(at, _)| at + "send ".len());
        spans.extend(after_send.filter_map(|at| quoted_from(text, at)));
    }
    for (at, _) in text.match_indices(".auth(") {
        let comma = text[at..].find(',').map(|comma| at + comma + 1);
        spans.extend(comma.and_then(|at| quoted_from(text, at)));
    }
    if text.contains("ftp") {
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["user", _, secret, ..] = words.as_slice() {
                let start = at + line.rfind(secret).unwrap_or_default();
                spans.push(start..start + secret.len());
            }
            at += line.len();
        }
    }
    spans
}

/// The text in quotes that begins here, after blanks, dashes and backslashes.
fn quoted_from(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text[at..].trim_start_matches([' ', '-', '\\']);
    let start = text.len() - rest.len();
    rest.starts_with(['"', '\'']).then(|| value_at(text, start))
}

fn fifth_field(text: &str, run: &Range<usize>) -> Option<Range<usize>> {
    let fields: Vec<&str> = text[run.clone()].splitn(5, ':').collect();
    let [_, port, _, _, password] = fields.as_slice() else {
        return None;
    };
    let is_port =
        *port == "*" || (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    is_port.then(|| run.end - password.len()..run.end)
}
