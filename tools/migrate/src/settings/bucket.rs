//! The application's bucket, out of its `S3_…` variables.
//!
//! What must hold: only the word `true` switches something on, as in the application; an empty `S3_ENDPOINT_URL` hides
//! `S3_ENDPOINT`; keys of the application go over the AWS credential chain.
//!
//! What it deliberately does not do: honour `S3_PREFIX`. The application reads it and uses it in no key.

use console::{Failure, Origin, Setting};
use store::{StoreUrl, UrlSecrets};

use super::Layers;

/// The region that the application takes if none is named.
const REGION: &str = "us-east-1";

/// Variables that the application's documentation names and that nothing reads.
const UNREAD: [&str; 4] = [
    "S3_USE_SSL",
    "S3_VERIFY_SSL",
    "S3_STORAGE_CLASS",
    "S3_SERVER_SIDE_ENCRYPTION",
];

/// Tells whether the application itself stores in S3: `S3_ENABLED=true`, or `STORAGE_BACKEND=s3`, which wins.
pub(super) fn app_uses_s3(layers: &Layers) -> Setting<bool> {
    if let Some(backend) = layers.get("STORAGE_BACKEND")
        && backend.value.eq_ignore_ascii_case("s3")
    {
        return backend.map(|_| true);
    }
    match layers.get("S3_ENABLED") {
        Some(enabled) => enabled.map(|value| is_true(&value)),
        None => Setting::new(false, Origin::Default),
    }
}

/// The application's bucket, and what to try if it does not answer there.
pub(super) struct AppBucket {
    /// Where it is.
    pub(super) url: Setting<StoreUrl>,
    /// The bucket in the host name, which the application tries second at an endpoint of one's own.
    pub(super) second: Option<StoreUrl>,
}

/// Makes the URL of the application's bucket; none if no bucket is named.
pub(super) fn from_variables(
    layers: &Layers,
    warnings: &mut Vec<String>,
) -> Result<Option<AppBucket>, Failure> {
    let Some(bucket) = layers.get("S3_BUCKET_NAME") else {
        return Ok(None);
    };
    let region = layers.get("S3_REGION").map(|setting| setting.value);
    let mut query = vec![format!(
        "region={}",
        encode(region.as_deref().unwrap_or(REGION))
    )];
    let endpoint = endpoint(layers);
    if let Some(endpoint) = &endpoint {
        query.push(format!("endpoint={}", encode(endpoint)));
    }
    warn(layers, endpoint.is_some(), warnings);
    let secrets = keys(layers, warnings);
    let parsed = |path_style: Option<bool>| {
        let mut query = query.clone();
        query.extend(path_style.map(|path_style| format!("path_style={path_style}")));
        let url = parse(&format!("s3://{}?{}", bucket.value, query.join("&")))?;
        Ok::<_, Failure>(match &secrets {
            Some(secrets) => url.with_secrets(secrets.clone()),
            None => url,
        })
    };
    let chosen = path_style(layers);
    let has_name = endpoint.as_deref().is_some_and(has_host_name);
    if chosen == Some(false) && endpoint.is_some() && !has_name {
        return Err(Failure::config(
            "the bucket cannot be part of the host name: the endpoint is an IP address, and S3_FORCE_PATH_STYLE is not the word true",
        )
        .hint("set S3_FORCE_PATH_STYLE=true; 1 and yes do not count, in the application neither"));
    }
    let is_open = chosen.is_none() && endpoint.is_some();
    Ok(Some(AppBucket {
        url: Setting::new(
            parsed(chosen.or(is_open.then_some(true)))?,
            bucket.origin.clone(),
        ),
        // An address in an odd form has no sub-domains either.
        second: (is_open && has_name)
            .then(|| parsed(Some(false)).ok())
            .flatten(),
    }))
}

fn parse(text: &str) -> Result<StoreUrl, Failure> {
    text.parse::<StoreUrl>().map_err(|error| {
        Failure::config("the S3_… variables name no bucket that could exist")
            .with_causes(Some(&error as &dyn std::error::Error))
            .hint("check S3_BUCKET_NAME, S3_REGION and S3_ENDPOINT_URL")
    })
}

/// Reads a store URL that was typed.
pub(super) fn parse_url(flag: &str, text: &str) -> Result<StoreUrl, Failure> {
    text.parse::<StoreUrl>().map_err(|error| {
        Failure::usage(format!("{flag} is no store URL"))
            .with_causes(Some(&error as &dyn std::error::Error))
            .hint(format!(
                "{} (such as \"s3://BUCKET?region=us-west-2&endpoint=localhost:9000\" in quotes, or folder:/PATH)",
                error.remedy()
            ))
    })
}

fn endpoint(layers: &Layers) -> Option<String> {
    let first = layers.get_even_empty("S3_ENDPOINT_URL");
    first
        .or_else(|| layers.get_even_empty("S3_ENDPOINT"))
        .map(|setting| setting.value)
        .filter(|endpoint| !endpoint.is_empty())
}

/// Tells whether an endpoint has a name, below which buckets can be sub-domains, and no IP address.
fn has_host_name(endpoint: &str) -> bool {
    let place = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, place)| place);
    let host = place.split('/').next().unwrap_or(place);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host.trim_matches(['[', ']'])
        .parse::<std::net::IpAddr>()
        .is_err()
}

/// What was ordered. Without an order the application tries path style first at an endpoint of one's own, and never at AWS.
fn path_style(layers: &Layers) -> Option<bool> {
    let first = layers.get_even_empty("S3_FORCE_PATH_STYLE");
    first
        .or_else(|| layers.get_even_empty("S3_PATH_STYLE"))
        .map(|setting| is_true(&setting.value))
}

fn keys(layers: &Layers, warnings: &mut Vec<String>) -> Option<UrlSecrets> {
    let both = (
        layers.get("S3_ACCESS_KEY_ID"),
        layers.get("S3_SECRET_ACCESS_KEY"),
    );
    if let (Some(id), Some(secret)) = both {
        return Some(UrlSecrets::new(id.value, secret.value, None));
    }
    warnings.push(
        "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY are not both set: the AWS credential chain is used; \
         the application knows only these two"
            .into(),
    );
    None
}

fn warn(layers: &Layers, has_endpoint: bool, warnings: &mut Vec<String>) {
    if layers.get("S3_PREFIX").is_some() {
        warnings.push("S3_PREFIX has no effect: the application uses it in no key".into());
    }
    for name in UNREAD.iter().filter(|name| layers.get(name).is_some()) {
        warnings.push(format!(
            "{name} has no effect: the application does not read it"
        ));
    }
    let other = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
    if let Some(name) = other.iter().find(|name| layers.get(name).is_some())
        && !has_endpoint
    {
        warnings.push(format!(
            "{name} is followed, but the application does not read it: set S3_ENDPOINT_URL for both"
        ));
    }
}

/// Only this word counts, in any case: `1` and `yes` do not.
fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:[]".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
