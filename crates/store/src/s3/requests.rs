//! The few signed requests that the object store library does not make: where the bucket is, what moves its objects away,
//! and how many old versions it keeps.
//!
//! What must hold: they go through the same client, counts and limits as all others.
//!
//! It deliberately changes nothing: these requests only read.

use super::{Bucket, trail, xml};
use crate::classify::from_library;
use crate::error::{ErrorKind, StoreError};
use crate::url::encode;
use bytes::Bytes;
use futures::StreamExt;
use object_store::CredentialProvider;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody, HttpService};
use serde::Deserialize;

/// More pages of versions than this are not counted.
const VERSION_PAGES_MAX: usize = 1000;

/// A lifecycle rule that moves objects where they cannot be read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdStorageRule {
    /// The rule's name.
    pub id: String,
    /// Which keys it is for.
    pub prefix: String,
    /// After how many days; none if at a date.
    pub days: Option<u32>,
    /// Where it moves them.
    pub storage_class: String,
}

impl Bucket {
    /// Asks for the bucket's region.
    pub(crate) async fn location(&self) -> Result<String, StoreError> {
        let body = self
            .read("ask for the region of the bucket", "location=")
            .await?;
        let region = xml::leaves(&body)
            .unwrap_or_default()
            .into_iter()
            .next_back()
            .map(|leaf| leaf.text);
        // The oldest region has an empty answer.
        Ok(region.unwrap_or_else(|| "us-east-1".to_owned()))
    }

    /// Lists the rules that would move objects below a prefix into cold storage.
    pub(crate) async fn cold_storage_rules(
        &self,
        prefix: &str,
    ) -> Result<Vec<ColdStorageRule>, StoreError> {
        const OPERATION: &str = "ask for the lifecycle rules of the bucket";
        let body = match self.read(OPERATION, "lifecycle=").await {
            Ok(body) => body,
            // 404 NoSuchLifecycleConfiguration: there are no rules.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let parsed: Lifecycle = quick_xml::de::from_reader(&*body)
            .map_err(|error| StoreError::new(ErrorKind::Corrupt, OPERATION, None, error))?;
        Ok(parsed
            .rules
            .into_iter()
            .flat_map(|rule| rule.cold(prefix))
            .collect())
    }

    /// Counts versions below a prefix that are not the current ones, delete markers included.
    pub(crate) async fn old_versions(&self, prefix: &str) -> Result<u64, StoreError> {
        const OPERATION: &str = "list the old versions in the bucket";
        let mut old = 0;
        let mut after = String::new();
        for _ in 0..VERSION_PAGES_MAX {
            let body = self
                .read(
                    OPERATION,
                    &format!("versions=&prefix={}{after}", encode(prefix)),
                )
                .await?;
            let page: Versions = quick_xml::de::from_reader(&*body)
                .map_err(|error| StoreError::new(ErrorKind::Corrupt, OPERATION, None, error))?;
            old += page.entries.iter().filter(|entry| entry.is_old()).count() as u64;
            if !page.is_truncated {
                break;
            }
            let Some(key) = page.next_key_marker else {
                break;
            };
            after = format!("&key-marker={}", encode(&key));
            if let Some(version) = page.next_version_id_marker {
                after.push_str(&format!("&version-id-marker={}", encode(&version)));
            }
        }
        Ok(old)
    }

    async fn read(&self, operation: &'static str, query: &str) -> Result<Bytes, StoreError> {
        let (outcome, traces) = trail::follow(self.send(query)).await;
        let outcome = outcome.map_err(|error| from_library(operation, None, error))?;
        match traces.answer {
            Some(answer) => Err(self.explain(operation, None, answer)),
            None => Ok(outcome),
        }
    }

    async fn send(&self, query: &str) -> object_store::Result<Bytes> {
        let failure = |error: crate::error::BoxError| object_store::Error::Generic {
            store: "S3",
            source: error,
        };
        let uri = format!("{}/?{query}", self.settings.bucket_url());
        let mut request: HttpRequest = http::Request::get(uri)
            .body(HttpRequestBody::empty())
            .map_err(|error| failure(error.into()))?;
        let credential = self.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.settings.region)
            .try_authorize(&mut request, None)?;
        let answer = self
            .connector
            .call(request)
            .await
            .map_err(|error| failure(error.into()))?;
        let mut stream = answer.into_body().bytes_stream();
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|error| failure(error.into()))?);
        }
        Ok(body.into())
    }
}

#[derive(Deserialize)]
struct Lifecycle {
    #[serde(rename = "Rule", default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(rename = "ID", default)]
    id: String,
    status: String,
    prefix: Option<String>,
    filter: Option<Filter>,
    #[serde(rename = "Transition", default)]
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    prefix: Option<String>,
    and: Option<And>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct And {
    prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transition {
    days: Option<u32>,
    storage_class: String,
}

impl Rule {
    fn cold(self, ours: &str) -> Vec<ColdStorageRule> {
        let filter = self.filter.and_then(|filter| {
            filter
                .prefix
                .or_else(|| filter.and.and_then(|and| and.prefix))
        });
        let prefix = filter.or(self.prefix).unwrap_or_default();
        let is_ours = ours.starts_with(&prefix) || prefix.starts_with(ours);
        if self.status != "Enabled" || !is_ours {
            return Vec::new();
        }
        let is_cold = |transition: &Transition| {
            ["GLACIER", "DEEP_ARCHIVE"].contains(&transition.storage_class.as_str())
        };
        let cold = self.transitions.into_iter().filter(is_cold);
        cold.map(|transition| ColdStorageRule {
            id: self.id.clone(),
            prefix: prefix.clone(),
            days: transition.days,
            storage_class: transition.storage_class,
        })
        .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
    #[serde(rename = "$value", default)]
    entries: Vec<VersionEntry>,
}

#[derive(Deserialize)]
enum VersionEntry {
    Version(Version),
    DeleteMarker(Version),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    #[serde(default)]
    is_latest: bool,
}

impl VersionEntry {
    fn is_old(&self) -> bool {
        matches!(self, VersionEntry::Version(version) | VersionEntry::DeleteMarker(version) if !version.is_latest)
    }
}
