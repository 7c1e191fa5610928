//! For tests only: S3 servers, PostgreSQL, a faulty store, proxies and fixtures.
//!
//! What must hold: everything listens on loopback and on a port the system chose, stops when it is
//! dropped, and is reproducible from a seed where chance plays a part. A missing tool is a failing
//! test with a sentence on how to get it, never a skipped one.
//!
//! It deliberately knows none of our other crates, so that each of them can be tested with it.

pub mod faulty;
pub mod garage;
pub mod history;
mod host;
pub mod memory;
pub mod moto;
pub mod postgres;
mod process;
pub mod proxy;
pub mod readur;
pub mod rng;
pub mod s3;
pub mod smtpd;
pub mod syncthing;

pub use faulty::{Conditional, CrashPoint, Faults, FaultyStore};
pub use garage::Garage;
pub use memory::MemoryS3;
pub use moto::Moto;
pub use postgres::{Database, Postgres, PostgresOptions};
pub use process::built_binary;
pub use proxy::{Action, Gate, ProxyOptions, Rule, ScriptedProxy, Seen};
pub use rng::Rng;
pub use s3::{S3Options, S3Process, S3Server};
pub use smtpd::Smtpd;
pub use syncthing::Syncthing;
