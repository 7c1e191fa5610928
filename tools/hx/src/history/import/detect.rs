//! What a file is, from its first and last bytes and then from its name.
//!
//! What must hold: what is no history is refused with a reason that says what it is; the content counts more than the name.
//!
//! What it deliberately does not do: parse.

use std::borrow::Cow;
use std::path::Path;

use super::{Shell, bash, zsh};

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Shell(Shell),
    Json,
    JsonLines,
    /// Nothing in it, under the name of a history.
    Empty,
}

/// A file as far as it was looked at.
pub(super) struct Sample<'a> {
    /// The first bytes.
    pub(super) head: &'a [u8],
    /// The last bytes; empty if `head` has them.
    pub(super) tail: &'a [u8],
    /// Its name.
    pub(super) name: &'a Path,
    /// What the person says it is.
    pub(super) shell: Option<Shell>,
}

/// Beginnings of files that are something else, and what.
const MAGIC: &[(&[u8], &str)] = &[
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a media file"),
    (b"OggS", "a media file"),
    (b"ID3", "a media file"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (unpack it first)"),
    (
        b"\x1f\x8b",
        "compressed with gzip (run `gzip -d` on a copy of it first)",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd (run `zstd -d` on a copy of it first)",
    ),
    (
        b"\xfd7zXZ\0",
        "compressed with xz (run `xz -d` on a copy of it first)",
    ),
    (
        b"BZh",
        "compressed with bzip2 (run `bzip2 -d` on a copy of it first)",
    ),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xfe\xff", "text in UTF-16 (convert it to UTF-8 first)"),
    (b"\xff\xfe", "text in UTF-16 (convert it to UTF-8 first)"),
    (b"-----BEGIN ", "a key or a certificate"),
    (b"#!", "a script"),
    (b"<!", "a web page or XML"),
    (b"<html", "a web page"),
    (b"<?xml", "XML"),
    (
        b"time,command,exit,duration_ms,",
        "a CSV export of hx, which is not read back (export as json or jsonl for that)",
    ),
    (
        b"| time | command | exit |",
        "a Markdown export of hx, which is not read back (export as json or jsonl for that)",
    ),
];

/// Says what the file is, or why it is refused.
pub(super) fn detect(sample: &Sample<'_>) -> Result<Kind, String> {
    let raw = without_mark(sample.head);
    if raw.trim_ascii().is_empty() && sample.tail.trim_ascii().is_empty() {
        let named = sample.shell.is_some() || is_called_history(sample.name);
        return if named {
            Ok(Kind::Empty)
        } else {
            Err("it is empty".to_owned())
        };
    }
    // Zero bytes are dropped where the file is read, too.
    let (head, tail) = (without_zeros(raw), without_zeros(sample.tail));
    let sample = &Sample {
        head: &head,
        tail: &tail,
        ..*sample
    };
    let head = sample.head;
    let is_told = sample.shell.is_some();
    let is_binary = is_binary(raw, head, is_told);
    if is_nothing_but_zeros(raw, sample) {
        return Err("it is a binary file of nothing but zero bytes".to_owned());
    }
    // Where a person says what it is, only what cannot be typed speaks against it.
    let speaks = |magic: &[u8]| {
        !is_told || is_binary || !magic.iter().all(|byte| (b' '..=b'~').contains(byte))
    };
    let mut magic = MAGIC.iter();
    if let Some((_, what)) = magic.find(|(magic, _)| raw.starts_with(magic) && speaks(magic)) {
        return Err(format!("it is {what}, not a shell history"));
    }
    if let Some(json) = json(head, sample) {
        return json;
    }
    if is_binary {
        return Err("it is a binary file, not a shell history".to_owned());
    }
    if let Some(shell) = sample
        .shell
        .or_else(|| shell_of_content(head, sample.tail))
        .or_else(|| shell_of_name(sample.name))
    {
        return Ok(Kind::Shell(shell));
    }
    if is_called_history(sample.name) || looks_like_commands(head) {
        // Only zsh escapes bytes, and only zsh writes the lines of a command with a backslash between them: bash joins them.
        let is_zsh = head.contains(&zsh::META) || has_joined_lines(head);
        return Ok(Kind::Shell(if is_zsh { Shell::Zsh } else { Shell::Bash }));
    }
    Err(
        "its lines do not look like commands; if they are, say of which shell with `--shell`"
            .to_owned(),
    )
}

/// Whether lines end in CR LF.
pub(super) fn has_crlf(head: &[u8]) -> bool {
    let mut lines = head
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
        .peekable();
    lines.peek().is_some() && lines.all(|line| line.ends_with(b"\r\n"))
}

/// Without the mark that some editors put before UTF-8.
pub(super) fn without_mark(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head)
}

fn json(head: &[u8], sample: &Sample<'_>) -> Option<Result<Kind, String>> {
    let text = head.trim_ascii_start();
    let after = text.get(1..).unwrap_or_default().trim_ascii_start();
    let object = text.first() == Some(&b'{') && matches!(after.first(), None | Some(b'"' | b'}'));
    let array = text.first() == Some(&b'[') && matches!(after.first(), Some(b'{' | b']'));
    if object && contains(text, b"syncline-hx-history") {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let header = contains(first, b"\"type\"")
            && contains(first, b"\"header\"")
            && contains(first, b"syncline-hx-history");
        return Some(Ok(if header { Kind::JsonLines } else { Kind::Json }));
    }
    let late = object && contains(sample.tail, b"syncline-hx-history");
    if late {
        return Some(Ok(Kind::Json));
    }
    // What says so may be damaged; its records still look like no others.
    if sample.shell.is_none() && (has_records(head) || has_records(sample.tail)) {
        return Some(Ok(Kind::Json));
    }
    let name = sample.name.to_string_lossy().to_lowercase();
    let named = [".json", ".jsonl", ".ndjson"]
        .iter()
        .any(|ending| name.ends_with(ending));
    let json = (object || array || named) && sample.shell.is_none();
    json.then(|| Err("it is JSON of another program, not an export of hx".to_owned()))
}

/// Whether lines are records as hx writes them.
fn has_records(text: &[u8]) -> bool {
    let is_record = |line: &[u8]| {
        [&b"{\"id\":\""[..], b"{\"type\":\"event\",\"id\":\""]
            .iter()
            .any(|start| line.starts_with(start))
            && contains(line, b",\"time_us\":")
            && contains(line, b",\"command\":\"")
    };
    text.split(|byte| *byte == b'\n').any(is_record)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// So many control characters may have been typed by accident, however short the file is.
const TYPED_MAX: usize = 8;

/// Whether there are control characters that no terminal history has in numbers: a few are left behind by crashes or typed by accident.
/// `head` is `raw` without its zero bytes.
fn is_binary(raw: &[u8], head: &[u8], is_told: bool) -> bool {
    let control = |byte: &&u8| {
        (**byte < 0x20 && !matches!(**byte, b'\t' | b'\n' | b'\r' | 0x1b)) || **byte == 0x7f
    };
    let others = head.iter().filter(control).count();
    if others <= TYPED_MAX && (is_told || others < 2) {
        return false;
    }
    // A run of NULs is what some file systems leave after a crash; the rest decides.
    let first_lines_are_text = raw
        .iter()
        .position(|byte| *byte == 0)
        .is_none_or(|first| first >= 64);
    others * 20 > head.len() || (!first_lines_are_text && !is_told)
}

fn without_zeros(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.contains(&0) {
        bytes.iter().copied().filter(|byte| *byte != 0).collect()
    } else {
        Cow::Borrowed(bytes)
    }
}

/// Whether zero bytes are all that was seen. What lies between the two ends of a long history may be whole.
fn is_nothing_but_zeros(raw: &[u8], seen: &Sample<'_>) -> bool {
    let may_have_more = seen.shell.is_some() || is_called_history(seen.name);
    let is_long = raw.len() >= super::SAMPLE_BYTES;
    !raw.is_empty() && seen.head.is_empty() && seen.tail.is_empty() && !(is_long && may_have_more)
}

/// The shell whose marks are in the first or last lines.
fn shell_of_content(head: &[u8], tail: &[u8]) -> Option<Shell> {
    let lines = || {
        head.split(|byte| *byte == b'\n')
            .chain(tail.split(|byte| *byte == b'\n').skip(1))
            .map(<[u8]>::trim_ascii_end)
    };
    let fish = lines().filter(|line| line.starts_with(b"- cmd:")).count();
    let zsh = lines().filter(|line| zsh::prefix(line).is_some()).count();
    let bash = lines().filter(|line| bash::time(line).is_some()).count();
    let best = fish.max(zsh).max(bash);
    match best {
        0 => None,
        _ if best == zsh => Some(Shell::Zsh),
        _ if best == fish => Some(Shell::Fish),
        _ => Some(Shell::Bash),
    }
}

/// The shell that a file of this name belongs to; none if the name does not say.
fn shell_of_name(name: &Path) -> Option<Shell> {
    let name = name.file_name()?.to_string_lossy().to_lowercase();
    if name == ".zhistory" || name == ".histfile" {
        return Some(Shell::Zsh);
    }
    let shells = [
        ("fish", Shell::Fish),
        ("zsh", Shell::Zsh),
        ("bash", Shell::Bash),
    ];
    let named = shells.iter().find(|(shell, _)| name.contains(shell));
    named
        .filter(|_| name.contains("hist"))
        .map(|(_, shell)| *shell)
}

fn is_called_history(name: &Path) -> bool {
    name.file_name()
        .is_some_and(|name| name.to_string_lossy().to_lowercase().contains("hist"))
}

/// Whether a line ends in a backslash that stands for itself alone, and another follows.
fn has_joined_lines(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let slashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes % 2 == 1 && lines.peek().is_some_and(|next| !next.is_empty()) {
            return true;
        }
    }
    false
}

/// Whether most lines begin as commands do: a word that could be a program, not a sentence.
fn looks_like_commands(head: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(&head[..head.len().min(16 << 10)])
        .or_else(|error| std::str::from_utf8(&head[..error.valid_up_to()]))
    else {
        return false;
    };
    let lines: Vec<&str> = text
        .lines()
        // A comment can be typed as well; by itself it says nothing.
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .collect();
    let commands = lines.iter().filter(|line| is_command_like(line)).count();
    !lines.is_empty() && commands * 10 >= lines.len() * 8
}

fn is_command_like(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let first = word.chars().next().unwrap_or(' ');
    let begins = first.is_ascii_lowercase()
        || matches!(
            first,
            '.' | '/' | '~' | '$' | '(' | '[' | '{' | '_' | '!' | '\\'
        )
        || is_assignment(word);
    let ends = !word.ends_with([',', ':', '?'])
        && !line.trim_end().ends_with([',', ';', '{'])
        && !line.trim_end().ends_with(". ");
    begins && ends && !line.trim_end().ends_with('.')
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}
