//! A bucket that speaks S3: AWS itself, MinIO, Garage, Wasabi and the rest.
//!
//! What must hold: every HTTP request, whoever sends it, goes through the one client in `http`, is counted there, and what
//! the server answers to it decides the kind of an error. Credentials are found before the first request.
//!
//! It deliberately assumes nothing about a server beyond whole-object PUT, GET, LIST and DELETE.

mod answer;
mod aws_client;
mod body;
mod codes;
mod connector;
mod credentials;
mod encoding;
mod explain;
mod http;
mod objects;
mod passing;
mod requests;
mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod trail;
mod transport;
mod uploads;
mod xml;

pub use http::{http_client, secret_http_client};
pub(crate) use objects::sha256;
pub use requests::ColdStorageRule;
pub(crate) use transport::{transport_headline, transport_kind};
pub(crate) use uploads::PartDone;

use crate::error::{ErrorKind, StoreError};
use crate::meter::Meter;
use crate::tuning::{Environment, Tuning};
use crate::url::StoreUrl;
use answer::Answer;
use connector::Connector;
use credentials::Credentials;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use settings::Settings;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An open bucket.
pub(crate) struct Bucket {
    objects: Arc<AmazonS3>,
    without_bulk_delete: Arc<AmazonS3>,
    connector: Connector,
    credentials: Arc<Credentials>,
    settings: Settings,
    tuning: Tuning,
    /// Whether the server turned out to take no checksum headers.
    refuses_checksums: Arc<AtomicBool>,
    /// Whether the server was seen to compare the checksum of a whole object, and takes one whose body is not signed besides.
    compares_checksums: Arc<AtomicBool>,
}

impl Bucket {
    /// Finds settings and credentials, and makes the clients.
    pub(crate) async fn open(
        url: &StoreUrl,
        tuning: &Tuning,
        env: &Environment,
    ) -> Result<Bucket, StoreError> {
        let client = http::client(url, tuning, env)?;
        let source = credentials::Source::new(url, env, client.clone());
        // A missing region is reported only after missing credentials: those are what people lack first.
        let settings = Settings::resolve(url, env, || source.profile_region()).await;
        let region = settings
            .as_ref()
            .map_or("us-east-1", |settings| settings.region.as_str());
        let credentials = Arc::new(Credentials::find(&source, region).await?);
        let settings = settings?;
        let connector = Connector::new(client, tuning);
        let build = |no_bulk_delete: bool| {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&settings.bucket)
                .with_region(&settings.region)
                .with_endpoint(settings.library_endpoint())
                .with_virtual_hosted_style_request(!settings.path_style)
                .with_credentials(credentials.clone())
                .with_http_connector(connector.clone())
                .with_client_options(ClientOptions::new().with_allow_http(true))
                .with_retry(retry(tuning));
            if no_bulk_delete {
                builder = builder.with_disable_bulk_delete(true);
            }
            builder.build().map(Arc::new).map_err(|error| {
                crate::classify::from_library("open", Some(&url.to_string()), error)
            })
        };
        let (objects, without_bulk_delete) = (build(false)?, build(true)?);
        Ok(Bucket {
            objects,
            without_bulk_delete,
            connector,
            credentials,
            settings,
            tuning: tuning.clone(),
            refuses_checksums: Arc::default(),
            compares_checksums: Arc::default(),
        })
    }

    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        self.objects.clone()
    }

    /// Returns a client that deletes one object a request, for servers that cannot delete many.
    pub(crate) fn without_bulk_delete(&self) -> Arc<dyn ObjectStore> {
        self.without_bulk_delete.clone()
    }

    pub(crate) fn meter(&self) -> Arc<Meter> {
        self.connector.meter()
    }

    /// Makes an error of a failure and of what its requests left behind.
    pub(crate) fn failure(
        &self,
        operation: &'static str,
        key: Option<&str>,
        error: object_store::Error,
        traces: trail::Traces,
    ) -> StoreError {
        if let Some(answer) = traces.answer {
            return self.explain(operation, key, answer);
        }
        let remedy = transport::scheme_remedy(&error, &self.settings.endpoint);
        let mut failure = crate::classify::from_library(operation, key, error);
        if let Some(remedy) = remedy {
            failure = failure.with_remedy(remedy);
        }
        match (failure.kind(), traces.interrupted) {
            // The library went on after a body broke off, and stumbled over the answer.
            (ErrorKind::Other, Some(kind)) => failure.with_kind(kind),
            _ => failure,
        }
    }

    /// Makes an error of what the server answered last.
    fn explain(&self, operation: &'static str, key: Option<&str>, answer: Answer) -> StoreError {
        explain::error(operation, key, answer, &self.settings)
    }
}

fn retry(tuning: &Tuning) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: tuning.backoff_min,
        max_backoff: tuning.backoff_max,
        base: 2.0,
    };
    RetryConfig {
        backoff,
        max_retries: tuning.max_retries,
        retry_timeout: tuning.total_timeout,
    }
}
