//! What a run tells of itself while it is under way and when it ends: the bar, the log, notices.
//!
//! What must hold: telling never waits for anybody while the run goes on.

use super::notices::Settings;
use crate::notices::{Notice, NoticeKind, Notifier};
use crate::runs::{RunOutcome, RunRecord};
use console::{Progress, Ui, human};
use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use transfer::{Event, Observer};

/// So many names of what failed are told; records have as many.
const NAMED: usize = 20;

/// What a run tells.
pub(super) struct Telling {
    progress: Progress,
    notifier: Notifier,
    store: String,
    planned: OnceLock<Planned>,
    done: AtomicU64,
    done_bytes: AtomicU64,
}

struct Planned {
    items: u64,
    bytes: u64,
    at: Instant,
}

impl Telling {
    /// Begins to tell.
    pub(super) fn begin(settings: Settings, store: &str, ui: &Ui) -> (Arc<Telling>, Ticking) {
        let every = settings.progress_every;
        let telling = Arc::new(Telling {
            progress: ui.progress(None, "planning"),
            notifier: settings.start(ui),
            store: store.to_owned(),
            planned: OnceLock::new(),
            done: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
        });
        let ticking = telling.clone();
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                ticking.tell_progress();
            }
        });
        (telling, Ticking(ticking))
    }

    fn notice(&self, kind: NoticeKind, title: &str) -> Notice {
        Notice::new(kind, title, Timestamp::now()).field("Mirror", &self.store)
    }

    fn tell_progress(&self) {
        let Some(planned) = self.planned.get() else {
            return;
        };
        let done = self.done.load(Ordering::Relaxed);
        let bytes = self.done_bytes.load(Ordering::Relaxed);
        let notice = self
            .notice(NoticeKind::Progress, "Homebrew sync under way")
            .field(
                "Bottles",
                format!(
                    "{} of {}",
                    human::number(done),
                    human::number(planned.items)
                ),
            )
            .field(
                "Size",
                format!("{} of {}", human::bytes(bytes), human::bytes(planned.bytes)),
            );
        let left = remaining(planned.at.elapsed(), bytes, planned.bytes);
        let left = left.map_or_else(|| "not known yet".to_owned(), human::duration);
        self.notifier.send(notice.field("Remaining", left));
    }

    /// Takes the bar away, and tells no more of progress.
    pub(super) async fn rest(&self, ticking: Ticking) {
        ticking.stop().await;
        self.progress.finish();
    }

    /// Tells how it ended, and waits a little until that has arrived.
    pub(super) async fn end(&self, record: &RunRecord, warnings: &[String]) {
        let (kind, title) = match record.outcome {
            RunOutcome::Published if warnings.is_empty() => {
                (NoticeKind::Success, "Homebrew sync completed")
            }
            RunOutcome::NothingNew if warnings.is_empty() => {
                (NoticeKind::Success, "Homebrew sync: nothing new")
            }
            RunOutcome::Published | RunOutcome::NothingNew => (
                NoticeKind::Warning,
                "Homebrew sync completed, with warnings",
            ),
            RunOutcome::Interrupted => (NoticeKind::Warning, "Homebrew sync stopped"),
            RunOutcome::PublishedIncomplete => {
                (NoticeKind::Warning, "Homebrew sync completed in part")
            }
            _ => (NoticeKind::Failure, "Homebrew sync failed"),
        };
        let mut notice = self
            .notice(kind, title)
            .field("New bottles", human::number(record.fetched))
            .field("Size", human::bytes(record.fetched_bytes))
            .field(
                "Duration",
                record.took().map_or_else(String::new, human::duration),
            )
            .field("Mirrored", human::count(record.bottles, "bottle"))
            .field("Machine", &record.host);
        if let Some(generation) = &record.generation {
            notice = notice.field("Generation", generation);
        }
        if record.removed > 0 {
            notice = notice.field("Removed", human::count(record.removed, "formula"));
        }
        if record.failed > 0 {
            notice = notice.field("Failed", human::number(record.failed));
        }
        notice.details.extend(record.error.clone());
        let remedy = record.remedy.as_ref();
        notice
            .details
            .extend(remedy.map(|remedy| format!("→ {remedy}")));
        let failures = record.failures.iter().take(NAMED);
        let failures = failures.map(|failure| format!("• {}: {}", failure.formula, failure.what));
        notice.details.extend(failures);
        notice.details.extend(warnings.iter().take(NAMED).cloned());
        notice.run = Some(record.clone());
        self.notifier.send(notice);
        self.notifier.finish().await;
    }
}

/// What says again and again how far it is.
pub(super) struct Ticking(tokio::task::JoinHandle<()>);

impl Ticking {
    async fn stop(self) {
        self.0.abort();
        // It was told to end: that is all it can say.
        let _ = self.0.await;
    }
}

/// Tells how long the rest takes, if it goes on as it did.
fn remaining(elapsed: Duration, done: u64, all: u64) -> Option<Duration> {
    if done == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "it is a guess")]
    let share = all.saturating_sub(done) as f64 / done as f64;
    Duration::try_from_secs_f64((elapsed.as_secs_f64() * share).round()).ok()
}

impl Observer for Telling {
    fn event(&self, event: Event) {
        match event {
            Event::Planned { items, bytes } => {
                self.progress.phase("fetching bottles", Some(items));
                let at = Instant::now();
                let is_first = self.planned.set(Planned { items, bytes, at }).is_ok();
                if is_first && items > 0 {
                    let date = Timestamp::now().strftime("%Y-%m-%d");
                    let title = format!("Homebrew sync started, {date}");
                    let notice = self
                        .notice(NoticeKind::Start, &title)
                        .field("Bottles", human::number(items))
                        .field("Size", human::bytes(bytes));
                    self.notifier.send(notice);
                }
            }
            Event::Stored { item, bytes } => {
                tracing::info!(bytes, "Downloaded bottle {item}");
                self.progress.inc(1);
                self.progress.add_bytes(bytes);
                self.done.fetch_add(1, Ordering::Relaxed);
                self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Event::Waiting { why, seconds } => tracing::warn!(seconds, "waiting: {why}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_share_says() {
        let minute = Duration::from_secs(60);
        assert_eq!(remaining(minute, 1, 4), Some(3 * minute));
        assert_eq!(remaining(minute, 4, 4), Some(Duration::ZERO));
        assert_eq!(remaining(minute, 5, 4), Some(Duration::ZERO));
        assert_eq!(remaining(minute, 0, 4), None);
    }
}
