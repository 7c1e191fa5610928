//! Notices about runs: to a Slack channel, to a webhook of any sort, by mail.
//!
//! What must hold: a receiver that fails, hangs or is gone fails no run and holds none up: [`Notifier::send`] never waits, and
//! [`Notifier::finish`] not for long; what went wrong is said. The address of a webhook is a secret: nothing says more of it than its host.
//!
//! It deliberately keeps no notice for later: who was not reached learns how the run ended from its record.

mod hook;
mod mail;
pub mod secret;
pub mod slack;

pub use hook::{Hook, HookForm, SIGNATURE, signature};
pub use mail::Mailer;

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// So long a receiver has for one notice, attempts and all.
const SEND_AT_MOST: Duration = Duration::from_secs(5);

/// A receiver that wants to be left alone for longer is: there is no time for a second attempt.
const PAUSE_AT_MOST: Duration = Duration::from_secs(2);

/// So long the end of a run waits for receivers.
const FINISH_AT_MOST: Duration = Duration::from_secs(6);

/// So many notices wait for a receiver; one more is dropped, and that is said.
const QUEUE_MAX: usize = 8;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A run begins to fetch.
    Start,
    /// How far it is.
    Progress,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It ended well, or was stopped, and somebody should look.
    Warning,
    /// Somebody tries whether notices arrive.
    Test,
}

impl NoticeKind {
    /// All that can be chosen from.
    pub const CHOICES: [NoticeKind; 5] = [
        NoticeKind::Start,
        NoticeKind::Progress,
        NoticeKind::Success,
        NoticeKind::Failure,
        NoticeKind::Warning,
    ];

    /// Returns its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeKind::Start => "start",
            NoticeKind::Progress => "progress",
            NoticeKind::Success => "success",
            NoticeKind::Failure => "failure",
            NoticeKind::Warning => "warning",
            NoticeKind::Test => "test",
        }
    }
}

impl FromStr for NoticeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<NoticeKind, String> {
        let found = NoticeKind::CHOICES
            .into_iter()
            .find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            let names = NoticeKind::CHOICES.map(NoticeKind::as_str);
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

/// Something that is told to people.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// What it is about.
    pub event: NoticeKind,
    /// One line that says it.
    pub title: String,
    /// When it was written.
    pub time: Timestamp,
    /// Names and values, in the order in which they are shown.
    pub fields: Vec<(String, String)>,
    /// Lines of text: errors, names.
    pub details: Vec<String>,
    /// For programs: the record of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<crate::runs::RunRecord>,
}

impl Notice {
    /// Makes one of a title.
    #[must_use]
    pub fn new(event: NoticeKind, title: &str, time: Timestamp) -> Notice {
        Notice {
            event,
            title: title.to_owned(),
            time,
            fields: Vec::new(),
            details: Vec::new(),
            run: None,
        }
    }

    /// Adds a name and a value.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<String>) -> Notice {
        self.fields.push((name.to_owned(), value.into()));
        self
    }
}

/// A notice did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SendError {
    /// What went wrong, without any secret.
    what: String,
    /// What to do.
    remedy: String,
    /// Whether another attempt may do better, and after how long.
    again_after: Option<Duration>,
}

impl SendError {
    fn new(what: impl Into<String>, remedy: &str) -> SendError {
        SendError {
            what: what.into(),
            remedy: remedy.to_owned(),
            again_after: None,
        }
    }

    fn passing(mut self, after: Duration) -> SendError {
        self.again_after = Some(after);
        self
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Somebody who gets notices.
pub enum Channel {
    /// Over HTTP: Slack, or a webhook of any sort.
    Hook(Hook),
    /// By mail.
    Mail(Box<Mailer>),
}

impl Channel {
    /// Names it, without any secret.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Channel::Hook(hook) => hook.name(),
            Channel::Mail(_) => "mail",
        }
    }

    /// Says where it leads, without any secret.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Channel::Hook(hook) => hook.host(),
            Channel::Mail(mailer) => mailer.place(),
        }
    }

    /// Whether it gets notices of a kind: mail is for what one wants to know the next day.
    fn takes(&self, kind: NoticeKind) -> bool {
        let is_passing = [NoticeKind::Start, NoticeKind::Progress].contains(&kind);
        !(is_passing && matches!(self, Channel::Mail(_)))
    }

    /// Sends a notice, with a second attempt if the first one failed of something that may pass; returns what came back.
    ///
    /// # Errors
    /// If it did not arrive within some seconds.
    pub async fn send(&self, notice: &Notice) -> Result<String, SendError> {
        let sending = async {
            match self.send_once(notice).await {
                Err(SendError {
                    again_after: Some(pause),
                    ..
                }) if pause <= PAUSE_AT_MOST => {
                    tokio::time::sleep(pause).await;
                    self.send_once(notice).await
                }
                outcome => outcome,
            }
        };
        let outcome = tokio::time::timeout(SEND_AT_MOST, sending).await;
        outcome.unwrap_or_else(|_| {
            let what = format!("no answer within {} s (timeout)", SEND_AT_MOST.as_secs());
            Err(SendError::new(
                what,
                "check that the address can be reached from here, and its proxy",
            ))
        })
    }

    async fn send_once(&self, notice: &Notice) -> Result<String, SendError> {
        match self {
            Channel::Hook(hook) => hook.send(notice).await,
            Channel::Mail(mailer) => mailer.send(notice).await,
        }
    }
}

/// Hears what went wrong with a notice.
pub type Complain = Arc<dyn Fn(String) + Send + Sync>;

/// Sends notices beside whatever else is done.
pub struct Notifier {
    queues: Mutex<Vec<Queue>>,
    sending: Mutex<JoinSet<()>>,
    kinds: BTreeSet<NoticeKind>,
    complain: Complain,
}

struct Queue {
    channel: Arc<Channel>,
    notices: mpsc::Sender<Arc<Notice>>,
}

impl Notifier {
    /// Makes one for channels that get the notices of some kinds.
    #[must_use]
    pub fn new(
        channels: Vec<Channel>,
        kinds: BTreeSet<NoticeKind>,
        complain: Complain,
    ) -> Notifier {
        let mut sending = JoinSet::new();
        let mut queues = Vec::new();
        for channel in channels.into_iter().map(Arc::new) {
            let (notices, waiting) = mpsc::channel(QUEUE_MAX);
            // Each for itself: one that hangs holds up no other.
            sending.spawn(send_all(channel.clone(), waiting, complain.clone()));
            queues.push(Queue { channel, notices });
        }
        Notifier {
            queues: Mutex::new(queues),
            sending: Mutex::new(sending),
            kinds,
            complain,
        }
    }

    /// Sends a notice to all who get notices of its kind. It never waits.
    pub fn send(&self, notice: Notice) {
        if !self.kinds.contains(&notice.event) {
            return;
        }
        let notice = Arc::new(notice);
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for Queue { channel, notices } in queues.iter() {
            if channel.takes(notice.event) && notices.try_send(notice.clone()).is_err() {
                (self.complain)(format!(
                    "Failed to send {} notification: {QUEUE_MAX} others are still waiting for an answer",
                    channel.name()
                ));
            }
        }
    }

    /// Waits until all were sent, but not for long. What is sent later goes nowhere.
    pub async fn finish(&self) {
        let queues =
            std::mem::take(&mut *self.queues.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sending =
            std::mem::take(&mut *self.sending.lock().unwrap_or_else(PoisonError::into_inner));
        // Whose queue is gone ends when it is empty.
        drop(queues);
        let all = async { while sending.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_AT_MOST, all).await.is_err() {
            (self.complain)(
                "Failed to send a notification: its receiver did not answer in time (timeout)"
                    .to_owned(),
            );
        }
    }
}

async fn send_all(
    channel: Arc<Channel>,
    mut waiting: mpsc::Receiver<Arc<Notice>>,
    complain: Complain,
) {
    while let Some(notice) = waiting.recv().await {
        match channel.send(&notice).await {
            Ok(_) => tracing::info!(
                "Sent {} notification: {}",
                channel.name(),
                notice.event.as_str()
            ),
            Err(error) => complain(format!(
                "Failed to send {} notification: {error}; {}",
                channel.name(),
                error.remedy()
            )),
        }
    }
}

/// Cuts a text to so many UTF-16 units, the widest way in which a receiver may count; what is cut ends in an ellipsis.
fn cut(text: &str, units_max: usize) -> String {
    if text.encode_utf16().count() <= units_max {
        return text.to_owned();
    }
    let mut units = 1;
    let mut found = String::new();
    for character in text.chars() {
        units += character.len_utf16();
        if units > units_max {
            break;
        }
        found.push(character);
    }
    found.push('…');
    found
}
