//! What a URL leads to, and why not.

use crate::error::{ErrorKind, StoreError};
use crate::tuning::Environment;
use crate::url::{StoreKind, StoreUrl};
use std::path::PathBuf;

/// Finds the folder that a URL names.
pub(super) fn resolve_folder(url: &StoreUrl, env: &Environment) -> Result<PathBuf, StoreError> {
    let url = match env.get("HOME") {
        Some(home) => url.clone().expand_home(std::path::Path::new(home)),
        None => url.clone(),
    };
    match url.folder() {
        Some(folder) if folder.is_absolute() => Ok(folder.to_owned()),
        _ => {
            let cause = "HOME is not set, so '~' means no place";
            Err(
                StoreError::new(ErrorKind::NoBucket, "open", Some(&url.to_string()), cause)
                    .with_headline("the folder is not known")
                    .with_remedy("write the whole path: folder:/PATH"),
            )
        }
    }
}

/// Says why a store cannot be opened by this build.
pub(super) fn unsupported(url: &StoreUrl) -> StoreError {
    let place = url.to_string();
    let (why, remedy) = match url.kind() {
        StoreKind::Gcs => (
            "this build has no client for Google Cloud Storage: it would double the time to compile",
            "use its S3 interface: s3://BUCKET?endpoint=https://storage.googleapis.com with HMAC keys",
        ),
        StoreKind::Azure => (
            "this build has no client for Azure: it would double the time to compile",
            "use an s3:// or folder: store",
        ),
        _ => (
            "this build was made without S3",
            "build it with the feature 's3', or use a folder: store",
        ),
    };
    StoreError::new(ErrorKind::Unsupported, "open", Some(&place), why).with_remedy(remedy)
}
