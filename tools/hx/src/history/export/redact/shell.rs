//! A command line as a shell takes it apart: commands, their words, and what each word says once its quotes are off.
//!
//! What must hold: a word ends where a shell would end it, through any mixture of quotes, escapes and substitutions; every span it
//! gives lies within the text and on character borders; any text is taken apart, in time that grows with its length.
//!
//! The lines of a here-document are in no command: they are kept apart, with the command that reads them.
//!
//! What it deliberately does not do: know keywords, aliases or comments, or expand anything.

mod skip;

use std::ops::Range;

use self::skip::{skip_backticks, skip_nested};

/// A command with its arguments.
#[derive(Default)]
pub(super) struct Command {
    /// Its name and arguments, after what may stand before a name.
    pub(super) words: Vec<Word>,
    /// What it is given by `<<<`.
    pub(super) here: Vec<Word>,
    /// What it is given by `<<`.
    pub(super) documents: Vec<HereDocument>,
    /// Targets of redirections, and numbers before these.
    aside: Vec<Word>,
    /// Whether it reads what the command before it writes.
    pub(super) piped: bool,
}

impl Command {
    /// Every word of it, also of its redirections.
    pub(super) fn all(&self) -> impl Iterator<Item = &Word> {
        self.words.iter().chain(&self.here).chain(&self.aside)
    }

    /// What the targets of its redirections say.
    pub(super) fn aside_plain(&self) -> impl Iterator<Item = &str> {
        self.aside.iter().map(|word| &*word.plain)
    }
}

/// A here-document.
pub(super) struct HereDocument {
    /// Its lines, without the one that ends it.
    pub(super) body: Range<usize>,
    /// Whether its delimiter is quoted, so that nothing in it refers to anything.
    pub(super) is_literal: bool,
}

/// A here-document whose lines are still to come.
struct Awaited {
    /// The index of the command that reads it.
    command: usize,
    delimiter: String,
    is_literal: bool,
    strips_tabs: bool,
}

/// A word, with the way from what it says back to how it was typed.
#[derive(Default)]
pub(super) struct Word {
    /// Where it stands in the text.
    pub(super) raw: Range<usize>,
    /// What it says: without quotes; what is to be expanded as it was typed.
    pub(super) plain: String,
    /// For each byte of `plain` the bytes of the text it comes from.
    origin: Vec<Range<usize>>,
    pieces: Vec<Piece>,
    /// Parts of `plain` that only refer to a value: `$NAME`, `$(command)`.
    references: Vec<Range<usize>>,
    /// The commands within substitutions, in the text.
    pub(super) substitutions: Vec<Range<usize>>,
}

/// A part of a word that is quoted in one way, or not at all.
struct Piece {
    raw: Range<usize>,
    /// Without the quotes.
    inner: Range<usize>,
    /// Its part of what the word says.
    plain: Range<usize>,
    is_quoted: bool,
}

impl Word {
    /// The spans of the text that stand for a part of what the word says. Quotes around them stay, so that the rest stays readable.
    pub(super) fn cover(&self, part: Range<usize>) -> Vec<Range<usize>> {
        let touched: Vec<&Piece> = self
            .pieces
            .iter()
            .filter(|piece| {
                let is_between = part.start < piece.plain.start && piece.plain.end < part.end;
                is_between || (piece.plain.start < part.end && part.start < piece.plain.end)
            })
            .collect();
        let is_one = touched.len() == 1;
        touched
            .iter()
            .map(|piece| {
                let from_start = part.start <= piece.plain.start;
                let to_end = piece.plain.end <= part.end;
                match (from_start, to_end) {
                    (true, true) if !is_one => piece.raw.clone(),
                    (true, true) => piece.inner.clone(),
                    (true, false) => piece.inner.start..self.origin[part.end - 1].end,
                    (false, true) => self.origin[part.start].start..piece.inner.end,
                    (false, false) => self.origin[part.start].start..self.origin[part.end - 1].end,
                }
            })
            .collect()
    }

    /// As [`Word::cover`] for all from `from` on, if that is a secret and not only a reference to one.
    pub(super) fn secret(&self, from: usize) -> Vec<Range<usize>> {
        self.secret_part(from..self.plain.len())
    }

    /// As [`Word::secret`] for a part of what the word says.
    pub(super) fn secret_part(&self, part: Range<usize>) -> Vec<Range<usize>> {
        if part.is_empty() || self.is_reference(&part) {
            Vec::new()
        } else {
            self.cover(part)
        }
    }

    /// Whether the word as a whole only refers to values.
    pub(super) fn only_refers(&self) -> bool {
        self.is_reference(&(0..self.plain.len()))
    }

    fn is_reference(&self, part: &Range<usize>) -> bool {
        let mut at = part.start;
        for reference in &self.references {
            if reference.contains(&at) {
                at = reference.end;
            }
        }
        at >= part.end
    }

    /// The place after the first `sign` from `from` on that is not within a reference.
    pub(super) fn after_sign(&self, from: usize, sign: char) -> Option<usize> {
        self.plain[from..]
            .match_indices(sign)
            .map(|(at, _)| from + at)
            .find(|at| !self.references.iter().any(|within| within.contains(at)))
            .map(|at| at + sign.len_utf8())
    }

    fn push(&mut self, text: &str, origin: Range<usize>) {
        self.origin.extend(std::iter::repeat_n(origin, text.len()));
        self.plain.push_str(text);
    }

    /// The piece that is being read gets the text up to `end`.
    fn grow(&mut self, end: usize) {
        let plain_end = self.plain.len();
        if let Some(piece) = self.pieces.last_mut() {
            piece.inner.end = end;
            piece.raw.end = end;
            piece.plain.end = plain_end;
        }
        self.raw.end = end;
    }

    fn begin(&mut self, raw: usize, inner: usize, is_quoted: bool) {
        self.pieces.push(Piece {
            raw: raw..inner,
            inner: inner..inner,
            plain: self.plain.len()..self.plain.len(),
            is_quoted,
        });
    }

    fn begin_bare(&mut self, at: usize) {
        if self.pieces.last().is_none_or(|piece| piece.is_quoted) {
            self.begin(at, at, false);
        }
    }
}

/// What becomes of the next word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Argument,
    HereString,
    HereDocument { strips_tabs: bool },
    Aside,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    commands: Vec<Command>,
    command: Command,
    word: Option<Word>,
    role: Role,
    awaited: Vec<Awaited>,
}

/// The commands of a text, in order, those in plain parentheses among them. Some are empty.
pub(super) fn commands(text: &str) -> Vec<Command> {
    let mut reader = Reader {
        text,
        at: 0,
        commands: Vec::new(),
        command: Command::default(),
        word: None,
        role: Role::Argument,
        awaited: Vec::new(),
    };
    while reader.at < text.len() {
        reader.step();
    }
    reader.end_command(false);
    reader.commands
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        let next = self.peek(1);
        match self.peek(0).unwrap_or(b' ') {
            b'\n' => {
                self.at += 1;
                self.end_line();
                self.documents();
            }
            b'\\' if next == Some(b'\n') && self.word.is_none() => self.at += 2,
            b';' | b'(' | b')' => {
                self.at += 1;
                self.end_command(false);
            }
            b'|' => {
                self.at += 1 + usize::from(matches!(next, Some(b'|' | b'&')));
                self.end_command(next != Some(b'|'));
            }
            b'&' if next == Some(b'>') => {
                self.at += 1;
                self.end_word();
            }
            b'&' => {
                self.at += 1 + usize::from(next == Some(b'&'));
                self.end_command(false);
            }
            b'<' | b'>' if next != Some(b'(') => self.redirection(),
            blank if blank.is_ascii_whitespace() => {
                self.at += 1;
                self.end_word();
            }
            _ => self.piece(),
        }
    }

    fn redirection(&mut self) {
        if let Some(word) = self.word.as_ref()
            && word.plain.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.role = Role::Aside;
        }
        self.end_word();
        self.role = Role::Aside;
        if self.text[self.at..].starts_with("<<<") {
            self.role = Role::HereString;
            self.at += 3;
            return;
        }
        if self.text[self.at..].starts_with("<<") {
            let strips_tabs = self.peek(2) == Some(b'-');
            self.role = Role::HereDocument { strips_tabs };
            self.at += 2 + usize::from(strips_tabs);
            return;
        }
        self.at += 1;
        if matches!(self.peek(0), Some(b'&' | b'|' | b'<' | b'>')) {
            self.at += 1;
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match std::mem::replace(&mut self.role, Role::Argument) {
            Role::Argument => self.command.words.push(word),
            Role::HereString => self.command.here.push(word),
            Role::HereDocument { strips_tabs } => self.awaited.push(Awaited {
                command: self.commands.len(),
                is_literal: word.plain != self.text[word.raw.clone()],
                delimiter: word.plain,
                strips_tabs,
            }),
            Role::Aside => self.command.aside.push(word),
        }
    }

    /// Ends the command, unless there is only the pipe before it yet: then it comes in the next lines.
    fn end_line(&mut self) {
        self.end_word();
        if !self.command.piped || self.command.all().next().is_some() {
            self.end_command(false);
        }
    }

    fn end_command(&mut self, next_is_piped: bool) {
        self.end_word();
        self.role = Role::Argument;
        let next = Command {
            piped: next_is_piped,
            ..Command::default()
        };
        self.commands
            .push(std::mem::replace(&mut self.command, next));
    }

    /// Takes the lines of the here-documents that were begun in the line before. One without an end goes to the end of the text.
    fn documents(&mut self) {
        for awaited in std::mem::take(&mut self.awaited) {
            let start = self.at;
            let mut end = None;
            while self.at < self.text.len() && end.is_none() {
                let rest = &self.text[self.at..];
                let line = rest.split_inclusive('\n').next().unwrap_or(rest);
                let shown = match awaited.strips_tabs {
                    true => line.trim_start_matches('\t'),
                    false => line,
                };
                if shown.trim_end_matches(['\n', '\r']) == awaited.delimiter {
                    end = Some(self.at);
                }
                self.at += line.len();
            }
            let document = HereDocument {
                body: start..end.unwrap_or(self.at),
                is_literal: awaited.is_literal,
            };
            if let Some(command) = self.commands.get_mut(awaited.command) {
                command.documents.push(document);
            }
        }
    }

    /// Reads one more piece, or a character of a bare one, into the word.
    fn piece(&mut self) {
        let start = self.at;
        let mut word = self.word.take().unwrap_or_else(|| Word {
            raw: start..start,
            ..Word::default()
        });
        match (self.peek(0), self.peek(1)) {
            (Some(b'\''), _) => self.single_quoted(&mut word),
            (Some(b'$'), Some(b'\'')) => self.ansi_quoted(&mut word),
            (Some(b'"'), _) => self.double_quoted(&mut word, 1),
            (Some(b'$'), Some(b'"')) => self.double_quoted(&mut word, 2),
            (Some(b'\\'), _) => {
                word.begin_bare(start);
                self.escaped(&mut word, |_| true);
                word.grow(self.at);
            }
            _ => {
                word.begin_bare(start);
                if !self.expansion(&mut word) {
                    self.character(&mut word);
                }
                word.grow(self.at);
            }
        }
        self.word = Some(word);
    }

    /// Takes one character as it is.
    fn character(&mut self, word: &mut Word) {
        let length = self.text[self.at..]
            .chars()
            .next()
            .map_or(1, char::len_utf8);
        let origin = self.at..self.at + length;
        word.push(&self.text[origin.clone()], origin);
        self.at += length;
    }

    /// Takes a backslash with the character it makes plain, if it does that to this one.
    fn escaped(&mut self, word: &mut Word, escapes: impl Fn(char) -> bool) {
        let next = self.text[self.at + 1..].chars().next();
        match next.filter(|next| escapes(*next)) {
            Some('\n') => self.at += 2,
            Some(next) => {
                let end = self.at + 1 + next.len_utf8();
                word.push(&self.text[self.at + 1..end], self.at..end);
                self.at = end;
            }
            None => self.character(word),
        }
    }

    fn single_quoted(&mut self, word: &mut Word) {
        word.begin(self.at, self.at + 1, true);
        self.at += 1;
        while self.peek(0).is_some_and(|byte| byte != b'\'') {
            self.character(word);
        }
        self.close(word);
    }

    fn ansi_quoted(&mut self, word: &mut Word) {
        word.begin(self.at, self.at + 2, true);
        self.at += 2;
        while let Some(byte) = self.peek(0).filter(|byte| *byte != b'\'') {
            if byte == b'\\' {
                self.escaped(word, |_| true);
            } else {
                self.character(word);
            }
        }
        self.close(word);
    }

    fn double_quoted(&mut self, word: &mut Word, opening: usize) {
        word.begin(self.at, self.at + opening, true);
        self.at += opening;
        while let Some(byte) = self.peek(0).filter(|byte| *byte != b'"') {
            if byte == b'\\' {
                self.escaped(word, |next| matches!(next, '"' | '\\' | '$' | '`' | '\n'));
            } else if matches!(byte, b'<' | b'>') || !self.expansion(word) {
                // Within quotes a file of a process is only text.
                self.character(word);
            }
        }
        self.close(word);
    }

    /// Ends a quoted piece, at its closing quote or, if there is none, with the text.
    fn close(&mut self, word: &mut Word) {
        word.grow(self.at);
        if self.at < self.text.len() {
            self.at += 1;
            word.raw.end = self.at;
            if let Some(piece) = word.pieces.last_mut() {
                piece.raw.end = self.at;
            }
        }
    }

    /// Takes what the shell puts something else in place of, if it begins here.
    fn expansion(&mut self, word: &mut Word) -> bool {
        let (start, rest) = (self.at, &self.text[self.at..]);
        let nested = |open, close| skip_nested(self.text, start + 2, (open, close));
        let (end, inner) = match (self.peek(0), self.peek(1)) {
            (Some(b'$' | b'<' | b'>'), Some(b'(')) => (nested(b'(', b')'), Some(2)),
            (Some(b'$'), Some(b'{')) => (nested(b'{', b'}'), Some(2)),
            (Some(b'`'), _) => (skip_backticks(self.text, start + 1), Some(1)),
            (Some(b'$'), Some(byte)) => (start + 1 + name_length(&rest[1..], byte), None),
            _ => return false,
        };
        if end == start + 1 {
            return false;
        }
        let from = word.plain.len();
        for (offset, character) in self.text[start..end].char_indices() {
            let at = start + offset;
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer);
            word.push(text, at..at + text.len());
        }
        self.at = end;
        if only_refers(&self.text[start..end]) {
            word.references.push(from..word.plain.len());
        }
        if let Some(opening) = inner {
            let last = self.text[..end].ends_with([')', '}', '`']) && end > start + opening;
            word.substitutions
                .push(start + opening..end - usize::from(last));
        }
        true
    }
}

/// The length of a variable's name.
fn name_length(rest: &str, first: u8) -> usize {
    match first {
        b'0'..=b'9' | b'?' | b'!' | b'#' | b'@' | b'*' | b'$' => 1,
        _ => rest
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count(),
    }
}

/// Whether an expansion holds no value itself, as `${NAME:-value}` and `$(echo value)` do.
fn only_refers(expansion: &str) -> bool {
    if let Some(name) = expansion.strip_prefix("${") {
        let name = name.strip_suffix('}').unwrap_or(name);
        return name
            .trim_end_matches([':', '-', '?', '='])
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_!#@*[]".contains(&byte));
    }
    let speaks = |word: &str| matches!(word, "echo" | "printf" | "print");
    let is_blank = |c: char| c.is_whitespace() || "()`;|&<>".contains(c);
    !expansion.split(is_blank).any(speaks) && !expansion.contains("<<<")
}
