//! `migrate_to_s3`: moves the files of a document application to S3 and back, verified, resumable, reversible.
//!
//! What must hold: a file's bytes are reachable through its row at every instant; nothing is deleted before the other copy was
//! read back and found equal; every step is in the journal before it takes effect.
//!
//! It deliberately leaves copying, the journal and its recovery to the `transfer` crate, and everything about buckets to `store`.

pub mod audit;
pub mod audit_files;
pub mod bent;
pub mod cli;
pub mod db;
pub mod delete;
pub mod digests;
pub mod dry;
pub mod keys;
pub mod ledger;
pub mod leftover;
pub mod listing;
pub mod mapping;
pub mod plan;
pub mod quickstart;
pub mod reconcile;
pub mod report;
pub mod resolve;
pub mod rollback;
pub mod run;
pub mod settings;
pub mod state;
pub mod status;
pub mod storage_test;
pub mod template;
pub mod verify;
pub mod witness;
