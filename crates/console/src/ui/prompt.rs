//! Questions to a person.
//!
//! What must hold: a question is asked only if stdin and stderr are a terminal and this process is in the foreground of
//! it. A background job that reads the terminal is stopped by the system, and would hang without a word.
//!
//! It deliberately keeps no answer, and a secret that is typed is never shown.

use std::fmt::Display;
use std::io::{self, BufRead};

use super::Ui;
use crate::exit::Exit;
use crate::failure::Failure;

/// Says what a question nobody can be asked is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// Go on: the command line itself is the consent.
    Yes,
    /// Do not.
    No,
}

impl Ui {
    /// Tells whether there is a person who can answer.
    #[must_use]
    pub fn can_prompt(&self) -> bool {
        let Terminal { stdin, stderr } = self.terminal();
        stdin && stderr && !self.inner.options.no_input && in_foreground()
    }

    /// Asks for a secret without showing it.
    ///
    /// # Errors
    /// If nobody can be asked, or the person interrupts.
    pub fn prompt_secret(&self, question: impl Display) -> Result<String, Failure> {
        if !self.can_prompt() {
            return Err(Failure::usage(format!(
                "cannot ask for this without a terminal: {question}"
            ))
            .kind("no-terminal"));
        }
        self.inner.out.flush();
        rpassword::prompt_password(format!("{question}: ")).map_err(|error| unanswered(&error))
    }

    /// Asks a yes-or-no question; only a clear yes is one.
    ///
    /// # Errors
    /// If the person interrupts or the terminal fails.
    pub fn confirm(&self, question: impl Display, unasked: Unasked) -> Result<bool, Failure> {
        if self.inner.options.assume_yes {
            return Ok(true);
        }
        if !self.can_prompt() {
            return Ok(unasked == Unasked::Yes);
        }
        self.inner.out.flush();
        self.inner
            .err
            .write(format!("{question} [y/N] ").as_bytes());
        let mut answer = String::new();
        let n_read = io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| unanswered(&error))?;
        if n_read == 0 {
            self.inner.err.write(b"\n");
        }
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    fn terminal(&self) -> Terminal {
        Terminal {
            stdin: self.inner.terminal.stdin,
            stderr: self.inner.terminal.stderr,
        }
    }
}

struct Terminal {
    stdin: bool,
    stderr: bool,
}

/// A process is in the foreground if its group is the one the terminal listens to.
///
/// In a PID namespace of its own both numbers are 0 if the group was made outside of it: then, too, they are the same.
fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

fn unanswered(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::Interrupted => Failure::new(Exit::Interrupted, "interrupted"),
        _ => Failure::wrap(
            Exit::Failed,
            "cannot read the answer from the terminal",
            error,
        ),
    }
}
