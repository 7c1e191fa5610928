//! Tries each of the actions that a store needs to be allowed.
//!
//! What must hold: an action counts as denied only if the store said so for that action; what could not be tried is unknown.
//! The probe object is removed if that is allowed.
//!
//! It deliberately asks no policy service: what a policy says and what a bucket does differ.

use crate::error::{ErrorKind, StoreError};
use crate::probe::random;
use crate::store::Store;
use crate::tuning::{Environment, Tuning};
use crate::url::StoreUrl;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// The actions, in the order of the policy.
pub const ACTIONS: [&str; 5] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucket",
    "s3:GetBucketLocation",
];

/// How an action went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionOutcome {
    /// It is allowed.
    Allowed,
    /// The store refused it.
    Denied,
    /// It could not be tried.
    Unknown,
    /// The store does not have it, so nobody needs it.
    NotApplicable,
}

/// One action that was tried.
#[derive(Debug)]
pub struct PermissionCheck {
    /// Its name in a policy.
    pub action: &'static str,
    /// How it went.
    pub outcome: PermissionOutcome,
    /// What the store said, if it did not simply allow it.
    pub error: Option<StoreError>,
    /// How long it took.
    pub took: Duration,
}

/// Tries all five actions; the answer has them in the order of [`ACTIONS`].
pub async fn check_permissions(
    url: &StoreUrl,
    tuning: &Tuning,
    env: &Environment,
) -> Vec<PermissionCheck> {
    match Store::open(url, tuning, env).await {
        Ok(store) => try_all(&store).await,
        Err(error) => {
            let mut error = Some(error);
            let unknown = |action| PermissionCheck {
                action,
                outcome: PermissionOutcome::Unknown,
                error: error.take(),
                took: Duration::ZERO,
            };
            ACTIONS.into_iter().map(unknown).collect()
        }
    }
}

async fn try_all(store: &Store) -> Vec<PermissionCheck> {
    let folder = match random() {
        Ok(random) => format!("probe/{random}"),
        Err(_) => "probe/permissions".to_owned(),
    };
    let key = format!("{folder}/object");
    let put = check(
        "s3:PutObject",
        store.put(&key, Bytes::from_static(b"permission check\n")),
    )
    .await;
    let is_written = put.outcome == PermissionOutcome::Allowed;
    let mut get = check("s3:GetObject", store.get(&key)).await;
    let list = check("s3:ListBucket", store.list(&folder)).await;
    if !is_written
        && get.outcome == PermissionOutcome::Denied
        && list.outcome == PermissionOutcome::Denied
    {
        // To those who may not list, a missing object looks forbidden.
        get.outcome = PermissionOutcome::Unknown;
    }
    let mut delete = check("s3:DeleteObject", store.delete(std::slice::from_ref(&key))).await;
    if !is_written && store.is_folder() {
        // A folder says of what is not there that it is not, whatever is allowed there.
        if let Some(there) = smallest(store).await {
            get = check("s3:GetObject", store.get(&there)).await;
        }
        delete.untried("nothing could be written there that could be removed");
    }
    vec![get, put, delete, list, location(store).await]
}

/// The key of an object that is soon read, if any is there.
async fn smallest(store: &Store) -> Option<String> {
    let all = store.list("").await.ok()?;
    let smallest = all.into_iter().min_by_key(|entry| entry.size);
    smallest.map(|entry| entry.key)
}

impl PermissionCheck {
    /// What looked allowed was not tried at all.
    fn untried(&mut self, why: &str) {
        if self.outcome == PermissionOutcome::Allowed {
            self.outcome = PermissionOutcome::Unknown;
            let error = StoreError::bare(ErrorKind::Other, "try it", None);
            self.error = Some(error.with_headline(why));
        }
    }
}

#[cfg(feature = "s3")]
async fn location(store: &Store) -> PermissionCheck {
    match store.bucket() {
        Some(bucket) => check("s3:GetBucketLocation", bucket.location()).await,
        None => not_applicable("s3:GetBucketLocation"),
    }
}

#[cfg(not(feature = "s3"))]
async fn location(_store: &Store) -> PermissionCheck {
    not_applicable("s3:GetBucketLocation")
}

fn not_applicable(action: &'static str) -> PermissionCheck {
    PermissionCheck {
        action,
        outcome: PermissionOutcome::NotApplicable,
        error: None,
        took: Duration::ZERO,
    }
}

async fn check<T>(
    action: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> PermissionCheck {
    let start = Instant::now();
    let error = work.await.err();
    let outcome = match error.as_ref().map(StoreError::kind) {
        // An object that is not there was looked for: that is all that was to be found out.
        None | Some(ErrorKind::NotFound) => PermissionOutcome::Allowed,
        Some(ErrorKind::Permission) => PermissionOutcome::Denied,
        Some(ErrorKind::Unsupported) => PermissionOutcome::NotApplicable,
        Some(_) => PermissionOutcome::Unknown,
    };
    PermissionCheck {
        action,
        outcome,
        error,
        took: start.elapsed(),
    }
}

/// Writes the policy that allows all five actions on a bucket.
#[must_use]
pub fn policy_json(bucket: &str) -> String {
    let actions: Vec<String> = ACTIONS
        .iter()
        .map(|action| format!("        \"{action}\""))
        .collect();
    let actions = actions.join(",\n");
    format!(
        r#"{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Effect": "Allow",
      "Action": [
{actions}
      ],
      "Resource": [
        "arn:aws:s3:::{bucket}",
        "arn:aws:s3:::{bucket}/*"
      ]
    }}
  ]
}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_allows_all_but_has_no_location() {
        let dir = tempfile::tempdir().expect("scratch");
        let url = StoreUrl::from_folder(dir.path());
        let checks = check_permissions(&url, &Tuning::default(), &Environment::default()).await;
        assert_eq!(
            checks.iter().map(|check| check.action).collect::<Vec<_>>(),
            ACTIONS
        );
        assert!(
            checks[..4]
                .iter()
                .all(|check| check.outcome == PermissionOutcome::Allowed),
            "{checks:?}"
        );
        assert_eq!(checks[4].outcome, PermissionOutcome::NotApplicable);
    }

    #[tokio::test]
    async fn of_a_folder_that_may_only_be_read_it_is_not_known_whether_files_may_be_removed() {
        let dir = tempfile::tempdir().expect("scratch");
        let url = StoreUrl::from_folder(dir.path());
        std::fs::write(dir.path().join("there"), "something").expect("writes");
        // Root may write everywhere, so the mode is of no use here; a file in the place of a directory stops everyone.
        std::fs::write(dir.path().join("probe"), "in the way").expect("writes");
        let checks = check_permissions(&url, &Tuning::default(), &Environment::default()).await;
        let outcome = |action: &str| {
            let found = checks.iter().find(|check| check.action == action);
            found.expect("every action is there").outcome
        };
        assert_eq!(outcome("s3:GetObject"), PermissionOutcome::Allowed);
        assert_ne!(outcome("s3:PutObject"), PermissionOutcome::Allowed);
        assert_eq!(outcome("s3:DeleteObject"), PermissionOutcome::Unknown);
        let left = std::fs::read_to_string(dir.path().join("probe")).expect("reads");
        assert_eq!(left, "in the way");
    }

    #[test]
    fn the_policy_names_the_bucket_and_every_action() {
        let policy = policy_json("my-bucket");
        ACTIONS
            .iter()
            .for_each(|action| assert!(policy.contains(&format!("\"{action}\"")), "{action}"));
        assert!(policy.contains("\"arn:aws:s3:::my-bucket/*\""));
    }
}
