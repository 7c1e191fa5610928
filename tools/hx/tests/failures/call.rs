//! One run of the real binary, and what can be asked of it afterwards.
//!
//! What must hold: no run may print a secret or panic, whatever else a test looks at; a failure says what, why and what to do.
//!
//! It deliberately knows no expected message: the tests say what a person must see.

#![allow(dead_code)] // Two test binaries share this file, and each uses a part of it.

use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use testkit::s3::SECRET_KEY;

use crate::world::{NEW_PASSPHRASE, PASSPHRASE};

/// A command that is about to run.
pub(crate) struct Call {
    command: Command,
    words: String,
}

impl Call {
    /// A command as far as it is known; `words` is how messages call it.
    pub(crate) fn new(mut command: Command, words: &str) -> Call {
        command.stdin(Stdio::null());
        Call {
            command,
            words: words.to_owned(),
        }
    }

    /// Adds one argument, whatever is in it.
    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Call {
        self.words += &format!(" {}", arg.as_ref().display());
        self.command.arg(arg);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Call {
        self.command.env(name, value);
        self
    }

    /// Sets several variables.
    pub(crate) fn envs(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Call {
        self.command.envs(pairs);
        self
    }

    /// Runs it in the home directory of its world, where the tests put files.
    pub(crate) fn at_home(mut self, world: &crate::world::World) -> Call {
        self.command.current_dir(world.home());
        self
    }

    /// Takes variables away.
    pub(crate) fn without(mut self, names: &[&str]) -> Call {
        for name in names {
            self.command.env_remove(name);
        }
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Run {
        let begun = Instant::now();
        let output = self.command.output().expect("the program can be started");
        Run::of(self.words, output, begun.elapsed())
    }

    /// Starts it and lets it run.
    pub(crate) fn start(self) -> Running {
        self.start_into(Stdio::piped())
    }

    /// Starts it with its standard output going elsewhere.
    pub(crate) fn start_into(mut self, out: impl Into<Stdio>) -> Running {
        self.command.stdout(out).stderr(Stdio::piped());
        let child = self.command.spawn().expect("the program can be started");
        Running {
            child,
            words: self.words,
            begun: Instant::now(),
        }
    }
}

/// A command that runs.
pub(crate) struct Running {
    child: Child,
    words: String,
    begun: Instant,
}

impl Running {
    /// Interrupts it as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let process = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let process = process.expect("it was started here");
        rustix::process::kill_process(process, rustix::process::Signal::INT)
            .expect("it still runs");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it was started here");
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        let state = self.child.try_wait();
        state.expect("it was started here").is_some()
    }

    /// Waits for its end.
    pub(crate) fn wait(self) -> Run {
        let output = self.child.wait_with_output().expect("it was started here");
        Run::of(self.words, output, self.begun.elapsed())
    }
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Run {
    words: String,
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The code or the signal, in words.
    status: ExitStatus,
    /// The standard output.
    pub(crate) out: String,
    /// The standard error.
    pub(crate) err: String,
    /// How long it ran.
    pub(crate) took: Duration,
}

impl Run {
    fn of(words: String, output: Output, took: Duration) -> Run {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let run = Run {
            words,
            code: output.status.code(),
            status: output.status,
            out: text(&output.stdout),
            err: text(&output.stderr),
            took,
        };
        for secret in [PASSPHRASE, NEW_PASSPHRASE, SECRET_KEY] {
            let shown = run.out.contains(secret) || run.err.contains(secret);
            assert!(!shown, "a secret was printed by `hx {}`", run.words);
        }
        assert!(!run.err.contains("panicked at"), "{run}");
        run
    }

    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Run {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// It must have failed with this code, and said so as every failure is said: what, why, and what to do.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(
            self.err.starts_with("error: ") || self.err.contains("\nerror: "),
            "{self}"
        );
        assert!(self.err.contains("\n\nhint: "), "{self}");
        self
    }

    /// It must have failed with this code and said why; where nobody can do anything there is no hint.
    #[track_caller]
    pub(crate) fn fails_without_hint(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(self.err.contains("error: "), "{self}");
        self
    }

    /// It must have failed with this code and kind, and said so in JSON on its standard output.
    #[track_caller]
    pub(crate) fn fails_in_json(self, code: i32, kind: &str) -> Run {
        assert_eq!(self.code, Some(code), "{self}");
        let last = self.last_json();
        let error = &last["error"];
        assert_eq!(error["exit_code"], code, "{self}");
        assert_eq!(error["kind"], kind, "{self}");
        assert!(
            error["hint"].as_str().is_some_and(|hint| !hint.is_empty()),
            "{self}"
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{self}"
        );
        self
    }

    /// Its standard error must hold this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Run {
        assert!(self.err.contains(text), "`{text}` is missing\n{self}");
        self
    }

    /// The lines that say why must hold this text.
    #[track_caller]
    pub(crate) fn because(self, text: &str) -> Run {
        let is_cause = |line: &&str| line.starts_with("error: ") || line.starts_with("  cause: ");
        let found = self
            .err
            .lines()
            .filter(is_cause)
            .any(|line| line.contains(text));
        assert!(found, "no cause says `{text}`\n{self}");
        self
    }

    /// What to do must hold this text.
    #[track_caller]
    pub(crate) fn hints(self, text: &str) -> Run {
        let hint = self.err.split_once("\nhint: ").map_or("", |(_, hint)| hint);
        assert!(
            hint.contains(text),
            "the hint does not say `{text}`\n{self}"
        );
        self
    }

    /// Its standard output must hold this text.
    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Run {
        assert!(self.out.contains(text), "`{text}` is missing\n{self}");
        self
    }

    /// It must have ended within so many seconds. The bound is for hanging, not for speed.
    #[track_caller]
    pub(crate) fn within(self, seconds: u64) -> Run {
        assert!(self.took <= Duration::from_secs(seconds), "{self}");
        self
    }

    /// The first JSON value of its standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut values = serde_json::Deserializer::from_str(&self.out).into_iter();
        match values.next() {
            Some(Ok(value)) => value,
            _ => panic!("no JSON was printed\n{self}"),
        }
    }

    /// The last JSON value of its standard output: a report may come before the failure.
    #[track_caller]
    pub(crate) fn last_json(&self) -> serde_json::Value {
        let values = serde_json::Deserializer::from_str(&self.out).into_iter();
        match values.last() {
            Some(Ok(value)) => value,
            _ => panic!("no JSON was printed\n{self}"),
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "`{}` ended with {} after {:?}",
            self.words, self.status, self.took
        )?;
        write!(f, "--- out\n{}\n--- err\n{}", self.out, self.err)
    }
}
