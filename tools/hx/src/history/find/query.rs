//! What a person typed, as words for the index and as a measure of how well a command matches.
//!
//! What must hold: no text, however strange, becomes a syntax error of the index.
//!
//! What it deliberately does not do: operators (`OR`, `NOT`, columns); a person who types them means the words.

/// How well a command matches; the best comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// It is exactly what was typed.
    Whole,
    /// It begins with what was typed.
    Beginning,
    /// It has what was typed somewhere, as it was typed.
    Verbatim,
    /// It has all the words.
    Words,
}

/// How the index is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// By an expression of the full-text index.
    Index(String),
    /// By reading every command: there is nothing that the index could look up.
    Everything,
}

/// A parsed query with at least one word or symbol.
pub(super) struct Words {
    /// For the index: each has at least one letter or digit.
    phrases: Vec<String>,
    /// Words without letters and digits, such as `&&`: looked for as they are.
    symbols: Vec<String>,
    /// Whether the symbols are compared without regard to case.
    folded: bool,
    typed: String,
    typed_lower: String,
}

impl Words {
    /// None if there is nothing but blanks.
    ///
    /// With `within` every word is looked for as it is, also inside other words: slower, and complete.
    pub(super) fn parse(text: &str, within: bool) -> Option<Self> {
        let (mut phrases, mut symbols) = (Vec::new(), Vec::new());
        for word in split(text) {
            if within {
                symbols.push(word.to_lowercase());
            } else if word.chars().any(char::is_alphanumeric) {
                phrases.push(word);
            } else {
                symbols.push(word);
            }
        }
        if phrases.is_empty() && symbols.is_empty() {
            return None;
        }
        let typed = unquoted(text.trim());
        let typed_lower = typed.to_lowercase();
        Some(Self {
            phrases,
            symbols,
            folded: within,
            typed,
            typed_lower,
        })
    }

    /// Whole words only; none where the index is of no use.
    pub(super) fn exact(&self) -> Option<Mode> {
        (!self.phrases.is_empty()).then(|| self.expression(""))
    }

    /// Each word may go on.
    pub(super) fn prefix(&self) -> Mode {
        if self.phrases.is_empty() {
            Mode::Everything
        } else {
            self.expression(" *")
        }
    }

    /// How well the command matches, or none if it lacks a symbol.
    pub(super) fn tier(&self, command: &str) -> Option<Tier> {
        if self.symbols.iter().any(|symbol| !self.has(command, symbol)) {
            return None;
        }
        if command == self.typed {
            return Some(Tier::Whole);
        }
        let starts = command
            .get(..self.typed.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(&self.typed));
        if starts {
            return Some(Tier::Beginning);
        }
        Some(if contains_folded(command, &self.typed_lower) {
            Tier::Verbatim
        } else {
            Tier::Words
        })
    }

    fn has(&self, command: &str, symbol: &str) -> bool {
        if self.folded {
            contains_folded(command, symbol)
        } else {
            command.contains(symbol)
        }
    }

    fn expression(&self, after: &str) -> Mode {
        // A quoted string is always valid, and the index cuts it into its own words.
        let quoted: Vec<String> = self
            .phrases
            .iter()
            .map(|phrase| format!("\"{}\"{after}", phrase.replace('"', "\"\"")))
            .collect();
        Mode::Index(quoted.join(" AND "))
    }
}

/// Cuts at blanks outside double quotes. A quote that is never closed is an ordinary character.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let quoted = rest
            .strip_prefix('"')
            .and_then(|inner| inner.split_once('"'))
            .filter(|(word, _)| !word.trim().is_empty());
        let (word, after) = match quoted {
            Some((word, after)) => (word, after),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        // The end of text in the index marks nothing, so a NUL would cut the expression short.
        words.push(word.replace('\0', ""));
        rest = after.trim_start();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A query that is one quoted phrase means what is inside.
fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .filter(|inner| !inner.is_empty() && !inner.contains('"'));
    inner.unwrap_or(text).to_owned()
}

/// Whether `text` contains `lower`, which is in lower case, whatever the case of `text`.
fn contains_folded(text: &str, lower: &str) -> bool {
    if text.is_ascii() && lower.is_ascii() {
        let (text, lower) = (text.as_bytes(), lower.as_bytes());
        return text
            .windows(lower.len().max(1))
            .any(|window| window.eq_ignore_ascii_case(lower));
    }
    text.to_lowercase().contains(lower)
}
