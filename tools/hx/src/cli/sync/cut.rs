//! A store URL that the shell cut at its `&`: an unquoted one ends the command and puts it into the background.
//!
//! What must hold: nothing is refused but a URL that ends after its endpoint, in a command that an `&` itself put into the background;
//! that a whole script runs there, that nobody sits at a terminal or that no credentials are at hand says nothing about the URL.
//!
//! What it deliberately does not do: know what was typed. `--whole-url` says that nothing is missing.

use console::{Exit, Failure, Ui};
use store::StoreUrl;

/// Refuses a URL that is most likely the beginning of one.
pub(super) fn refuse(url: &StoreUrl, ui: &Ui) -> Result<(), Failure> {
    if !url.looks_cut_at_ampersand() || !was_put_into_background(ui) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        "the store URL looks as if it was cut at its `&`: the shell takes an unquoted `&` for the end of the command",
    )
    .kind("cut-url")
    .hint(format!(
        "Quote it: hx sync init --store {}. If nothing is missing, add --whole-url.",
        url.quoted_example()
    )))
}

/// Whether an `&` after this very command put it into the background.
///
/// With job control it then leads a group of its own, which the terminal does not listen to; in a script that runs in the background
/// the script's shell leads it. Without job control, POSIX has the shell give the command /dev/null for input and let it ignore SIGINT
/// and SIGQUIT. A program that merely has no input (cron, a pipeline's runner) does not ignore these; in a script that runs in the
/// background the script's shell ignores them as well.
fn was_put_into_background(ui: &Ui) -> bool {
    if rustix::termios::isatty(std::io::stdin()) {
        return !ui.can_prompt() && nix::unistd::getpgrp() == nix::unistd::getpid();
    }
    // The shell may have ended by now; who took its place as the parent says nothing.
    let parent = nix::unistd::getppid();
    let shell_ignores = is_of_this_session(parent) && ignores_keyboard(&parent.to_string());
    has_no_input() && ignores_keyboard("self") && !shell_ignores
}

/// Whether a process is of this one's session; not if it is outside of this PID namespace, where nothing can be learnt about it.
fn is_of_this_session(process: nix::unistd::Pid) -> bool {
    // As an argument 0 means the caller itself.
    if process.as_raw() == 0 {
        return false;
    }
    let own = nix::unistd::getsid(None);
    matches!((own, nix::unistd::getsid(Some(process))), (Ok(own), Ok(other)) if own == other)
}

fn has_no_input() -> bool {
    use std::os::unix::fs::MetadataExt;
    let null = std::fs::metadata("/dev/null").map(|null| null.rdev());
    let input = rustix::fs::fstat(std::io::stdin()).map(|input| input.st_rdev);
    matches!((null, input), (Ok(null), Ok(input)) if null == input)
}

/// Whether a process ignores both SIGINT and SIGQUIT; false where the system does not tell.
fn ignores_keyboard(process: &str) -> bool {
    const INT_AND_QUIT: u64 = 0b110;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & INT_AND_QUIT == INT_AND_QUIT)
}
