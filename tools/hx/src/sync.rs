//! A sync from end to end: which store, which vault, which key; one at a time; remembered for `status`.
//!
//! What must hold: configuration is written only after the store was tried and the key opened the vault; two syncs of one machine never
//! run at once; whatever happens, what the last sync did or why it failed can be asked for afterwards.
//!
//! What it deliberately does not do: print (the commands do), or know how records travel (the vault does).

mod description;
mod keyfile;
mod lock;
mod observe;
mod past;
mod run;
mod words;

pub use description::Description;
pub use keyfile::KeyFile;
pub use lock::SyncLock;
pub use observe::Watcher;
pub use past::{DayUsage, LastSync, Membership, Month, Past};
pub use run::{
    Link, failure_of, hidden_failure, history_failure, problems_failure, remark, vault_options,
    worst,
};
pub use words::Words;
