//! The filters that `find` and `forget` share, and the times that all commands take.
//!
//! What must hold: a time that is not understood is a usage error that shows the accepted forms.
//!
//! What it deliberately does not do: follow symbolic links in `--cwd`. Shells record the directory as the person sees it.

use console::{Env, Failure};
use jiff::{Timestamp, Zoned};

use crate::cli::zone;
use crate::history::dates;
use crate::history::find::FindQuery;

/// Which events to look at.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub(in crate::cli) struct FilterArgs {
    /// Only commands that started at this time or later
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    after: Option<String>,
    /// Only commands that started before this time
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    before: Option<String>,
    /// Only commands run in this directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Only commands of this machine
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only commands of this session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Only commands with this exit status
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    exit: Option<i32>,
    /// Only commands that failed
    #[arg(long, conflicts_with = "exit")]
    failed: bool,
}

impl FilterArgs {
    /// Narrows a query.
    ///
    /// # Errors
    /// If a time is not understood, or the span ends before it begins.
    pub(in crate::cli) fn apply(&self, query: FindQuery, env: &Env) -> Result<FindQuery, Failure> {
        let (after_us, before_us) = span_us(self.after.as_deref(), self.before.as_deref(), env)?;
        Ok(FindQuery {
            after_us,
            before_us,
            cwd: self
                .cwd
                .as_deref()
                .map(|directory| absolute(directory, env)),
            host: self.host.clone(),
            session: self.session.clone(),
            exit: self.exit,
            failed: self.failed,
            ..query
        })
    }

    /// Whether there is a filter at all.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        let texts = [
            &self.after,
            &self.before,
            &self.cwd,
            &self.host,
            &self.session,
        ];
        texts.iter().all(|text| text.is_none()) && self.exit.is_none() && !self.failed
    }
}

/// Reads both ends of a span of time, in microseconds since the Unix epoch.
///
/// # Errors
/// If one is not understood, or nothing can be between them.
pub(in crate::cli) fn span_us(
    after: Option<&str>,
    before: Option<&str>,
    env: &Env,
) -> Result<(Option<i64>, Option<i64>), Failure> {
    if after.is_none() && before.is_none() {
        return Ok((None, None));
    }
    let now = Timestamp::now().to_zoned(zone::local(env));
    let end =
        |option: &str, text: Option<&str>| text.map(|text| time_us(option, text, &now)).transpose();
    let (after_us, before_us) = (end("--after", after)?, end("--before", before)?);
    if let (Some(first), Some(last)) = (after_us, before_us)
        && first >= last
    {
        return Err(
            Failure::usage("--before is not later than --after, so nothing can match")
                .hint("Swap the two, or leave one out."),
        );
    }
    Ok((after_us, before_us))
}

/// Reads a point in time, in microseconds since the Unix epoch.
///
/// # Errors
/// If it is not understood.
fn time_us(option: &str, text: &str, now: &Zoned) -> Result<i64, Failure> {
    let time = dates::parse(text, now).map_err(|error| {
        Failure::usage(format!("{option}: {error}"))
            .kind("usage")
            .hint(error.remedy())
    })?;
    Ok(time.as_microsecond())
}

/// The directory as a shell would have recorded it: absolute, without `.`, `..` and a slash at the end.
pub(super) fn absolute(directory: &str, env: &Env) -> String {
    let expanded = match (directory.strip_prefix('~'), env.get("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{home}{rest}")
        }
        _ => directory.to_owned(),
    };
    let whole = if expanded.starts_with('/') {
        expanded
    } else {
        format!("{}/{expanded}", here(env))
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The current directory as the shell sees it, or else as the system does.
fn here(env: &Env) -> String {
    let real = std::env::current_dir()
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_same = |seen: &str| {
        seen.starts_with('/')
            && std::fs::canonicalize(seen).is_ok_and(|path| path.to_string_lossy() == real)
    };
    env.get("PWD")
        .filter(|seen| is_same(seen))
        .map_or(real.clone(), str::to_owned)
}
