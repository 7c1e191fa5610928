//! Ctrl-C: a command stops soon, also in the middle of work that does not listen.
//!
//! What must hold: the exit code is 130 and one failure is printed; the terminal is left as it was, also when a passphrase was being
//! asked for. Nothing needs to be undone, since every command can be cut off at any instant.
//!
//! What it deliberately does not do: end the work gently. A long transaction would keep the person waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use console::{Exit, Failure, Ui};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// So long the work may go on after Ctrl-C before the process ends without it.
const PATIENCE: Duration = Duration::from_millis(200);

/// Runs the work, or ends it, or the whole process, at Ctrl-C.
pub(super) async fn interruptible<T>(
    work: impl Future<Output = Result<T, Failure>>,
    ui: Ui,
) -> Result<T, Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    // A prompt for a passphrase turns the echo off, and nobody but us would turn it on again.
    let terminal = tcgetattr(std::io::stdin()).ok();
    let watch = tokio::spawn(end_without_the_work(ui, terminal, is_over.clone()));
    let outcome = tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    if is_over.swap(true, Ordering::SeqCst) {
        // The watch was faster, and the process is about to end.
        std::future::pending::<()>().await;
    }
    watch.abort();
    outcome
}

async fn end_without_the_work(ui: Ui, terminal: Option<Termios>, is_over: Arc<AtomicBool>) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    tokio::time::sleep(PATIENCE).await;
    if is_over.swap(true, Ordering::SeqCst) {
        return;
    }
    if let Some(terminal) = terminal {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &terminal);
    }
    let exit = ui.finish(Err(interrupted()));
    std::process::exit(exit.code().into());
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
        .kind("interrupted")
        .hint("Nothing is lost. Run the same command again: it goes on where it stopped.")
}
