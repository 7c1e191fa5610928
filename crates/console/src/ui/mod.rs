//! The way to a person: data on stdout, everything else on stderr, questions only where someone can answer.
//!
//! What must hold:
//! - A reader that closes the pipe early (`hx find x | head`) ends the output in silence; the work goes on and succeeds.
//! - Any other failure to write stdout (a full disk) is reported by [`Ui::finish`], never lost.
//! - A process in the background never asks: it would be stopped by the terminal and hang.
//! - Warnings and status lines are redacted, and show control characters that came from outside instead of sending them.
//! - With `--json` stdout holds exactly one document: the result waits until [`Ui::finish`], which adds the failure to it.
//!
//! It deliberately does not lay out a command's result; commands do that with [`crate::Table`] and [`crate::human`].

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::env::Env;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::redact::redact;
use crate::visible::{visible, visible_json};

mod document;
mod prompt;
mod sink;
#[cfg(test)]
mod tests;

pub use prompt::Unasked;
pub use sink::Captured;
use sink::{ActiveBar, Sink, lock};

/// Says when to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Holds what the command line says about output.
#[derive(Clone, Copy, Debug, Default)]
pub struct UiOptions {
    /// Print JSON for scripts instead of text for people.
    pub json: bool,
    /// When to use colour.
    pub color: ColorChoice,
    /// Leave out status lines and progress; warnings and errors stay.
    pub quiet: bool,
    /// Answer every question with yes.
    pub assume_yes: bool,
    /// Never ask a person, even on a terminal.
    pub no_input: bool,
}

/// Talks to the person or script that runs the command. A clone talks to the same one.
#[derive(Clone)]
pub struct Ui {
    inner: Arc<Inner>,
}

struct Inner {
    options: UiOptions,
    color_err: bool,
    color_out: bool,
    terminal: Terminal,
    out: Sink,
    err: Sink,
    bar: ActiveBar,
    /// The result as JSON, until the command ends.
    document: Mutex<Option<Vec<u8>>>,
    /// Whether bytes went to stdout as they are: then no document may follow them.
    has_raw: AtomicBool,
}

/// Which of the three streams are a terminal.
#[derive(Clone, Copy, Default)]
struct Terminal {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Ui {
    /// Makes the way to whoever runs this process.
    #[must_use]
    pub fn new(options: UiOptions, env: &Env) -> Self {
        let terminal = Terminal {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        Self::with_parts(
            options,
            env,
            terminal,
            Sink::stdout(terminal.stdout),
            Sink::stderr(),
        )
    }

    /// Makes one that keeps what is written, for tests. Nothing in it is a terminal.
    #[must_use]
    pub fn captured(options: UiOptions, env: &Env) -> (Self, Captured) {
        let captured = Captured::default();
        let (out, err) = (
            Sink::new(Box::new(captured.out.clone())),
            Sink::new(Box::new(captured.err.clone())),
        );
        (
            Self::with_parts(options, env, Terminal::default(), out, err),
            captured,
        )
    }

    fn with_parts(options: UiOptions, env: &Env, terminal: Terminal, out: Sink, err: Sink) -> Self {
        let color_on = |is_terminal: bool| match options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal && env.get("NO_COLOR").is_none() && env.get("TERM") != Some("dumb")
            }
        };
        let (color_err, color_out) = (color_on(terminal.stderr), color_on(terminal.stdout));
        Self {
            inner: Arc::new(Inner {
                options,
                color_err,
                color_out,
                terminal,
                out,
                err,
                bar: ActiveBar::default(),
                document: Mutex::new(None),
                has_raw: AtomicBool::new(false),
            }),
        }
    }

    /// Tells whether the result is to be JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.inner.options.json
    }

    /// Tells whether status lines are left out.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.inner.options.quiet
    }

    /// Tells whether stdout is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.inner.terminal.stdout
    }

    /// Tells whether stdout may carry colour.
    #[must_use]
    pub fn has_color(&self) -> bool {
        self.inner.color_out
    }

    /// Writes one line of the result for a person. With `--json` it is left out: stdout is then JSON and nothing else.
    pub fn out(&self, line: impl Display) {
        if !self.is_json() {
            self.raw(format!("{line}\n").as_bytes());
        }
    }

    /// Writes bytes of the result as they are, in either mode. With `--json` they must be the whole document.
    pub fn raw(&self, bytes: &[u8]) {
        self.inner.has_raw.store(true, Ordering::Relaxed);
        self.write_out(bytes);
    }

    fn write_out(&self, bytes: &[u8]) {
        self.inner
            .bar
            .suspended(self.inner.terminal.stdout, || self.inner.out.write(bytes));
    }

    /// Gives a value as the whole result, to be written as indented JSON when the command ends.
    ///
    /// A second object adds its keys to the first; anything else takes the place of what was given before.
    pub fn json(&self, value: &impl Serialize) {
        match serde_json::to_vec_pretty(value) {
            Ok(bytes) => {
                let mut document = lock(&self.inner.document);
                *document = Some(document::joined(document.take(), bytes));
            }
            Err(error) => self.inner.out.fail(io::Error::from(error)),
        }
    }

    /// Writes a status line to stderr, unless `--quiet`.
    pub fn status(&self, line: impl Display) {
        if !self.is_quiet() {
            self.write_err(&format!("{}\n", visible(&redact(&line.to_string()))));
        }
    }

    /// Writes a warning to stderr.
    pub fn warn(&self, line: impl Display) {
        self.labelled("warning:", "\x1b[1;33m", &line.to_string());
    }

    /// Writes a hint to stderr: what to do next.
    pub fn hint(&self, line: impl Display) {
        self.labelled("hint:", "\x1b[1;36m", &line.to_string());
    }

    /// Writes something the person must see once and that is secret, such as a recovery phrase, past the redaction.
    ///
    /// # Errors
    /// If it did not arrive, as far as that can be told: then it may not be thrown away.
    pub fn reveal(&self, text: impl Display) -> io::Result<()> {
        self.inner.out.flush_if_free();
        let text = format!("{text}\n");
        self.inner.bar.suspended(self.inner.terminal.stderr, || {
            self.inner.err.deliver(text.as_bytes())
        })
    }

    /// Writes the JSON document now, because of something in it that must be seen once. What is given to [`Ui::json`] afterwards is
    /// left out.
    ///
    /// # Errors
    /// If it did not arrive, as far as that can be told: then it may not be thrown away.
    pub fn reveal_json(&self) -> io::Result<()> {
        let mut given = lock(&self.inner.document);
        let Some(mut bytes) = given.take() else {
            return Ok(());
        };
        bytes.push(b'\n');
        self.inner.has_raw.store(true, Ordering::Relaxed);
        self.inner.bar.suspended(self.inner.terminal.stdout, || {
            self.inner.out.deliver(&bytes)
        })
    }

    fn labelled(&self, label: &str, color: &str, line: &str) {
        let line = redact(line);
        let line = visible(&line);
        let text = if self.inner.color_err {
            format!("{color}{label}\x1b[0m {line}\n")
        } else {
            format!("{label} {line}\n")
        };
        self.write_err(&text);
    }

    fn write_err(&self, text: &str) {
        // Both streams may end in the same file: what was said first must stand first there. What another thread is just writing is
        // not waited for: its reader may never come.
        self.inner.out.flush_if_free();
        self.inner.bar.suspended(self.inner.terminal.stderr, || {
            self.inner.err.write(text.as_bytes())
        });
        self.inner.err.flush();
    }

    /// Sends off what was written to stdout, and tells whether all of it could be. [`Ui::finish`] reports what went wrong.
    pub fn flush(&self) -> bool {
        self.inner.out.flush();
        !self.inner.out.is_closed()
    }

    /// Tells whether the reader of stdout has gone, so that a long listing can stop.
    #[must_use]
    pub fn is_reader_gone(&self) -> bool {
        self.inner.out.is_closed()
    }

    /// Tells whether the reader of stdout went away before it had everything; that no more could be written for another reason is an error,
    /// which [`Ui::finish`] reports.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.inner.out.is_cut_off()
    }

    /// Shows progress on a terminal; elsewhere it only counts. Without a total it shows a spinner.
    #[must_use]
    pub fn progress(&self, total: Option<u64>, label: &str) -> Progress {
        let visible = self.inner.terminal.stderr && !self.is_quiet() && !self.is_json();
        // A bar between the lines of a log would tear both.
        let visible = visible && !tracing::enabled!(tracing::Level::DEBUG);
        let progress = Progress::new(visible, total, label);
        self.inner.bar.set(progress.weak_bar());
        progress
    }

    /// Writes a failure for a person to stderr. With `--json` it becomes a part of the document instead: see [`Ui::finish`].
    pub fn failure(&self, failure: &Failure) {
        let mut document = lock(&self.inner.document);
        if self.is_json() && !self.inner.has_raw.load(Ordering::Relaxed) {
            *document = Some(document::with_failure(document.take(), failure));
        } else {
            drop(document);
            self.write_err(&failure.render(self.inner.color_err));
        }
    }

    /// Ends the command: writes the document or the failure, makes sure that all output has arrived, and gives the code.
    ///
    /// With `--json` stdout then holds one document: what [`Ui::json`] was given, or `{}`; a failure is under its key `error`
    /// (a result that is no object is then under `result`).
    pub fn finish(&self, result: Result<Exit, Failure>) -> Exit {
        let exit = match result {
            Ok(exit) => exit,
            Err(failure) => {
                self.failure(&failure);
                failure.exit()
            }
        };
        self.write_document();
        self.inner.out.flush();
        match self.inner.out.take_error() {
            Some(error) => {
                let failure = Failure::io("write", std::path::Path::new("standard output"), &error);
                self.write_err(&failure.render(self.inner.color_err));
                if exit == Exit::Ok {
                    failure.exit()
                } else {
                    exit
                }
            }
            None => exit,
        }
    }

    fn write_document(&self) {
        // Held to the end: an interruption in another thread must not write a second document.
        let mut given = lock(&self.inner.document);
        let document = given.take();
        let nothing = || {
            (self.is_json() && !self.inner.has_raw.load(Ordering::Relaxed)).then(|| b"{}".to_vec())
        };
        if let Some(bytes) = document.or_else(nothing) {
            let text = format!("{}\n", visible_json(&String::from_utf8_lossy(&bytes)));
            self.inner.has_raw.store(true, Ordering::Relaxed);
            self.write_out(text.as_bytes());
        }
    }
}
