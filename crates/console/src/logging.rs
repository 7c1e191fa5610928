//! Logs to stderr, for the one who looks for a fault.
//!
//! What must hold: every line is redacted before it is written, since libraries below us log requests; an event is one line, and no character in it
//! acts on a terminal but our own colours; nothing goes to stdout; without an order only warnings appear.
//!
//! It deliberately writes no log files: a person redirects stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::env::Env;
use crate::redact::redact;
use crate::visible::visible_line;

/// Says that a log level or filter was not understood, or that logging had begun already.
#[derive(Debug)]
pub struct LogLevelError {
    given: String,
    why: String,
}

impl fmt::Display for LogLevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot log at `{}` ({}); use off, error, warn, info, debug or trace",
            self.given, self.why
        )
    }
}

impl std::error::Error for LogLevelError {}

/// Begins logging to stderr. `RUST_LOG` wins over `level`; a plain level below `warn` holds for our own crates, and the
/// libraries stay at `info` or above so that their noise does not bury ours, except at `trace`.
///
/// # Errors
/// If the level is not one, or a logger is already there.
pub fn init_logging(level: &str, env: &Env) -> Result<(), LogLevelError> {
    let (given, filter) = filter(level, env)?;
    let color = io::stderr().is_terminal() && env.get("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(color)
        .with_writer(RedactedStderr { has_color: color })
        .try_init()
        .map_err(|error| LogLevelError {
            given,
            why: error.to_string(),
        })
}

/// Begins logging to stderr as [`init_logging`] does, for a program that a person watches: warnings look like those that it prints itself, unless
/// `RUST_LOG` asks for the log as it is.
///
/// # Errors
/// If the level is not one, or a logger is already there.
pub fn init_watched_logging(level: &str, env: &Env) -> Result<(), LogLevelError> {
    if env.get("RUST_LOG").is_some() {
        return init_logging(level, env);
    }
    let (given, filter) = filter(level, env)?;
    let color = io::stderr().is_terminal() && env.get("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(color)
        .event_format(Watched(tracing_subscriber::fmt::format()))
        .with_writer(RedactedStderr { has_color: color })
        .try_init()
        .map_err(|error| LogLevelError {
            given,
            why: error.to_string(),
        })
}

/// Writes a warning as a program's own, and anything less as the log has it.
struct Watched(Format);

impl<S, N> FormatEvent<S, N> for Watched
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if *event.metadata().level() > Level::WARN {
            return self.0.format_event(context, writer, event);
        }
        let label = match writer.has_ansi_escapes() {
            true => "\x1b[1;33mwarning:\x1b[0m ",
            false => "warning: ",
        };
        writer.write_str(label)?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn filter(level: &str, env: &Env) -> Result<(String, EnvFilter), LogLevelError> {
    let given = env.get("RUST_LOG").unwrap_or(level).trim().to_string();
    let directives = match given.to_ascii_lowercase().as_str() {
        plain @ ("off" | "error" | "warn" | "info" | "trace") => plain.to_string(),
        "debug" => "info,hx=debug,hxd=debug,store=debug,vault=debug,transfer=debug,console=debug,migrate=debug,bottles=debug,memory=debug".to_string(),
        _ if env.get("RUST_LOG").is_some() => given.clone(),
        _ => return Err(LogLevelError { given, why: "not a level".to_string() }),
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| LogLevelError {
        given: given.clone(),
        why: error.to_string(),
    })?;
    Ok((given, filter))
}

/// Makes one writer an event, so that an event is redacted as a whole.
struct RedactedStderr {
    has_color: bool,
}

impl<'a> MakeWriter<'a> for RedactedStderr {
    type Writer = RedactedEvent<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactedEvent {
            event: Vec::new(),
            has_color: self.has_color,
            to: io::stderr(),
        }
    }
}

/// Collects the bytes of an event and writes them, redacted, when the event is complete.
struct RedactedEvent<W: Write> {
    event: Vec<u8>,
    has_color: bool,
    to: W,
}

impl<W: Write> Write for RedactedEvent<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.event.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for RedactedEvent<W> {
    fn drop(&mut self) {
        let text = redact(&String::from_utf8_lossy(&self.event));
        let text = one_line(&text, self.has_color);
        // Nobody is left to tell if stderr is gone.
        let _ = self.to.write_all(text.as_bytes());
    }
}

/// Shows the control characters of an event. The formatter below us has taken escape sequences out of what is logged, so that with colours those that
/// are left are its own.
fn one_line(event: &str, has_color: bool) -> String {
    let line = event.strip_suffix('\n').unwrap_or(event);
    let mut shown = String::with_capacity(event.len());
    for (number, part) in line.split('\x1b').enumerate() {
        if number > 0 {
            shown.push_str(if has_color { "\x1b" } else { "\\u{1b}" });
        }
        shown.push_str(&visible_line(part));
    }
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_and_rust_log_wins() {
        for level in ["off", "error", "warn", "INFO", "debug", "trace"] {
            assert!(filter(level, &Env::default()).is_ok(), "{level}");
        }
        let error = filter("loud", &Env::default()).expect_err("not a level");
        assert!(error.to_string().contains("loud"));
        let env = Env::from_pairs([("RUST_LOG", "store=trace,warn")]);
        assert_eq!(
            filter("loud", &env).expect("RUST_LOG wins").1.to_string(),
            "store=trace,warn"
        );
    }

    /// Where a test's log goes.
    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_warning_looks_like_one_of_the_programs_own() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Watched(tracing_subscriber::fmt::format()))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(key = "a/b", "parts were left behind");
            tracing::info!("a step");
        });
        let text = kept.0.lock().expect("no panic").clone();
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "warning: parts were left behind key=\"a/b\"");
        assert!(lines[1].contains(" INFO ") && lines[1].ends_with("a step"));
    }

    #[test]
    fn an_event_is_redacted_as_a_whole() {
        let mut written = Vec::new();
        let mut event = RedactedEvent {
            event: Vec::new(),
            has_color: false,
            to: &mut written,
        };
        event
            .write_all(b"GET ?secret_")
            .and_then(|()| event.write_all(b"key=abc\n"))
            .expect("collects");
        drop(event);
        assert_eq!(
            String::from_utf8(written).expect("text"),
            "GET ?secret_key=***\n"
        );
    }

    #[test]
    fn an_event_is_one_line_that_acts_on_no_terminal() {
        let event = "\x1b[2mWARN\x1b[0m evil\r\nERROR \u{9b}2J\n";
        let bare = "\\u{1b}[2mWARN\\u{1b}[0m evil\\r\\nERROR \\u{9b}2J\n";
        assert_eq!(one_line(event, false), bare);
        let coloured = "\x1b[2mWARN\x1b[0m evil\\r\\nERROR \\u{9b}2J\n";
        assert_eq!(one_line(event, true), coloured);
    }
}
