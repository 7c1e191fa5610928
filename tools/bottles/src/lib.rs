//! `homebrew-sync`: a mirror of Homebrew's bottles, in a bucket or a folder, that the real `brew` installs from without internet.
//!
//! What must hold: a bottle whose digest is wrong is never published; what clients are told to ask for is there; what an earlier state of
//! the mirror needs stays until nobody needs it.
//!
//! It deliberately leaves copying to `transfer` and everything about buckets to `store`, and changes no file of Homebrew's: they are signed.

pub mod api;
pub mod bundle;
pub mod cli;
pub mod daemon;
pub mod diff;
pub mod doctor;
pub mod flat;
pub mod hashfile;
pub mod log;
pub mod manifest;
pub mod names;
pub mod notices;
pub mod plan;
pub mod platform;
pub mod prune;
pub mod publish;
pub mod rollback;
pub mod runs;
pub mod sample;
pub mod schedule;
pub mod selection;
pub mod serve;
pub mod sync;
pub mod upstream;
