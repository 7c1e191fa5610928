//! Builds the HTTP client: certificates, proxies, name resolution, time limits.
//!
//! What must hold: certificates are always checked; extra authorities are added to the system's, not put in their place;
//! proxies come from the snapshot of the environment and nothing else; a store's redirect is an answer, not followed.
//!
//! It deliberately has no time limit for a whole request: `connector` has, by the size of the upload.

use super::settings;
use super::transport::NoSuchHost;
use crate::classify::Deepest;
use crate::error::{ErrorKind, StoreError};
use crate::tuning::{Environment, Tuning};
use crate::url::StoreUrl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};
use std::time::Duration;

/// Variables that name a file of certificates to trust besides the system's.
const CA_VARIABLES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];

/// Where credentials of machines and containers come from; never through a proxy.
const LINK_LOCAL: &str = "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";

/// Idle connections are dropped before the usual load balancer does it.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// Makes the client for a store.
pub(super) fn client(
    url: &StoreUrl,
    tuning: &Tuning,
    env: &Environment,
) -> Result<reqwest::Client, StoreError> {
    let place = url.to_string();
    build(&place, needs_tls(url, env), tuning, env, |builder| {
        builder.redirect(Policy::none())
    })
}

/// Makes a client for a server that is no store, such as a registry that a mirror reads: with the same certificates, proxies and limits as
/// a store's, and redirects followed, but never from TLS to plain text: what is asked for may be a token.
///
/// # Errors
/// Of kind `Tls` if there are no certificates although they are needed, `Connection` if a proxy's address is none.
pub fn http_client(
    url: &url::Url,
    tuning: &Tuning,
    env: &Environment,
) -> Result<reqwest::Client, StoreError> {
    let is_plain = url.scheme() == "http";
    build(url.as_str(), !is_plain, tuning, env, |builder| {
        builder
            .read_timeout(tuning.read_timeout)
            .redirect(never_to_plain_text())
    })
}

/// Makes a client for a server whose very address is a secret, such as a webhook: like [`http_client`], but redirects are not followed, as
/// whoever is led to would learn the address, and no error says it.
///
/// # Errors
/// Like [`http_client`].
pub fn secret_http_client(
    needs_tls: bool,
    tuning: &Tuning,
    env: &Environment,
) -> Result<reqwest::Client, StoreError> {
    build("a webhook", needs_tls, tuning, env, |builder| {
        builder.referer(false).redirect(Policy::none())
    })
}

fn never_to_plain_text() -> Policy {
    Policy::custom(|attempt| {
        let was_secret = attempt.previous().iter().any(|url| url.scheme() == "https");
        match was_secret && attempt.url().scheme() != "https" {
            true => attempt.error("it leads from https to an address without TLS"),
            false => Policy::default().redirect(attempt),
        }
    })
}

fn build(
    place: &str,
    needs_tls: bool,
    tuning: &Tuning,
    env: &Environment,
    finish: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, StoreError> {
    // It fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = authorities(env)?;
    let builder = || -> Result<ClientBuilder, StoreError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("syncline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(tuning.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(tuning.max_connections)
            .tcp_nodelay(true)
            .http1_only()
            .dns_resolver(std::sync::Arc::new(Resolver))
            .no_proxy();
        with_proxies(finish(builder), env)
    };
    let built = match needs_tls {
        true => builder()?.tls_certs_merge(authorities.clone()).build(),
        false => builder()?.tls_certs_only(authorities.clone()).build(),
    };
    // A bare container has no certificates at all; then those that are named must do.
    let built = match built {
        Err(_) if !authorities.is_empty() => builder()?.tls_certs_only(authorities).build(),
        built => built,
    };
    built.map_err(|error| StoreError::new(ErrorKind::Tls, "open", Some(place), Deepest::new(Box::new(error))).with_headline("the HTTP client could not be set up").with_remedy(
        "install the system's certificates (package ca-certificates), or set AWS_CA_BUNDLE to a certificate file",
    ))
}

/// Tells whether anything will be asked over TLS: not if the store is on plain HTTP and the keys are known.
fn needs_tls(url: &StoreUrl, env: &Environment) -> bool {
    let has_keys = url.secrets().is_some()
        || (url.profile().is_none() && env.get("AWS_ACCESS_KEY_ID").is_some());
    !(has_keys && settings::is_plain_http(url, env))
}

fn authorities(env: &Environment) -> Result<Vec<Certificate>, StoreError> {
    let mut found = Vec::new();
    for variable in CA_VARIABLES {
        let Some(path) = env.get(variable) else {
            continue;
        };
        let failure = |error: crate::error::BoxError| {
            StoreError::new(ErrorKind::Tls, "open", Some(path), Deepest::new(error))
                .with_headline(format!(
                    "the certificates that {variable} names cannot be used"
                ))
                .with_remedy(format!(
                    "set {variable} to a PEM file that holds at least one certificate, or unset it"
                ))
        };
        let pem = std::fs::read(path).map_err(|error| failure(error.into()))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| failure(error.into()))?;
        if certificates.is_empty() {
            return Err(failure("the file holds no certificate".into()));
        }
        found.extend(certificates);
    }
    Ok(found)
}

fn with_proxies(
    mut builder: ClientBuilder,
    env: &Environment,
) -> Result<ClientBuilder, StoreError> {
    let exceptions = format!(
        "{LINK_LOCAL},{}",
        env.first(&["no_proxy", "NO_PROXY"]).unwrap_or_default()
    );
    type Make = fn(&str) -> reqwest::Result<Proxy>;
    let kinds: [(&[&str], Make); 3] = [
        (&["https_proxy", "HTTPS_PROXY"], |url| Proxy::https(url)),
        (&["http_proxy", "HTTP_PROXY"], |url| Proxy::http(url)),
        (&["all_proxy", "ALL_PROXY"], |url| Proxy::all(url)),
    ];
    for (names, make) in kinds {
        let Some(address) = env.first(names) else {
            continue;
        };
        let proxy = make(address).map_err(|error| {
            // The address may hold a password, so it is not shown.
            StoreError::new(
                ErrorKind::Connection,
                "open",
                None,
                Deepest::new(Box::new(error.without_url())),
            )
            .with_headline(format!("{} is not the address of a proxy", names[1]))
            .with_remedy(format!(
                "write it like {}=http://proxy.example.com:8080",
                names[1]
            ))
        })?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&exceptions)));
    }
    Ok(builder)
}

/// The system's resolver, with an error type of its own.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0))
                .await
                .map(|addresses| addresses.collect::<Vec<_>>());
            match found {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(source) => Err(NoSuchHost { host, source }.into()),
            }
        })
    }
}
