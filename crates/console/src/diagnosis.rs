//! Named checks with an outcome, the time they took and what to do: the report of `diagnose`.
//!
//! What must hold: the report is safe to paste in public (no secret in it, and no home path if asked so); one failing
//! check never hides the others.
//!
//! It deliberately runs nothing by itself: the tools bring the checks.

use std::fmt::Display;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::redact::{redact, redact_home};
use crate::ui::Ui;
use crate::visible::{visible, visible_line};

/// Says how a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// It works, but deserves a look.
    Warn,
    /// It does not work.
    Fail,
}

impl Outcome {
    /// Returns the word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
        }
    }
}

/// Holds the result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, in a few words.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do, unless all is well.
    pub remedy: Option<String>,
    /// How long it took, in microseconds.
    #[serde(rename = "took_us", serialize_with = "as_micros")]
    pub took: Duration,
    /// The exit code this failure would give on its own.
    #[serde(skip)]
    pub exit: Exit,
}

impl Check {
    /// Makes a check that passed.
    pub fn pass(name: impl Into<String>, detail: impl Display) -> Self {
        Self::ended(name, Outcome::Pass, detail, None, Exit::Ok)
    }

    /// Makes a check that deserves a look.
    pub fn warn(name: impl Into<String>, detail: impl Display, remedy: impl Into<String>) -> Self {
        Self::ended(name, Outcome::Warn, detail, Some(remedy.into()), Exit::Ok)
    }

    /// Makes a check that failed.
    pub fn fail(name: impl Into<String>, detail: impl Display, remedy: impl Into<String>) -> Self {
        Self::ended(
            name,
            Outcome::Fail,
            detail,
            Some(remedy.into()),
            Exit::Failed,
        )
    }

    /// Makes a failed check of a failure.
    pub fn failed(name: impl Into<String>, failure: &Failure) -> Self {
        let mut detail = failure.message();
        for cause in failure.causes() {
            detail.push_str(": ");
            detail.push_str(&cause);
        }
        Self::ended(
            name,
            Outcome::Fail,
            detail,
            failure.hint_text(),
            failure.exit(),
        )
    }

    fn ended(
        name: impl Into<String>,
        outcome: Outcome,
        detail: impl Display,
        remedy: Option<String>,
        exit: Exit,
    ) -> Self {
        Self {
            name: name.into(),
            outcome,
            detail: detail.to_string(),
            remedy,
            took: Duration::ZERO,
            exit,
        }
    }

    /// Runs a check and notes the time it took.
    pub fn timed(check: impl FnOnce() -> Check) -> Self {
        let began = Instant::now();
        check().taking(began.elapsed())
    }

    /// Sets the time it took.
    #[must_use]
    pub fn taking(mut self, took: Duration) -> Self {
        self.took = took;
        self
    }
}

/// Collects checks in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    checks: Vec<Check>,
    home: Option<String>,
}

impl Diagnosis {
    /// Makes an empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows this directory as `~` everywhere in the report.
    #[must_use]
    pub fn hiding_home(mut self, home: impl Into<String>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Adds a check.
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Returns the checks, redacted.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let clean = |text: &str| {
            let text = redact(text);
            self.home
                .as_deref()
                .map_or(text.clone(), |home| redact_home(&text, home))
        };
        let checks = self.checks.iter().cloned();
        checks
            .map(|check| Check {
                detail: clean(&check.detail),
                remedy: check.remedy.as_deref().map(clean),
                ..check
            })
            .collect()
    }

    /// Returns the worst outcome; a report without checks passes.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.checks
            .iter()
            .map(|check| check.outcome)
            .max()
            .unwrap_or(Outcome::Pass)
    }

    /// Returns the exit code: that of the first check that failed, since later ones often follow from it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.checks
            .iter()
            .find(|check| check.outcome == Outcome::Fail)
            .map_or(Exit::Ok, |check| check.exit)
    }

    /// Renders the report for a person, without a final line break.
    #[must_use]
    pub fn render(&self) -> String {
        let checks = self.checks();
        let width = checks
            .iter()
            .map(|check| check.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut lines = Vec::new();
        for check in &checks {
            let took = if check.took.is_zero() {
                String::new()
            } else {
                format!(" ({})", human::duration(check.took))
            };
            lines.push(
                format!(
                    "{}  {:width$}  {}{took}",
                    check.outcome.as_str(),
                    check.name,
                    visible_line(&check.detail)
                )
                .trim_end()
                .to_string(),
            );
            if let Some(remedy) = check
                .remedy
                .as_deref()
                .filter(|_| check.outcome != Outcome::Pass)
            {
                lines.extend(
                    visible(remedy)
                        .lines()
                        .map(|line| format!("        {line}").trim_end().to_string()),
                );
            }
        }
        let n = |outcome| {
            checks
                .iter()
                .filter(|check| check.outcome == outcome)
                .count()
        };
        lines.push(format!(
            "{} passed, {} to look at, {} failed",
            n(Outcome::Pass),
            n(Outcome::Warn),
            n(Outcome::Fail)
        ));
        lines.join("\n")
    }

    /// Writes the report in the mode the person asked for and returns the exit code.
    pub fn show(&self, ui: &Ui) -> Exit {
        if ui.is_json() {
            ui.json(&serde_json::json!({ "outcome": self.outcome(), "checks": self.checks() }));
        } else {
            ui.out(self.render());
        }
        self.exit()
    }
}

fn as_micros<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::ui::UiOptions;

    fn report() -> Diagnosis {
        let mut report = Diagnosis::new().hiding_home("/home/me");
        report.add(
            Check::pass("database", "/home/me/.local/share/hx/hx.db")
                .taking(Duration::from_millis(12)),
        );
        report.add(Check::warn(
            "clock",
            "3 s behind the store",
            "run `timedatectl`",
        ));
        let failure = Failure::new(Exit::Denied, "cannot list s3://b?secret_key=abc")
            .cause("Access Denied")
            .hint("add the policy");
        report.add(Check::failed("store", &failure));
        report
    }

    #[test]
    fn the_report_names_each_check_and_hides_secrets_and_home() {
        assert_eq!(
            report().render(),
            "pass  database  ~/.local/share/hx/hx.db (12 ms)\nwarn  clock     3 s behind the store\n        run `timedatectl`\n\
             fail  store     cannot list s3://b?secret_key=***: Access Denied\n        add the policy\n1 passed, 1 to look at, 1 failed"
        );
    }

    #[test]
    fn the_worst_outcome_and_the_first_failure_count() {
        assert_eq!(
            (report().outcome(), report().exit()),
            (Outcome::Fail, Exit::Denied)
        );
        assert_eq!(
            (Diagnosis::new().outcome(), Diagnosis::new().exit()),
            (Outcome::Pass, Exit::Ok)
        );
    }

    #[test]
    fn the_json_form_is_one_document() {
        let (ui, text) = Ui::captured(
            UiOptions {
                json: true,
                ..UiOptions::default()
            },
            &Env::default(),
        );
        assert_eq!(report().show(&ui), Exit::Denied);
        ui.finish(Ok(Exit::Ok));
        let value: serde_json::Value = serde_json::from_str(&text.out()).expect("JSON");
        assert_eq!(value["outcome"], "fail");
        assert_eq!(value["checks"][0]["took_us"], 12_000);
        assert!(!text.out().contains("abc"));
    }
}
