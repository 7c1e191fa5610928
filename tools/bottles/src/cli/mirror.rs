//! Where the mirror is, and opening it.

use super::args::PlaceArgs;
use console::{Env, Exit, Failure};
use std::path::PathBuf;
use store::{Environment, Store, StoreUrl, Tuning};

/// Where things are, once the environment was looked into.
pub(super) struct Place {
    pub(super) store: Option<String>,
    pub(super) state_dir: PathBuf,
}

impl Place {
    pub(super) fn resolve(args: &PlaceArgs, env: &Env) -> Place {
        let store = args.store.clone();
        let typed = args.state_dir.clone();
        let named = || env.get("HOMEBREW_SYNC_STATE_DIR").map(PathBuf::from);
        let state = || {
            env.get("XDG_STATE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = || {
            env.get("HOME")
                .map(|home| PathBuf::from(home).join(".local/state"))
        };
        let default = || {
            let base = state().or_else(home).unwrap_or_else(|| PathBuf::from("."));
            base.join("homebrew-sync")
        };
        Place {
            store: store.or_else(|| env.get("HOMEBREW_SYNC_STORE").map(str::to_owned)),
            state_dir: typed.or_else(named).unwrap_or_else(default),
        }
    }

    /// Opens the mirror's store.
    ///
    /// # Errors
    /// If none is named, it cannot be opened, or it is a folder that is not there: no command makes one, because its disk may only not be mounted.
    pub(super) async fn open(&self, env: &Env) -> Result<Store, Failure> {
        let url = self.url(env)?;
        let tuning = tuning(64);
        let store = Store::open(&url, &tuning, &Environment::from(env)).await?;
        store.check_place().await?;
        Ok(store)
    }

    /// Names the mirror's store, without secrets.
    ///
    /// # Errors
    /// If none is named.
    pub(super) fn named(&self, env: &Env) -> Result<String, Failure> {
        Ok(self.url(env)?.to_string())
    }

    pub(super) fn url(&self, env: &Env) -> Result<StoreUrl, Failure> {
        let Some(text) = &self.store else {
            return Err(Failure::config("it is not said where the mirror is").hint(
                "name a bucket or a folder with --store URL or in HOMEBREW_SYNC_STORE, such as s3://my-mirror?region=eu-central-1 or /srv/mirror",
            ));
        };
        let url = text.parse::<StoreUrl>().map_err(|error| {
            let failure = Failure::wrap(Exit::Config, "the mirror's URL is not understood", &error);
            match text.contains(':') {
                true => failure.hint(error.remedy()),
                // Most likely a folder, as it is seen from here.
                false => failure.hint(format!(
                    "a folder is named by its whole path, so that it means the same from everywhere: --store \"$PWD/{}\"; a bucket like s3://BUCKET/PREFIX?region=REGION",
                    text.trim_start_matches("./")
                )),
            }
        })?;
        Ok(match env.get("HOME") {
            Some(home) => url.expand_home(home.as_ref()),
            None => url,
        })
    }
}

/// Limits for many requests at once.
pub(super) fn tuning(connections: usize) -> Tuning {
    Tuning {
        max_connections: connections,
        concurrent_uploads: connections,
        concurrent_downloads: connections,
        ..Tuning::default()
    }
}
