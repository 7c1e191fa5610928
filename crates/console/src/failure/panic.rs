//! The last resort: a fault of the program becomes a failure like any other.
//!
//! What must hold: with `--json` stdout is one document even then, and the code is one of the table.
//!
//! What it deliberately does not do: hide the fault. Where it happened is on stderr, as the runtime says it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Failure;
use crate::exit::Exit;

/// Does the work; if it panics, that is a failure.
///
/// # Errors
/// The work's own, or [`Exit::Internal`].
pub fn without_panic(work: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    // What the work has changed is not looked at again: the process ends with this failure.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| Err(failure(cause.as_ref())))
}

fn failure(cause: &(dyn Any + Send)) -> Failure {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason");
    Failure::new(Exit::Internal, "the program has a fault and had to stop")
        .kind("internal")
        .cause(text)
        .hint("Whatever was finished is kept, and it can be run again. Please report what you typed and what is said above; with RUST_BACKTRACE=1 it says more.")
}
