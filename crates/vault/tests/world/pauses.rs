//! How a simulated device waits before a change of `vault.json` counts.
//!
//! What must hold: as the tool's pause promises, whoever read the file before this device wrote has written by then; unless the world is
//! one where devices stall. Nothing sleeps: whose turn it is decides when a pause is over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::task::Poll;

use testkit::{FaultyStore, Rng};

/// Who read before may have one request under way, and the tool waits twice as long as its own look and write took.
const OPERATIONS: u64 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Works,
    Pauses,
}

/// The pauses of a world.
pub(super) struct Pauses {
    store: FaultyStore,
    /// Who is at work.
    doing: RefCell<BTreeMap<usize, Doing>>,
    /// In a world where devices stall: how long each pause is too short.
    stalls: Option<RefCell<Rng>>,
}

impl Pauses {
    pub(super) fn new(store: FaultyStore, stalls: Option<Rng>) -> Self {
        Self {
            store,
            doing: RefCell::default(),
            stalls: stalls.map(RefCell::new),
        }
    }

    pub(super) fn begin(&self, device: usize) {
        self.set(device, Doing::Works);
    }

    pub(super) fn end(&self, device: usize) {
        self.doing.borrow_mut().remove(&device);
    }

    pub(super) async fn pause(&self, device: usize) {
        if let Some(rng) = &self.stalls {
            let mut turns = rng.borrow_mut().below(4);
            let over = |_: &mut std::task::Context<'_>| {
                let left = turns.checked_sub(1);
                turns = left.unwrap_or_default();
                left.map_or(Poll::Ready(()), |_| Poll::Pending)
            };
            return std::future::poll_fn(over).await;
        }
        let made = |other: usize| self.store.for_device(other).operations();
        let at_work: Vec<usize> = self.doing.borrow().keys().copied().collect();
        let others = at_work.into_iter().filter(|other| *other != device);
        let since: Vec<(usize, u64)> = others.map(|other| (other, made(other))).collect();
        self.set(device, Doing::Pauses);
        std::future::poll_fn(|_| {
            let doing = self.doing.borrow();
            let mut slow = since.iter().filter(|(other, before)| {
                doing.get(other) == Some(&Doing::Works) && made(*other) < before + OPERATIONS
            });
            match slow.next() {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            }
        })
        .await;
        self.set(device, Doing::Works);
    }

    fn set(&self, device: usize, doing: Doing) {
        self.doing.borrow_mut().insert(device, doing);
    }
}
