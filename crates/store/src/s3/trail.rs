//! Remembers, for the one operation that a task is running, which of its requests failed and how.
//!
//! What must hold: a request that succeeds when it is sent again leaves nothing behind, so that what is left at the end is
//! what made the operation fail. Operations that run side by side never see each other's requests.
//!
//! It deliberately holds no more than a few answers: an operation that fails does so for one reason.

use super::answer::Answer;
use crate::error::ErrorKind;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

tokio::task_local! {
    static TRAIL: Arc<Mutex<Trail>>;
}

/// More failed requests than this are only counted as failed, not described.
const ANSWERS_MAX: usize = 64;

#[derive(Default)]
struct Trail {
    failed: HashMap<String, Option<Answer>>,
    unreachable: usize,
    interrupted: Option<ErrorKind>,
}

/// What an operation left behind.
pub(crate) struct Traces {
    /// The answer by which the server refused a request that did not succeed later.
    pub(crate) answer: Option<Answer>,
    /// How a body broke off, if one did.
    pub(crate) interrupted: Option<ErrorKind>,
}

/// Runs an operation; returns with its outcome what its requests left behind.
pub(crate) async fn follow<F: Future>(operation: F) -> (F::Output, Traces) {
    let trail = Arc::new(Mutex::new(Trail::default()));
    let outcome = TRAIL.scope(trail.clone(), operation).await;
    let mut trail = trail.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = trail.failed.drain().find_map(|(_, answer)| answer);
    (
        outcome,
        Traces {
            answer,
            interrupted: trail.interrupted,
        },
    )
}

/// Tells whether a request failed before.
pub(super) fn has_failed(request: &str) -> bool {
    with(|trail| trail.failed.contains_key(request)).unwrap_or(false)
}

/// Notes that a request was refused.
pub(super) fn refused(request: &str, answer: Answer) {
    with(|trail| {
        if trail.failed.len() < ANSWERS_MAX {
            trail.failed.insert(request.to_owned(), Some(answer));
        }
    });
}

/// Notes that a request got no answer.
pub(super) fn unanswered(request: &str) {
    with(|trail| trail.failed.insert(request.to_owned(), None));
}

/// Notes that a request succeeded.
pub(super) fn succeeded(request: &str) {
    with(|trail| trail.failed.remove(request));
}

/// Notes that the body of an answer broke off.
pub(super) fn interrupted(request: &str, kind: ErrorKind) {
    with(|trail| {
        trail.interrupted = Some(kind);
        trail.failed.insert(request.to_owned(), None);
    });
}

/// Counts how often the host could not be reached at all in this operation.
pub(super) fn count_unreachable() -> usize {
    with(|trail| {
        trail.unreachable += 1;
        trail.unreachable
    })
    .unwrap_or(1)
}

fn with<T>(work: impl FnOnce(&mut Trail) -> T) -> Option<T> {
    TRAIL
        .try_with(|trail| work(&mut trail.lock().unwrap_or_else(PoisonError::into_inner)))
        .ok()
}
