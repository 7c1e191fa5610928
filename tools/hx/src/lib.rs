//! `hx`: shell history, recorded, searchable, synced end-to-end encrypted with no server.
//!
//! The order of the modules is the way of a command: `cli` reads what was typed, `settings` what was configured, `history` is the
//! database, `codec` and `replica` hand it to the vault, `sync` runs the vault over the store.
//!
//! It deliberately leaves encryption and merging to the `vault` crate and everything about buckets to `store`.

pub mod cli;
pub mod codec;
pub mod history;
pub mod replica;
pub mod settings;
pub mod sync;
