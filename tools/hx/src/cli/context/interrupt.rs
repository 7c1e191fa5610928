//! Ctrl-C: a command stops soon, also in the middle of work that does not listen, and between two pieces of work.
//!
//! What must hold: from the first work on, each Ctrl-C ends the process, since the runtime takes it from the system once and for all;
//! the exit code is 130 and one failure is printed; the terminal is left as it was, also when a passphrase was being asked for.
//! Nothing needs to be undone, since every command can be cut off at any instant.
//!
//! What it deliberately does not do: end the work gently. A long transaction would keep the person waiting.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use console::{Exit, Failure, Ui};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// So long the work may go on after Ctrl-C before the process ends without it.
const PATIENCE: Duration = Duration::from_millis(200);

/// So long the failure may take to be printed: whoever reads our output may have stopped reading.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The watch of this process, or that it could not be set.
static WATCH: OnceLock<Option<Watch>> = OnceLock::new();

/// Who ends the process: nobody yet, the command itself, or the watch.
static ENDS: AtomicU8 = AtomicU8::new(NOBODY);
const NOBODY: u8 = 0;
const COMMAND: u8 = 1;
const WATCHER: u8 = 2;

/// Whether there is work that may hear of it by itself.
static WORKING: AtomicBool = AtomicBool::new(false);

struct Watch;

/// Runs the work, or ends it, or the whole process, at Ctrl-C.
pub(super) async fn interruptible<T>(
    work: impl Future<Output = Result<T, Failure>>,
    ui: Ui,
) -> Result<T, Failure> {
    WATCH.get_or_init(|| Watch::begin(ui));
    WORKING.store(true, Ordering::SeqCst);
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    WORKING.store(false, Ordering::SeqCst);
    let Some(outcome) = outcome else {
        let was = ENDS.compare_exchange(NOBODY, COMMAND, Ordering::SeqCst, Ordering::SeqCst);
        if was == Err(WATCHER) {
            // The watch was faster, and the process is about to end.
            std::future::pending::<()>().await;
        }
        return Err(interrupted());
    };
    outcome
}

impl Watch {
    /// Watches from a thread of its own for as long as the process lives.
    fn begin(ui: Ui) -> Option<Watch> {
        // A prompt for a passphrase turns the echo off, and nobody but us would turn it on again.
        let terminal = tcgetattr(std::io::stdin()).ok();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let (ready, is_ready) = mpsc::channel();
        std::thread::Builder::new()
            .name("interrupt".into())
            .spawn(move || runtime.block_on(watch(ui, terminal, ready)))
            .ok()?;
        is_ready.recv().ok()?;
        Some(Watch)
    }
}

async fn watch(ui: Ui, terminal: Option<Termios>, ready: mpsc::Sender<()>) {
    let kind = tokio::signal::unix::SignalKind::interrupt();
    let Ok(mut signals) = tokio::signal::unix::signal(kind) else {
        return;
    };
    let _ = ready.send(());
    let mut was_heard = false;
    while signals.recv().await.is_some() {
        if WORKING.load(Ordering::SeqCst) {
            tokio::time::sleep(PATIENCE).await;
        }
        let ours = ENDS.compare_exchange(NOBODY, WATCHER, Ordering::SeqCst, Ordering::SeqCst);
        if ours.is_ok() {
            end(ui, terminal);
            return;
        }
        // Once more, while the command ends by itself: the person waits no longer.
        if was_heard {
            std::process::exit(Exit::Interrupted.code().into());
        }
        was_heard = true;
    }
}

/// Ends the process without the work.
fn end(ui: Ui, terminal: Option<Termios>) {
    if let Some(terminal) = terminal {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &terminal);
    }
    let (told, is_told) = mpsc::channel();
    std::thread::spawn(move || {
        ui.finish(Err(interrupted()));
        let _ = told.send(());
    });
    let _ = is_told.recv_timeout(LAST_WORDS);
    std::process::exit(Exit::Interrupted.code().into());
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
        .kind("interrupted")
        .hint("Nothing is lost. Run the same command again: it goes on where it stopped.")
}
