//! Finds credentials: store URL, environment, profile, web identity, container, instance.
//!
//! What must hold: the first source that has some wins; where there are none, that is known within two seconds; temporary
//! ones are renewed before they expire. No text ever shows one.
//!
//! It deliberately leaves profiles, SSO, role chains and metadata services to `aws-config`. That library reads some
//! variables of the process environment by itself.

use super::aws_client::AwsClient;
use crate::classify::{Deepest, kind_of_chain};
use crate::error::{ErrorKind, StoreError};
use crate::tuning::Environment;
use crate::url::StoreUrl;
use async_trait::async_trait;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region, imds};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// Where there is an instance metadata service, it answers at once; elsewhere nothing does.
const METADATA_LIMIT: Duration = Duration::from_millis(700);

/// How long any other source may take.
const SOURCE_LIMIT: Duration = Duration::from_secs(60);

/// Temporary credentials are renewed this long before they expire.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// There are none.
#[derive(Debug)]
pub(crate) struct NoCredentials(String);

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NoCredentials {}

/// The places where credentials may be.
pub(super) struct Source {
    url: StoreUrl,
    env: Environment,
    client: reqwest::Client,
}

impl Source {
    pub(super) fn new(url: &StoreUrl, env: &Environment, client: reqwest::Client) -> Source {
        Source {
            url: url.clone(),
            env: env.clone(),
            client,
        }
    }

    /// Returns the region that the profile names.
    pub(super) async fn profile_region(&self) -> Option<String> {
        let config = self.config(None);
        let mut builder = ProfileFileRegionProvider::builder().configure(&config);
        builder = builder
            .profile_files(self.profile_files())
            .profile_name(self.profile());
        builder
            .build()
            .region()
            .await
            .map(|region| region.to_string())
    }

    /// Returns the keys that are given as such, in the URL or the environment.
    fn given(&self) -> Result<Option<AwsCredential>, NoCredentials> {
        if let Some(secrets) = self.url.secrets() {
            let token = secrets.session_token().map(str::to_owned);
            return Ok(Some(AwsCredential {
                key_id: secrets.access_key().to_owned(),
                secret_key: secrets.secret_key().to_owned(),
                token,
            }));
        }
        // A profile in the URL was asked for; keys in the environment merely happen to be there.
        if self.url.profile().is_some() {
            return Ok(None);
        }
        let get = |name: &str| self.env.get(name).map(str::to_owned);
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(key_id), Some(secret_key)) => Ok(Some(AwsCredential {
                key_id,
                secret_key,
                token: get("AWS_SESSION_TOKEN"),
            })),
            (Some(_), None) => Err(NoCredentials(
                "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not".to_owned(),
            )),
            (None, Some(_)) => Err(NoCredentials(
                "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not".to_owned(),
            )),
            (None, None) => Ok(None),
        }
    }

    /// Puts the other sources in their order.
    fn chain(&self, region: &str) -> (CredentialsProviderChain, String) {
        let config = self.config(Some(region));
        let profile = ProfileFileCredentialsProvider::builder().configure(&config);
        let profile = profile
            .profile_files(self.profile_files())
            .profile_name(self.profile());
        let mut chain = CredentialsProviderChain::first_try("profile", profile.build());
        let mut looked = format!(
            "the store URL, AWS_ACCESS_KEY_ID, profile '{}'",
            self.profile()
        );
        if let (Some(role), Some(file)) = (
            self.env.get("AWS_ROLE_ARN"),
            self.env.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        ) {
            let configuration = StaticConfiguration {
                web_identity_token_file: file.into(),
                role_arn: role.to_owned(),
                session_name: self
                    .env
                    .get("AWS_ROLE_SESSION_NAME")
                    .unwrap_or("syncline")
                    .to_owned(),
            };
            let builder = WebIdentityTokenCredentialsProvider::builder()
                .configure(&config)
                .static_configuration(configuration);
            chain = chain.or_else("web identity", builder.build());
            looked.push_str(", web identity");
        }
        if self
            .env
            .first(&[
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            ])
            .is_some()
        {
            chain = chain.or_else(
                "container",
                EcsCredentialsProvider::builder().configure(&config).build(),
            );
            looked.push_str(", container");
        }
        if !self.env.is_on("AWS_EC2_METADATA_DISABLED") {
            let provider = ImdsCredentialsProvider::builder()
                .configure(&config)
                .imds_client(self.metadata(&config))
                .build();
            chain = chain.or_else("instance metadata", Instance(provider));
            looked.push_str(", instance metadata");
        }
        (chain, looked)
    }

    fn metadata(&self, config: &ProviderConfig) -> imds::Client {
        let builder = || {
            imds::Client::builder()
                .configure(config)
                .max_attempts(1)
                .connect_timeout(METADATA_LIMIT)
                .read_timeout(METADATA_LIMIT)
                .operation_attempt_timeout(METADATA_LIMIT)
                .operation_timeout(METADATA_LIMIT)
        };
        let named = self
            .env
            .get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
            .and_then(|endpoint| builder().endpoint(endpoint).ok());
        named.unwrap_or_else(builder).build()
    }

    fn config(&self, region: Option<&str>) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_region(region.map(|region| Region::new(region.to_owned())))
            .with_http_client(AwsClient::new(self.client.clone()))
    }

    fn profile(&self) -> &str {
        self.url
            .profile()
            .or_else(|| self.env.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]))
            .unwrap_or("default")
    }

    fn profile_files(&self) -> EnvConfigFiles {
        let home = self.env.get("HOME").unwrap_or_default();
        let files = [
            (EnvConfigFileKind::Config, "AWS_CONFIG_FILE", "config"),
            (
                EnvConfigFileKind::Credentials,
                "AWS_SHARED_CREDENTIALS_FILE",
                "credentials",
            ),
        ];
        let mut builder = EnvConfigFiles::builder();
        for (kind, variable, name) in files {
            let path = self
                .env
                .get(variable)
                .map_or_else(|| format!("{home}/.aws/{name}"), str::to_owned);
            // A file that does not exist is like an empty one; to the library it would be an error.
            let exists = std::path::Path::new(&path).is_file();
            builder = if exists {
                builder.with_file(kind, path)
            } else {
                builder.with_contents(kind, "")
            };
        }
        builder.build()
    }
}

/// The instance metadata service. Almost every machine has none, so that its silence, or whatever else answers at its address,
/// only means that there are no credentials there.
#[derive(Debug)]
struct Instance(ImdsCredentialsProvider);

impl ProvideCredentials for Instance {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.0
                .provide_credentials()
                .await
                .map_err(CredentialsError::not_loaded)
        })
    }
}

/// Credentials, renewed as needed.
pub(super) struct Credentials {
    chain: Option<CredentialsProviderChain>,
    current: Mutex<Current>,
}

struct Current {
    credential: Arc<AwsCredential>,
    expiry: Option<SystemTime>,
}

impl Credentials {
    /// Finds credentials now, so that it is known at once if there are none.
    pub(super) async fn find(source: &Source, region: &str) -> Result<Credentials, StoreError> {
        let place = source.url.to_string();
        match source.given().and_then(|given| given.map(fit).transpose()) {
            Ok(Some(credential)) => {
                let current = Mutex::new(Current {
                    credential: Arc::new(credential),
                    expiry: None,
                });
                return Ok(Credentials {
                    chain: None,
                    current,
                });
            }
            Ok(None) => {}
            Err(error) => return Err(none(&place, error)),
        }
        let (chain, looked) = source.chain(region);
        match load(&chain).await {
            Ok(current) => Ok(Credentials {
                chain: Some(chain),
                current: Mutex::new(current),
            }),
            Err(CredentialsError::CredentialsNotLoaded(_)) => Err(none(
                &place,
                NoCredentials(format!(
                    "no credential providers had any; looked at {looked}"
                )),
            )),
            Err(error) => Err(unusable(&place, error)),
        }
    }

    async fn current(&self) -> Result<Arc<AwsCredential>, CredentialsError> {
        let mut current = self.current.lock().await;
        let left = current
            .expiry
            .map(|expiry| expiry.duration_since(SystemTime::now()).unwrap_or_default());
        if let (Some(chain), Some(left)) = (&self.chain, left)
            && left < RENEW_BEFORE
        {
            match load(chain).await {
                Ok(fresh) => *current = fresh,
                // The old ones still serve; the next request tries again.
                Err(error) if left > Duration::ZERO => {
                    tracing::warn!(%error, "credentials could not be renewed yet")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(current.credential.clone())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.current().await.map_err(|error| {
            let error = NoCredentials(format!(
                "the credentials could not be renewed: {}",
                Deepest::new(Box::new(error))
            ));
            object_store::Error::Unauthenticated {
                path: String::new(),
                source: Box::new(error),
            }
        })
    }
}

async fn load(chain: &CredentialsProviderChain) -> Result<Current, CredentialsError> {
    let found = tokio::time::timeout(SOURCE_LIMIT, chain.provide_credentials()).await;
    let found = found.map_err(|_| CredentialsError::provider_timed_out(SOURCE_LIMIT))??;
    let credential = AwsCredential {
        key_id: found.access_key_id().to_owned(),
        secret_key: found.secret_access_key().to_owned(),
        token: found.session_token().map(str::to_owned),
    };
    let credential = fit(credential).map_err(CredentialsError::invalid_configuration)?;
    Ok(Current {
        credential: Arc::new(credential),
        expiry: found.expiry(),
    })
}

/// Checks that keys can be sent in a header: the library that signs takes it for granted, and ends the program where it is not so.
fn fit(credential: AwsCredential) -> Result<AwsCredential, NoCredentials> {
    let is_sound = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = [
        ("access key", Some(&credential.key_id)),
        ("secret key", Some(&credential.secret_key)),
        ("session token", credential.token.as_ref()),
    ];
    for (what, text) in parts {
        if text.is_some_and(|text| !is_sound(text)) {
            return Err(NoCredentials(format!(
                "the {what} holds a blank or another character that no key has: is it from a file with Windows line ends?"
            )));
        }
    }
    Ok(credential)
}

fn none(place: &str, error: NoCredentials) -> StoreError {
    StoreError::new(ErrorKind::Credentials, "open", Some(place), error)
        .with_headline("Unable to locate credentials")
}

/// A source that should have had credentials could not give them.
fn unusable(place: &str, error: CredentialsError) -> StoreError {
    let kind = match kind_of_chain(&error) {
        kind @ (ErrorKind::Dns | ErrorKind::Connection | ErrorKind::Tls | ErrorKind::Timeout) => {
            kind
        }
        _ => ErrorKind::Credentials,
    };
    let failure = StoreError::new(kind, "open", Some(place), Deepest::new(Box::new(error)));
    let failure = failure.with_headline("the configured credentials could not be obtained");
    if kind == ErrorKind::Credentials {
        return failure.with_remedy("log in again (aws sso login --profile NAME), check the profile, AWS_ROLE_ARN and the file that AWS_WEB_IDENTITY_TOKEN_FILE names");
    }
    failure
}
