//! Carrying a mirror across an air gap: what the far side lacks, in files that fit its media, signed.
//!
//! A bundle is a directory: `bundle.json` says what is in it, `bundle.json.sig` is an Ed25519 signature (RFC 8032) over those very bytes, and
//! `part-0000` and so on hold all objects one after the other, cut at the size of the media.
//!
//! What must hold: nothing of a bundle is believed before its signature fits a key that the far side trusts; no byte of it is stored before
//! its digest was compared; the far side never goes back to an older state by an import, never to one that it has gone back from, never over to
//! another mirror unless that is said, and never to one of which it lacks something.
//!
//! It deliberately hides nothing: bottles are public. Who must not see which ones a site uses has to encrypt the media.

mod export;
mod import;
mod keys;
mod reading;

pub use export::{ExportOptions, Exported, export};
pub use import::{ImportOptions, Imported, import};
pub use keys::{SigningKey, TrustedKey};

use crate::log::{GenerationId, LogError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use store::StoreError;
use transfer::Digest;

/// The version of the form of a bundle.
const FORMAT: u32 = 1;

/// The file that says what is in a bundle.
pub const INDEX: &str = "bundle.json";

/// The signature of that file.
const SIGNATURE: &str = "bundle.json.sig";

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleIndex {
    /// The version of this form.
    pub format: u32,
    /// The generation that the far side must have, unless the bundle holds everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The generation that the far side gets. Its number is that of the bundle: a mirror gives none out twice.
    pub generation: String,
    /// Names the mirror that made the generation; nothing if an earlier program made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// The objects, in the order of the parts: blobs, manifests, the generation, files of the API.
    pub objects: Vec<BundleObject>,
    /// The parts, in order.
    pub parts: Vec<BundlePart>,
}

/// One object of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleObject {
    /// Its key in the mirror.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Digest,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundlePart {
    /// Its name.
    pub file: String,
    /// How many bytes it has.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A bundle cannot be made or taken in.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The mirror's store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mirror's log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file failed.
    #[error("{path} cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// There is nothing to carry.
    #[error("nothing is mirrored, so there is nothing to carry")]
    Nothing,
    /// The generation that is to be the start is not there.
    #[error("generation {0} is not there any more")]
    NoSuchGeneration(String),
    /// Another bundle lies where this one is to go.
    #[error("{dir} holds a bundle of {what} already")]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// What that one carries.
        what: String,
    },
    /// Two runs at once took the same number.
    #[error("two runs at once made generations of that number: {}", .0.join(" and "))]
    SeveralGenerations(Vec<String>),
    /// What is to be carried is damaged here.
    #[error("{key} does not have the digest that the generation names")]
    DamagedHere {
        /// The object.
        key: String,
    },
    /// Nobody whom this side trusts signed it.
    #[error("the bundle is not signed with a key that is trusted here")]
    ForeignSignature,
    /// A key file is none.
    #[error("{path} is no Ed25519 key of homebrew-sync")]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The bundle is not of a form that is known.
    #[error("the bundle's {INDEX} is not of a form that is known: {0}")]
    Form(String),
    /// A part is missing, cut or damaged.
    #[error("{file} is {what}")]
    Part {
        /// The part.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// Copying could not go on.
    #[error("the bottles could not be stored")]
    Fetch(#[from] crate::sync::SyncError),
    /// A bottle could not be stored.
    #[error("a bottle of the bundle could not be stored: {what}")]
    NotStored {
        /// What failed.
        what: String,
    },
    /// It was asked to stop.
    #[error("stopped before everything was stored")]
    Stopped,
    /// It would lead back.
    #[error("the mirror here has generation {here}, which is not older than the bundle's {theirs}")]
    Downgrade {
        /// The current generation here.
        here: GenerationId,
        /// The bundle's.
        theirs: GenerationId,
    },
    /// It was taken in before, or a later one was, and this side has gone back from it.
    #[error(
        "this side has taken in generation {highest} of that mirror before, and gone back from it"
    )]
    TakenBefore {
        /// The one of the highest number.
        highest: GenerationId,
    },
    /// Another mirror made it.
    #[error(
        "the mirror here was carried from the mirror {here}, and the bundle is of the mirror {theirs}"
    )]
    OtherMirror {
        /// The one that this side follows.
        here: String,
        /// The bundle's.
        theirs: String,
    },
    /// It builds on what this side does not have.
    #[error(
        "{missing} objects of the bundle's generation are neither in it nor here, such as {example}"
    )]
    Gap {
        /// How many.
        missing: u64,
        /// One of them.
        example: String,
    },
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> BundleError {
    let path = path.to_owned();
    move |error| BundleError::File {
        path: path.clone(),
        error,
    }
}
