//! `sync --external-hash`: the hash file of another tool, from wherever that keeps it.
//!
//! What must hold: a file that is named and cannot be read stops the run; it is never taken for an empty one.

use super::mirror::tuning;
use crate::hashfile::HashFile;
use console::{Env, Exit, Failure, FailureExt};
use store::{Environment, Store, StoreKind, StoreUrl};
use url::Url;

const VARIABLE: &str = "HOMEBREW_SYNC_EXTERNAL_HASH";

/// The largest file that is taken, in bytes; all of Homebrew comes to some ten million.
const SIZE_MAX: u64 = 256 << 20;

/// Reads the file that is named, if one is.
pub(super) async fn read(typed: Option<&str>, env: &Env) -> Result<Option<HashFile>, Failure> {
    let Some(place) = typed.or_else(|| env.get(VARIABLE)) else {
        return Ok(None);
    };
    let bytes = match place.split_once("://") {
        Some(("http" | "https", _)) => download(place, env).await?,
        _ => from_store(place, env).await?,
    };
    let file = HashFile::parse_external(&bytes).map_err(|error| {
        Failure::from_error(Exit::Corrupt, &error)
            .context(format!("{} cannot be used", shown(place)))
            .hint(
                "it should be a bottles_hash.json; leave --external-hash away to go on without it",
            )
    })?;
    Ok(Some(file))
}

/// An address without what may be secret in it.
fn shown(place: &str) -> &str {
    place.split_once('?').map_or(place, |(before, _)| before)
}

async fn download(place: &str, env: &Env) -> Result<Vec<u8>, Failure> {
    let url: Url = place
        .parse()
        .or_fail(Exit::Config, format!("{:?} is no address", shown(place)))?;
    let client = store::http_client(&url, &tuning(1), &Environment::from(env));
    let failed = |error: &reqwest::Error| {
        Failure::new(Exit::Network, format!("{} could not be read", shown(place)))
            .with_causes(std::error::Error::source(error))
            .hint("check the address, or leave --external-hash away")
    };
    let answer = client.map_err(Failure::from)?.get(url).send().await;
    let mut answer = answer.map_err(|error| failed(&error))?;
    if !answer.status().is_success() {
        let text = format!(
            "{} could not be read: the answer is {}",
            shown(place),
            answer.status()
        );
        return Err(Failure::new(Exit::Failed, text)
            .hint("check the address, or leave --external-hash away"));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > SIZE_MAX {
            return Err(Failure::new(
                Exit::Failed,
                format!("{} is too large for a hash file", shown(place)),
            ));
        }
    }
    Ok(bytes)
}

/// The last part of the path is the key; what is before it is the store.
async fn from_store(place: &str, env: &Env) -> Result<Vec<u8>, Failure> {
    let (path, query) = place
        .split_once('?')
        .map_or((place, None), |(path, query)| (path, Some(query)));
    let like = "write it like s3://BUCKET/bottles_hash.json?region=eu-central-1, /srv/bottles_hash.json or https://HOST/bottles_hash.json";
    let wrong = || Failure::config(format!("{:?} names no hash file", shown(place))).hint(like);
    let (folder, key) = path.rsplit_once('/').unwrap_or((".", path));
    if key.is_empty() || folder.ends_with(":/") {
        return Err(wrong());
    }
    let folder = if folder.is_empty() { "/" } else { folder };
    let text = match query {
        Some(query) => format!("{folder}?{query}"),
        None => folder.to_owned(),
    };
    let url: StoreUrl = text
        .parse()
        .or_fail(Exit::Config, format!("{:?} is no store", shown(place)))
        .map_err(|failure| failure.hint(like))?;
    // Nothing of another tool's folder is touched: a store's own folder would be.
    if let (StoreKind::Folder, Some(folder)) = (url.kind(), url.folder()) {
        let file = folder.join(key);
        return std::fs::read(&file).map_err(|error| {
            let hint = "check the path, or leave --external-hash away to go on without it";
            super::failures::hinted(Failure::io("read", &file, &error), hint)
        });
    }
    let store = Store::open(&url, &tuning(1), &Environment::from(env)).await;
    let bytes = store
        .map_err(Failure::from)?
        .get(key)
        .await
        .map_err(|error| super::failures::of_store(&error))?;
    Ok(bytes.to_vec())
}
