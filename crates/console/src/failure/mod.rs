//! The one error that a tool's `main` renders: what failed, why, and what to do next.
//!
//! What must hold: message and exit code come from one value; no rendered chain says the same sentence twice; no
//! secret is rendered, whatever the library below put into its text.
//!
//! It deliberately has no blanket conversion from any error: each tool decides, once for each library error, which
//! exit code and hint it gets. Only store errors are converted here, since every tool meets them.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::exit::{self, Exit};
use crate::limits;
use crate::redact::redact;
use crate::visible::visible;

mod panic;
#[cfg(test)]
mod tests;
mod usage;

pub use panic::without_panic;

/// More causes than this say nothing new; the cap also ends a chain that loops.
const CAUSES_MAX: usize = 16;

/// Says why a command failed, for a person and for a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    kind: Option<String>,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// Makes a failure with its exit code and the sentence shown first.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            kind: None,
            message: message.to_string(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Makes a failure of the command line.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes a failure of a setting.
    pub fn config(message: impl fmt::Display) -> Self {
        Self::new(Exit::Config, message)
    }

    /// Makes a failure of a library error: its own text is the message, its sources are the causes.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, error).with_causes(error.source())
    }

    /// Makes a failure that says in our words what was being done, with the error as its first cause.
    pub fn wrap(exit: Exit, message: impl fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, message).with_causes(Some(error))
    }

    /// Makes a failure of an I/O error on a path; a disk that is full, or may only be read, and a permission that is
    /// missing get their own codes and hints, and so do the limits of the process.
    pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("cannot {doing} {}", path.display());
        match error.kind() {
            _ if limits::is_of_open_files(error) => Self::wrap(Exit::Failed, message, error)
                .kind(limits::OPEN_FILES)
                .hint(limits::RAISE_FILES),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::wrap(Exit::DiskFull, message, error)
                    .hint("free some space, then run the command again")
            }
            std::io::ErrorKind::FileTooLarge => Self::wrap(Exit::DiskFull, message, error)
                .hint("raise the limit on the size of files (ulimit -f), or free some space, then run the command again"),
            std::io::ErrorKind::ReadOnlyFilesystem => Self::wrap(Exit::DiskFull, message, error)
                .hint("mount the disk for writing, then run the command again"),
            std::io::ErrorKind::PermissionDenied => Self::wrap(Exit::Denied, message, error)
                .hint("check who owns the file and its permissions"),
            _ => Self::wrap(Exit::Failed, message, error),
        }
    }

    /// Adds the next thing the person can do: a command, a setting, or one short sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        let hint = hint.to_string();
        if !hint.trim().is_empty() {
            self.hint = Some(hint);
        }
        self
    }

    /// Adds one more cause below the ones already there.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Names the kind of the failure in one lower-case, dashed word, for scripts.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Puts a sentence above the message, which becomes the first cause.
    #[must_use]
    pub fn context(mut self, message: impl fmt::Display) -> Self {
        let below = std::mem::replace(&mut self.message, message.to_string());
        self.causes.insert(0, below);
        self
    }

    /// Replaces the exit code, where the caller knows better than the library error.
    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Adds an error and all its sources as causes.
    #[must_use]
    pub fn with_causes(mut self, error: Option<&(dyn Error + 'static)>) -> Self {
        let mut next = error;
        while let Some(error) = next.filter(|_| self.causes.len() < CAUSES_MAX) {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the kind, if one was named.
    #[must_use]
    pub fn kind_name(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Returns the message, redacted.
    #[must_use]
    pub fn message(&self) -> String {
        redact(&self.message)
    }

    /// Returns the hint, redacted.
    #[must_use]
    pub fn hint_text(&self) -> Option<String> {
        self.hint.as_deref().map(redact)
    }

    /// Returns the causes as they are shown: redacted, and without what an upper line already said.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut said = vec![one_line(&self.message)];
        let mut shown = Vec::new();
        for cause in &self.causes {
            let fresh = without_repetition(&one_line(cause), &said);
            if !fresh.is_empty() {
                said.push(fresh.clone());
                shown.push(redact(&fresh));
            }
        }
        shown
    }

    /// Renders the failure for a person, ending with a line break.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let (red, cyan, plain) = if color {
            ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!(
            "{red}error:{plain} {}\n",
            visible(self.message().trim_end())
        );
        for cause in self.causes() {
            text.push_str(&format!("  cause: {}\n", visible(&cause)));
        }
        if let Some(hint) = self.hint_text() {
            text.push_str(&format!(
                "\n{cyan}hint:{plain} {}\n",
                visible(hint.trim_end())
            ));
        }
        text
    }

    /// Returns the failure as a JSON value, under the key `error`: `message`, `causes`, `hint`, `kind`, `exit_code`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("message".into(), self.message().into());
        error.insert("causes".into(), self.causes().into());
        error.insert("hint".into(), self.hint_text().into());
        let kind = self.kind.as_deref().unwrap_or(self.exit.kind());
        error.insert("kind".into(), kind.into());
        error.insert("exit_code".into(), self.exit.code().into());
        json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for Failure {}

impl From<store::StoreError> for Failure {
    fn from(error: store::StoreError) -> Self {
        Failure::from(&error)
    }
}

impl From<&store::StoreError> for Failure {
    fn from(error: &store::StoreError) -> Self {
        Failure::from_error(exit::of_store(error.kind()), error)
            .kind(error.kind().as_str())
            .hint(error.remedy())
    }
}

/// Turns the error of a result into a failure where it happens.
pub trait FailureExt<T> {
    /// Says what was being done; the error becomes the cause.
    ///
    /// # Errors
    /// The failure, if the result was an error.
    fn or_fail(self, exit: Exit, doing: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> FailureExt<T> for Result<T, E> {
    fn or_fail(self, exit: Exit, doing: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::wrap(exit, doing, &error))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts from `cause` every part that an upper line said. Libraries that print their source into their own text and
/// return it as source too are the reason.
fn without_repetition(cause: &str, said: &[String]) -> String {
    if said.iter().any(|line| line.contains(cause)) {
        return String::new();
    }
    let mut fresh = cause.to_string();
    for line in said {
        if let Some(rest) = fresh.strip_prefix(line.as_str()) {
            fresh = rest.to_string();
        } else if let Some(rest) = fresh.strip_suffix(line.as_str()) {
            fresh = rest.to_string();
        }
    }
    let kept: Vec<&str> = split_sentences(&fresh)
        .filter(|sentence| !said.iter().any(|line| repeats(line, sentence)))
        .collect();
    kept.join(": ")
        .trim_matches(|c: char| c == ':' || c == ';' || c.is_whitespace())
        .to_string()
}

fn split_sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split(": ")
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
}

/// Short parts such as "error" or a key recur for good reasons; only a part of several words is a repetition.
fn repeats(line: &str, sentence: &str) -> bool {
    let several_words = sentence.split(' ').count() >= 3;
    several_words
        && split_sentences(line)
            .any(|part| part.trim_end_matches('.') == sentence.trim_end_matches('.'))
}
