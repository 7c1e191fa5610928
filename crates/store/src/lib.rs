//! Where bytes live: a store URL becomes an object store; errors get a kind, a cause and a remedy.
//!
//! What must hold: nothing above this crate knows whether its bytes lie in a folder, in a bucket or in memory; a listing that
//! fails is an error and never a short list; an object that comes back has the length it was stored with; no text that
//! leaves this crate holds a secret.
//!
//! It deliberately defines no storage trait of its own: [`object_store::ObjectStore`] is the seam where tests and simulators
//! put theirs. It prints nothing and reads no environment variable; only the AWS credential chain, for roles and profiles,
//! reads the process environment by itself.

mod blobs;
mod classify;
mod error;
pub mod file;
mod folder;
mod litter;
mod meter;
mod permissions;
mod probe;
mod references;
#[cfg(feature = "s3")]
mod s3;
mod store;
mod tuning;
mod url;

pub use blobs::{AbandonedUpload, Attributes, Honesty, Multipart, ObjectInfo, Passed, Written};
pub use error::{ErrorKind, StoreError};
pub use folder::Reference;
pub use meter::Usage;
pub use permissions::{
    ACTIONS, PermissionCheck, PermissionOutcome, check_permissions, policy_json,
};
pub use probe::{
    Capabilities, ProbeReport, ProbeStep, RoundTrip, Verdict, check_round_trip, probe,
};
#[cfg(feature = "s3")]
pub use s3::{ColdStorageRule, http_client, secret_http_client};
pub use store::{Compared, Entry, Store, Version};
pub use tuning::{Encryption, Environment, Tuning};
pub use url::{StoreKind, StoreUrl, UrlError, UrlSecrets};
