//! `homebrew-sync test-permissions`: each thing that a mirror does with its store, tried below its own prefix.
//!
//! What must hold: what is refused is named as the permission that is missing; what was written is removed again, if that is allowed.

use super::mirror::Place;
use crate::log::OWN;
use console::{Env, Exit, Failure, Table, Ui, human};
use futures::StreamExt;
use serde_json::json;
use std::time::{Duration, Instant};
use store::{Attributes, ErrorKind, Store, StoreError, StoreKind, Verdict};

/// How one try went.
struct Tried {
    what: &'static str,
    permission: &'static str,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Allowed,
    Denied(StoreError),
    Failed(StoreError),
    /// It could not be tried, or nothing needs it.
    Note(&'static str),
}

impl Tried {
    fn word(&self) -> &'static str {
        match &self.outcome {
            Outcome::Allowed => "allowed",
            Outcome::Denied(_) => "denied",
            Outcome::Failed(_) => "failed",
            Outcome::Note(_) => "not tried",
        }
    }

    fn why(&self) -> String {
        match &self.outcome {
            Outcome::Allowed => String::new(),
            Outcome::Denied(error) | Outcome::Failed(error) => error.to_string(),
            Outcome::Note(note) => (*note).to_owned(),
        }
    }
}

/// Runs `test-permissions`.
pub(super) async fn run(place: &Place, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let store = place.open(env).await?;
    let url = place.url(env)?;
    let tried = try_all(&store).await;
    let is_folder = url.kind() == StoreKind::Folder;
    let permission = |tried: &Tried| match is_folder {
        true => "the folder's owner and mode",
        false => tried.permission,
    };
    let missing: Vec<&Tried> = tried
        .iter()
        .filter(|tried| matches!(tried.outcome, Outcome::Denied(_)))
        .collect();
    let policy = url.bucket().map(policy);
    let policy = policy.filter(|_| !missing.is_empty());
    if ui.is_json() {
        let rows: Vec<_> = tried
            .iter()
            .map(|tried| json!({"action": tried.what, "permission": permission(tried), "outcome": tried.word(), "why": tried.why(), "ms": tried.took.as_secs_f64() * 1000.0}))
            .collect();
        ui.json(&json!({"store": store.describe(), "actions": rows, "policy": policy}));
    } else {
        let mut table = Table::new(["action", "needs", "outcome", "time", "why"]);
        for tried in &tried {
            table.row([
                tried.what.to_owned(),
                permission(tried).to_owned(),
                tried.word().to_owned(),
                human::duration(tried.took),
                tried.why(),
            ]);
        }
        ui.out(table.render());
        if let Some(policy) = &policy {
            ui.out(format!("\nThe policy that a mirror needs:\n\n{policy}"));
        }
    }
    if !missing.is_empty() {
        let mut names: Vec<&str> = missing.iter().map(|tried| permission(tried)).collect();
        names.dedup();
        let failure = Failure::new(Exit::Denied, format!("not allowed: {}", names.join(", ")));
        return Err(failure.hint(match is_folder {
            true => "check who owns the folder and its permissions, then run this again",
            false => "attach the policy above to the user or role, then run this again",
        }));
    }
    let failed = tried.iter().find_map(|tried| match &tried.outcome {
        Outcome::Failed(error) => Some(error),
        _ => None,
    });
    if let Some(error) = failed {
        return Err(Failure::from(error).context("the permissions could not all be tried"));
    }
    ui.out(format!(
        "{} can be written, read, listed and cleared.",
        store.describe()
    ));
    Ok(Exit::Ok)
}

/// What the store's own policy allows, and giving up an upload in parts.
fn policy(bucket: &str) -> String {
    let put = "\"s3:PutObject\",";
    let both = format!("{put}\n        \"s3:AbortMultipartUpload\",");
    store::policy_json(bucket).replace(put, &both)
}

async fn try_all(store: &Store) -> Vec<Tried> {
    let mut random = [0; 8];
    // Without it two who try at once may take each other's object away, which shows as a failure.
    let _ = getrandom::fill(&mut random);
    let folder = format!("{OWN}/probe-{:016x}", u64::from_le_bytes(random));
    let (small, large) = (format!("{folder}/object"), format!("{folder}/parts"));
    let mut found = Vec::new();
    let text = "may be deleted at any time\n";
    let put = tried("put", "s3:PutObject", store.put(&small, text.into())).await;
    let is_written = matches!(put.outcome, Outcome::Allowed);
    found.push(put);
    found.push(match is_written {
        true => tried("get", "s3:GetObject", store.get(&small)).await,
        // To those who may not list, an object that is not there looks forbidden.
        false => note("get", "s3:GetObject", "there is nothing to get"),
    });
    found.push(tried("list", "s3:ListBucket", first(store, &folder)).await);
    found.push(tried("upload in parts", "s3:PutObject", in_parts(store, &large)).await);
    let aborted = tried(
        "abort an upload",
        "s3:AbortMultipartUpload",
        abort(store, &large),
    );
    found.push(aborted.await);
    found.push(tried("delete", "s3:DeleteObject", store.delete(&[small, large])).await);
    found.push(conditional(store).await);
    found
}

async fn first(store: &Store, folder: &str) -> Result<(), StoreError> {
    let mut entries = store.list_stream(folder);
    while let Some(entry) = entries.next().await {
        entry?;
    }
    Ok(())
}

async fn in_parts(store: &Store, key: &str) -> Result<(), StoreError> {
    let upload = store.multipart(key, &Attributes::default()).await?;
    let sent = async {
        upload
            .put_part(0, "may be deleted at any time\n".into(), None)
            .await?;
        upload.complete().await
    };
    match sent.await {
        Ok(_) => Ok(()),
        Err(error) => {
            // What went wrong first is what is told.
            let _ = upload.abort().await;
            Err(error)
        }
    }
}

async fn abort(store: &Store, key: &str) -> Result<(), StoreError> {
    let upload = store.multipart(key, &Attributes::default()).await?;
    upload.abort().await
}

/// A mirror relies on no conditional write; whether the store has them is told all the same.
async fn conditional(store: &Store) -> Tried {
    let begun = Instant::now();
    let report = store::probe(store).await;
    let says = match report.capabilities.conditional_create {
        Verdict::Works => "they work; a mirror does without",
        Verdict::Lies => "accepted and not kept to; a mirror does without",
        Verdict::Refused => "refused; a mirror does without",
        Verdict::Unknown => "could not be found out; a mirror does without",
    };
    Tried {
        took: begun.elapsed(),
        ..note("conditional put", "s3:PutObject", says)
    }
}

fn note(what: &'static str, permission: &'static str, note: &'static str) -> Tried {
    Tried {
        what,
        permission,
        took: Duration::ZERO,
        outcome: Outcome::Note(note),
    }
}

async fn tried<T>(
    what: &'static str,
    permission: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Tried {
    let begun = Instant::now();
    let outcome = match work.await {
        Ok(_) => Outcome::Allowed,
        Err(error) if error.kind() == ErrorKind::Permission => Outcome::Denied(error),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Outcome::Note("the store does not have it")
        }
        Err(error) => Outcome::Failed(error),
    };
    Tried {
        what,
        permission,
        took: begun.elapsed(),
        outcome,
    }
}
