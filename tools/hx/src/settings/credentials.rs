//! Keys that were given in a store URL, kept in a private file of ours instead of the configuration file.
//!
//! What must hold: the file is readable by its owner only, from the moment it exists; a damaged file is an error and is
//! never overwritten by an empty one; nothing of it reaches a message.
//!
//! It deliberately holds no other credentials: profiles, roles and the environment stay where they are.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use console::{Exit, Failure};
use serde::{Deserialize, Serialize};
use store::{StoreUrl, UrlSecrets};

use super::Paths;
use super::paths::create_private_dir;

/// The form of the file this program writes.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    stores: Vec<SavedKeys>,
}

#[derive(Serialize, Deserialize)]
struct SavedKeys {
    /// The URL without secrets.
    store: String,
    access_key: String,
    secret_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
}

impl SavedKeys {
    fn is_for(&self, url: &StoreUrl) -> bool {
        StoreUrl::from_str(&self.store).is_ok_and(|saved| saved.same_place(url))
    }
}

/// Returns the URL with the keys kept for it, unless it brings its own or there are none.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn attach(paths: &Paths, url: StoreUrl) -> Result<StoreUrl, Failure> {
    if url.secrets().is_some() {
        return Ok(url);
    }
    Ok(match read(paths, &url)? {
        Some(secrets) => url.with_secrets(secrets),
        None => url,
    })
}

/// Returns the keys kept for a store.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn read(paths: &Paths, url: &StoreUrl) -> Result<Option<UrlSecrets>, Failure> {
    let keys = load(&paths.store_credentials())?
        .into_iter()
        .find(|keys| keys.is_for(url));
    Ok(keys.map(|keys| UrlSecrets::new(keys.access_key, keys.secret_key, keys.session_token)))
}

/// Keeps the keys of a URL that brings some, in place of older ones for the same store. One without keys changes nothing.
///
/// # Errors
/// If the file is damaged, or cannot be read or written.
pub fn write(paths: &Paths, url: &StoreUrl) -> Result<(), Failure> {
    let Some(secrets) = url.secrets() else {
        return Ok(());
    };
    let path = paths.store_credentials();
    let mut stores = load(&path)?;
    stores.retain(|keys| !keys.is_for(url));
    stores.push(SavedKeys {
        store: url.to_config_string(),
        access_key: secrets.access_key().to_string(),
        secret_key: secrets.secret_key().to_string(),
        session_token: secrets.session_token().map(str::to_string),
    });
    save(paths, &path, stores)
}

/// Removes the keys kept for a store; tells whether there were any.
///
/// # Errors
/// If the file is damaged, or cannot be read or written.
pub fn forget(paths: &Paths, url: &StoreUrl) -> Result<bool, Failure> {
    let path = paths.store_credentials();
    let mut stores = load(&path)?;
    let n_before = stores.len();
    stores.retain(|keys| !keys.is_for(url));
    let found = stores.len() < n_before;
    if found {
        save(paths, &path, stores)?;
    }
    Ok(found)
}

/// Tells whether others than the owner may read the file, which `hx config validate` and `diagnose` report.
#[must_use]
pub fn is_exposed(paths: &Paths) -> bool {
    std::fs::metadata(paths.store_credentials())
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn load(path: &Path) -> Result<Vec<SavedKeys>, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::io("read", path, &error)),
    };
    // The parser's own words are left out: they could quote a key.
    let saved: Saved = serde_json::from_slice(&bytes)
        .map_err(|_| damaged(path, "it is not the JSON that hx writes"))?;
    if saved.version > VERSION {
        return Err(damaged(path, "a newer hx wrote it"));
    }
    Ok(saved.stores)
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Config,
        format!("cannot use the stored credentials in {}", path.display()),
    )
    .cause(why)
    .kind("config")
    .hint("move the file away, then run `hx sync init --store` with the keys in the URL again")
}

fn save(paths: &Paths, path: &Path, stores: Vec<SavedKeys>) -> Result<(), Failure> {
    let dir = paths.keys_dir();
    create_private_dir(&dir).map_err(|error| Failure::io("create the directory", &dir, &error))?;
    let bytes = serde_json::to_vec_pretty(&Saved {
        version: VERSION,
        stores,
    })
    .map_err(|error| Failure::wrap(Exit::Failed, "cannot put the credentials into JSON", &error))?;
    store::file::atomic_write_private(path, &bytes)
        .map_err(|error| Failure::io("write", path, &error))
}
