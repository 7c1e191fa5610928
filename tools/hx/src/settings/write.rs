//! Writes the store into the person's configuration file.
//!
//! What must hold: no secret is written there; every other key and, where the layout allows, every comment stays; a
//! crash leaves the old file or the new one; a link to a file elsewhere (a repository of dot files) stays a link.
//!
//! It deliberately changes one key only: the rest of the file is the person's.

use std::io;
use std::path::PathBuf;

use console::{Exit, Failure, set_key};
use store::StoreUrl;

use super::Paths;
use super::paths::create_private_dir;

/// Sets `sync.store` in the configuration file, without the secrets of the URL; creates the file if there is none.
///
/// # Errors
/// If the file is not valid, or cannot be read or written.
pub fn write_store(paths: &Paths, url: &StoreUrl) -> Result<(), Failure> {
    let path = followed(paths).map_err(|error| Failure::io("find", paths.config_file(), &error))?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::io("read", &path, &error)),
    };
    let changed = set_key(&text, "sync.store", &url.to_config_string()).map_err(|error| {
        Failure::wrap(
            Exit::Config,
            format!("cannot change {}", path.display()),
            &error,
        )
        .kind("config")
        .hint("correct the file (`hx config validate` says what is wrong), or move it away")
    })?;
    if changed == text {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_private_dir(parent)
            .map_err(|error| Failure::io("create the directory", parent, &error))?;
    }
    store::file::atomic_write(&path, changed.as_bytes())
        .map_err(|error| Failure::io("write", &path, &error))
}

/// Returns the file itself where the configured path is a link to it.
fn followed(paths: &Paths) -> io::Result<PathBuf> {
    match paths.config_file().canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(paths.config_file().to_path_buf())
        }
        Err(error) => Err(error),
    }
}
