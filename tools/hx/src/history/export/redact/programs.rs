//! Secrets that are known by the program they are typed for: `mysql -psecret`, `docker login -p secret`, `echo secret | sudo -S`.
//!
//! What must hold: every span lies within the text and on character borders.
//!
//! What it deliberately does not do: tell a program's name from its arguments. A name counts wherever it stands in a command, so that
//! `sudo`, `env` and `docker exec` before it do not hide it.

mod places;
mod table;

use std::ops::Range;

use self::places::{PLACES, Place, READERS, Reader, Takes, With};
use self::table::{RULES, Rule};
use super::names::{means_secret, means_secret_file};
use super::shell::{self, Command, Word};
use super::{here, readers};

/// Values of options, and of arguments that are known by their place.
pub(super) fn options(command: &Command) -> Vec<Range<usize>> {
    let words = &command.words;
    let mut spans = by_place(words);
    let mut rules: Vec<&Rule> = Vec::new();
    let mut is_value = false;
    for (index, word) in words.iter().enumerate() {
        let base = base(word);
        if !word.plain.starts_with('-') {
            // After its first word of another kind such a program's options are another program's.
            rules.retain(|rule| is_value || !rule.ends_at_a_word);
            rules.extend(RULES.iter().filter(|rule| rule.programs.contains(&base)));
        }
        is_value = false;
        for rule in &rules {
            let before = &words[..=index];
            let stands_before = |with: &&str| before.iter().any(|word| word.plain == *with);
            let applies = rule.only_with.iter().all(stands_before);
            if let Some((at, from)) = value(rule, words, index).filter(|_| applies) {
                spans.extend(words[at].secret(from));
                is_value |= at > index;
            }
        }
    }
    spans
}

/// A program's name without its directory, also in `alias m='mysql …'`.
fn base(word: &Word) -> &str {
    word.plain.rsplit(['/', '=']).next().unwrap_or(&word.plain)
}

/// The word that has a secret for an option in word `index`, and where the secret begins in it.
fn value(rule: &Rule, words: &[Word], index: usize) -> Option<(usize, usize)> {
    let plain = &words[index].plain;
    let next = Some(index + 1).filter(|next| *next < words.len());
    let is_apart = |option: &&str| end_of(rule, plain, option) == Some(plain.len());
    if rule.apart.iter().any(is_apart) {
        return next.map(|next| (next, 0));
    }
    let after_sign = |option: &&str| plain.strip_prefix(*option)?.strip_prefix('=');
    let long = rule.apart.iter().filter(|option| option.starts_with("--"));
    if let Some(value) = long.filter_map(after_sign).next() {
        return Some((index, plain.len() - value.len()));
    }
    for (option, sign) in rule.half {
        let (at, from) = match (end_of(rule, plain, option), next) {
            (Some(end), Some(next)) if end == plain.len() => (next, 0),
            // `--user=name:secret`, and `-uname:secret` after one dash.
            (Some(end), _) if plain[end..].starts_with('=') => (index, end + 1),
            (Some(end), _) if option.len() == 2 => (index, end),
            _ => continue,
        };
        return words[at].after_sign(from, *sign).map(|from| (at, from));
    }
    rule.glued
        .iter()
        .filter_map(|option| end_of(rule, plain, option))
        .filter(|end| *end < plain.len())
        .max()
        .map(|end| (index, end))
}

/// Where an option ends in a word that begins with it, or with letters that may stand before it.
fn end_of(rule: &Rule, plain: &str, option: &str) -> Option<usize> {
    if plain.starts_with(option) {
        return Some(option.len());
    }
    let letter = option.strip_prefix('-').filter(|name| name.len() == 1)?;
    let letters = plain.strip_prefix('-')?;
    let at = letters.find(letter)?;
    let are_flags = letters[..at].chars().all(|flag| rule.flags.contains(flag));
    are_flags.then_some(at + 2)
}

/// `htpasswd -b file name secret`, `vault login secret`, `aws configure set aws_secret_access_key secret`.
fn by_place(words: &[Word]) -> Vec<Range<usize>> {
    let mut spans = configured(words);
    for (index, word) in words.iter().enumerate() {
        let base = base(word);
        for place in PLACES.iter().filter(|place| place.programs.contains(&base)) {
            spans.extend(at_place(place, &words[index + 1..]));
        }
    }
    spans
}

/// What of a program's words is a secret by its place.
fn at_place(place: &Place, words: &[Word]) -> Vec<Range<usize>> {
    let fits = match place.with {
        With::Anything => true,
        With::Word(start) => words.iter().any(|word| word.plain.starts_with(start)),
        With::Letter(letter) => words.iter().any(|word| {
            word.plain.starts_with('-')
                && !word.plain.starts_with("--")
                && word.plain.contains(letter)
        }),
    };
    let mut rest = words;
    for name in place.after {
        let Some(at) = rest.iter().position(|word| word.plain == *name) else {
            return Vec::new();
        };
        rest = &rest[at + 1..];
    }
    let mut arguments = rest.iter().filter(|word| !word.plain.starts_with('-'));
    let whole = |word: Option<&Word>| word.map(|word| word.secret(0)).unwrap_or_default();
    match place.takes {
        _ if !fits => Vec::new(),
        Takes::Nth(number) => whole(arguments.nth(number)),
        Takes::Last => whole(arguments.next_back()),
        Takes::All => arguments.flat_map(|word| word.secret(0)).collect(),
        Takes::After(sign) => {
            let from = arguments.find_map(|word| Some((word, word.after_sign(0, sign)?)));
            from.map(|(word, from)| word.secret(from))
                .unwrap_or_default()
        }
        Takes::Values => arguments
            .filter_map(|word| Some((word, word.after_sign(0, '=')?)))
            .filter(|(word, from)| !word.plain[*from..].starts_with('@'))
            .flat_map(|(word, from)| word.secret(from))
            .collect(),
        Takes::Follows(name) => whole(arguments.skip_while(|word| word.plain != name).nth(1)),
    }
}

/// Values of secret names after `set` or `config`.
fn configured(words: &[Word]) -> Vec<Range<usize>> {
    let is_set =
        |word: &Word| matches!(base(word), "set" | "config" | "setenv" | "--set" | "--arg");
    let from = words.iter().position(is_set).unwrap_or(words.len());
    let pairs = words[from..].windows(2);
    pairs
        .filter(|pair| {
            let (name, value) = (&pair[0].plain, &pair[1].plain);
            !name.contains('=') && !value.starts_with('-') && means_secret(name)
        })
        .flat_map(|pair| pair[1].secret(0))
        .collect()
}

/// What a program reads from a pipe, a here-string or a here-document: `echo secret | sudo -S ls`, `chpasswd <<< name:secret`.
pub(super) fn piped(text: &str, commands: &[Command]) -> Vec<Range<usize>> {
    let documents = |command: &Command| -> Vec<Range<usize>> {
        let documents = command.documents.iter();
        documents
            .filter_map(|document| here::whole(text, document))
            .collect()
    };
    let mut spans = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        spans.extend(formatted(command));
        if command.aside_plain().any(is_secret_file) {
            spans.extend(said(command));
        }
        if !reads_secret(command) {
            continue;
        }
        spans.extend(command.here.iter().flat_map(|word| word.secret(0)));
        spans.extend(documents(command));
        let Some(before) = index.checked_sub(1).filter(|_| command.piped) else {
            continue;
        };
        // A group that ends before the pipe speaks as a whole.
        let last = commands[before].words.last();
        let is_group = last.is_none_or(|word| matches!(&*word.plain, "}" | "done" | "fi"));
        let first = if is_group { 0 } else { before };
        spans.extend(commands[first..=before].iter().filter_map(said));
        spans.extend(commands[first..=before].iter().flat_map(documents));
    }
    spans
}

/// Whether a command takes a secret from its standard input.
fn reads_secret(command: &Command) -> bool {
    let words = &command.words;
    let plain: Vec<&str> = words.iter().map(|word| &*word.plain).collect();
    let program = readers::unwrapped(&plain).map(|(program, _)| readers::base(program));
    let has = |text: &&str| {
        words
            .iter()
            .any(|word| base(word) == *text || word.plain == *text)
    };
    let short_s = plain
        .iter()
        .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('S'));
    let reads = |reader: &Reader| {
        reader.words.iter().all(&has)
            && (!reader.is_first || program == reader.words.first().copied())
    };
    let is_into = |program: &str| match program {
        // A variable, or a file, whose name says what it is for.
        "read" => plain.iter().any(|word| means_secret(word)),
        "tee" => plain.iter().any(|word| is_secret_file(word)),
        _ => false,
    };
    (has(&"sudo") && short_s) || program.is_some_and(is_into) || READERS.iter().any(reads)
}

/// What commands say whose output becomes a secret: `TOKEN=$(echo secret)`, `TOKEN="$(cat <<EOF …)"`.
pub(super) fn said_for(text: &str, word: &Word) -> Vec<Range<usize>> {
    let name = word.plain.split('=').next().unwrap_or_default();
    if name.len() == word.plain.len() || !means_secret(name.trim_end_matches('+')) {
        return Vec::new();
    }
    let mut spans = Vec::new();
    for part in &word.substitutions {
        let commands = shell::commands(&text[part.clone()]);
        // What a later command makes of it is no longer what was said.
        let Some(command) = commands.first() else {
            continue;
        };
        let documents = command.documents.iter();
        let documents = documents.filter_map(|document| here::whole(&text[part.clone()], document));
        let found = documents.chain(said(command));
        spans.extend(found.map(|span| part.start + span.start..part.start + span.end));
    }
    spans
}

/// What is said in the place of a file with a secret: `--password-file <(echo secret)`.
pub(super) fn in_place_of_files(text: &str, words: &[Word]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(at) = word.plain.find("<(") else {
            continue;
        };
        let before = index
            .checked_sub(1)
            .map_or("", |before| &*words[before].plain);
        let name = if at > 0 { &word.plain[..at] } else { before };
        if means_secret_file(name) {
            for part in &word.substitutions {
                let inner = shell::commands(&text[part.clone()]);
                let said = inner.iter().filter_map(said);
                spans.extend(said.map(|span| part.start + span.start..part.start + span.end));
            }
        }
    }
    spans
}

/// Whether a file's own name says that it holds a secret: `~/.vault_pass`.
fn is_secret_file(path: &str) -> bool {
    path != "-" && means_secret(readers::base(path))
}

/// The words that `printf 'TOKEN=%s' …` puts in the place of a secret.
fn formatted(command: &Command) -> Vec<Range<usize>> {
    let mut words = command
        .words
        .iter()
        .skip_while(|word| base(word) != "printf");
    let Some(format) = words.by_ref().skip(1).find(|word| word.plain.contains('%')) else {
        return Vec::new();
    };
    let before_value = format.plain.split('%').next().unwrap_or_default();
    let name = before_value.trim_end_matches(['=', ':', ' ', '"', '\'']);
    let start = name.rfind(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c));
    let name = &name[start.map_or(0, |at| at + 1)..];
    if name.len() == before_value.len() || !means_secret(name) {
        return Vec::new();
    }
    words.flat_map(|word| word.secret(0)).collect()
}

/// What `echo` or `printf` says.
fn said(command: &Command) -> Option<Range<usize>> {
    let speaks = |word: &Word| matches!(base(word), "echo" | "printf" | "print" | "yes");
    let program = command.words.iter().position(speaks)?;
    let is_option = |word: &&Word| {
        matches!(
            &*word.plain,
            "-n" | "-e" | "-ne" | "-en" | "-E" | "-r" | "--"
        )
    };
    let rest = &command.words[program + 1..];
    let rest = &rest[rest.iter().take_while(is_option).count()..];
    let (first, last) = (rest.first()?, rest.last()?);
    if rest.len() == 1 {
        // One quoted word stays in its quotes; several words go together.
        let spans = first.secret(0);
        return Some(spans.first()?.start..spans.last()?.end);
    }
    let is_harmless = |word: &Word| word.only_refers() || word.plain.starts_with('%');
    (!rest.iter().all(is_harmless)).then_some(first.raw.start..last.raw.end)
}
