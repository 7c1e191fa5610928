//! Whom notices go to, and `homebrew-sync test-notification`.
//!
//! What must hold: a channel that is set wrongly fails no run: the run says so and goes on without it; only `test-notification` fails.

use super::args::notices::NoticeArgs;
use super::secret_command;
use crate::notices::secret::Secret;
use crate::notices::{Channel, Hook, HookForm, Mailer, Notice, NoticeKind, Notifier};
use console::{Env, Exit, Failure, Ui};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Environment;

/// How often a run says how far it is, unless it is said otherwise: what the guide's tool did.
const PROGRESS_EVERY: Duration = Duration::from_secs(300);

/// Under which a secret store may have the address of a webhook.
const URL_KEYS: [&str; 2] = ["webhook_url", "url"];

/// Where notices go.
pub(super) struct Settings {
    pub(super) channels: Vec<Channel>,
    pub(super) kinds: BTreeSet<NoticeKind>,
    pub(super) progress_every: Duration,
    /// What is set and cannot be used.
    pub(super) problems: Vec<String>,
}

impl Settings {
    /// Nobody is told.
    pub(super) fn none() -> Settings {
        Settings {
            channels: Vec::new(),
            kinds: BTreeSet::new(),
            progress_every: PROGRESS_EVERY,
            problems: Vec::new(),
        }
    }

    /// Looks into what was typed, and into the environment.
    pub(super) async fn resolve(args: &NoticeArgs, env: &Env) -> Settings {
        let mut settings = Settings {
            kinds: args.notify.iter().copied().collect(),
            ..Settings::none()
        };
        settings.choose(args, env);
        let environment = Environment::from(env);
        let slack = Named::new(
            "HOMEBREW_SYNC_SLACK_WEBHOOK",
            args.slack_webhook_file.as_deref(),
        );
        let key = Named::new(
            "HOMEBREW_SYNC_WEBHOOK_KEY",
            args.webhook_key_file.as_deref(),
        );
        let url = Named::new("HOMEBREW_SYNC_WEBHOOK", args.webhook_file.as_deref());
        let server = Named::new("HOMEBREW_SYNC_SMTP", args.smtp_file.as_deref());
        // All at once: a secret store that hangs holds a run up once, not four times.
        let (slack, key, url, server) = tokio::join!(
            slack.read(env, &URL_KEYS),
            key.read(env, &["key", "secret"]),
            url.read(env, &URL_KEYS),
            server.read(env, &["smtp_url", "url"]),
        );
        settings.add("Slack webhook", slack, |url| {
            Hook::new(url, HookForm::Slack, &environment).map(Channel::Hook)
        });
        // Without the key that is set, a notice would go out unsigned.
        let url = key.and_then(|key| Ok(url?.map(|url| (url, key))));
        settings.add("webhook", url, |(url, key)| {
            Hook::new(url, HookForm::Json(key.clone()), &environment).map(Channel::Hook)
        });
        let listed = env.get("HOMEBREW_SYNC_MAIL_TO").unwrap_or("").split(',');
        let listed = listed.map(str::trim).filter(|text| !text.is_empty());
        let to: Vec<String> = match args.mail_to.is_empty() {
            true => listed.map(str::to_owned).collect(),
            false => args.mail_to.clone(),
        };
        let from = args.mail_from.as_deref();
        let from = from.or_else(|| env.get("HOMEBREW_SYNC_MAIL_FROM"));
        if matches!(server, Ok(None)) && !to.is_empty() {
            let what =
                "mail is to be sent, and no server is named: set HOMEBREW_SYNC_SMTP or --smtp-file";
            settings.problems.push(what.to_owned());
        }
        settings.add("mail", server, |server| {
            Mailer::new(server, from, &to).map(|mailer| Channel::Mail(Box::new(mailer)))
        });
        settings
    }

    /// Which notices, and how often one about progress.
    fn choose(&mut self, args: &NoticeArgs, env: &Env) {
        if self.kinds.is_empty() {
            let listed = env.get("HOMEBREW_SYNC_NOTIFY").unwrap_or("").split(',');
            for word in listed.map(str::trim).filter(|word| !word.is_empty()) {
                match word.parse() {
                    Ok(kind) => drop(self.kinds.insert(kind)),
                    Err(why) => self.problems.push(format!("HOMEBREW_SYNC_NOTIFY: {why}")),
                }
            }
        }
        if self.kinds.is_empty() {
            self.kinds.extend(NoticeKind::CHOICES);
        }
        let every = env
            .get("HOMEBREW_SYNC_PROGRESS_EVERY")
            .map(console::parse::duration);
        match (args.progress_every, every) {
            (Some(every), _) | (None, Some(Ok(every))) => self.progress_every = every,
            (None, Some(Err(error))) => {
                let what = format!("HOMEBREW_SYNC_PROGRESS_EVERY: {error}");
                self.problems.push(what);
            }
            (None, None) => {}
        }
        // A clock that does not stand still in between.
        self.progress_every = self.progress_every.max(Duration::from_millis(10));
    }

    fn add<S>(
        &mut self,
        what: &str,
        found: Result<Option<S>, String>,
        make: impl Fn(&S) -> Result<Channel, String>,
    ) {
        match found.and_then(|found| found.as_ref().map(make).transpose()) {
            Ok(channel) => self.channels.extend(channel),
            Err(why) => self
                .problems
                .push(format!("the {what} cannot be used: {why}")),
        }
    }

    /// Begins to send; what is set wrongly is said.
    pub(super) fn start(self, ui: &Ui) -> Notifier {
        for problem in &self.problems {
            ui.warn(format!("No notification: {problem}"));
        }
        let ui = ui.clone();
        let complain = Arc::new(move |text: String| ui.warn(text));
        Notifier::new(self.channels, self.kinds, complain)
    }
}

/// A secret by its names: a file that was typed, or variables.
struct Named<'a> {
    variable: &'static str,
    file: Option<&'a Path>,
}

impl<'a> Named<'a> {
    fn new(variable: &'static str, file: Option<&'a Path>) -> Named<'a> {
        Named { variable, file }
    }

    /// Reads it; nothing if it is nowhere named.
    async fn read(&self, env: &Env, keys: &[&str]) -> Result<Option<Secret>, String> {
        let variable = |suffix: &str| env.get(&format!("{}{suffix}", self.variable));
        let from_file = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))
                .map(|text| (path.display().to_string(), text))
        };
        let (place, text) = match self.file {
            Some(path) => from_file(path)?,
            None => {
                if let Some(text) = variable("") {
                    (self.variable.to_owned(), text.to_owned())
                } else if let Some(path) = variable("_FILE") {
                    from_file(Path::new(path))?
                } else if let Some(line) = variable("_COMMAND") {
                    let name = format!("{}_COMMAND", self.variable);
                    let text = secret_command::printed(line, env)
                        .await
                        .map_err(|why| format!("{name}: {why}"))?;
                    (name, text)
                } else {
                    return Ok(None);
                }
            }
        };
        let secret = Secret::parse(&text, keys).map_err(|why| format!("{place}: {why}"))?;
        Ok(Some(secret))
    }
}

/// Runs `test-notification`.
pub(super) async fn test(args: &NoticeArgs, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let settings = Settings::resolve(args, env).await;
    if settings.channels.is_empty() && settings.problems.is_empty() {
        return Err(Failure::config("nobody gets notices").hint(
            "name a Slack webhook with --slack-webhook-file FILE or in HOMEBREW_SYNC_SLACK_WEBHOOK; `homebrew-sync test-notification --help` lists the others",
        ));
    }
    let notice = Notice::new(NoticeKind::Test, "A test of notices", Timestamp::now())
        .field("Machine", super::recording::host(env))
        .field("Version", env!("CARGO_PKG_VERSION"));
    let mut sent = Vec::new();
    let mut failed = settings.problems.len();
    for problem in &settings.problems {
        ui.warn(problem);
    }
    for channel in &settings.channels {
        let outcome = channel.send(&notice).await;
        let (name, place) = (channel.name(), channel.place());
        match &outcome {
            Ok(said) => {
                let said = console::visible_line(said);
                ui.out(format!("{name} ({place}): sent, {said}"));
            }
            Err(error) => {
                failed += 1;
                ui.warn(format!(
                    "Failed to send {name} notification ({place}): {error}"
                ));
                ui.hint(error.remedy());
            }
        }
        sent.push(json!({
            "channel": name, "place": place, "sent": outcome.is_ok(), "answer": outcome.as_ref().ok(),
            "error": outcome.as_ref().err().map(ToString::to_string),
        }));
    }
    if ui.is_json() {
        ui.json(&json!({"channels": sent, "problems": settings.problems}));
    }
    match failed {
        0 => Ok(Exit::Ok),
        failed => Err(Failure::new(
            if sent.is_empty() {
                Exit::Config
            } else {
                Exit::Failed
            },
            format!(
                "{} did not arrive",
                console::human::count(failed as u64, "notice")
            ),
        )),
    }
}
