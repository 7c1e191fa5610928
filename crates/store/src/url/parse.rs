//! Takes store URLs apart, and says what is wrong with them.
//!
//! What must hold: nothing is guessed; what is wrong is named, with what to write in its place.

use super::query::{self, Query};
use super::{StoreKind, StoreUrl, UrlError, UrlSecrets, endpoint_place, scheme};
use std::net::IpAddr;

pub(super) fn parse_folder(path: &str) -> Result<StoreUrl, UrlError> {
    // `folder:///path` is what a person used to `file:///path` types.
    let path = if path.starts_with("///") {
        &path[2..]
    } else {
        path
    };
    if path.starts_with("//") {
        return Err(UrlError::new(
            "a folder URL names no host",
            "write folder:/PATH with one slash; mount a network share first and name the place where it is mounted",
        ));
    }
    if path.contains('\0') {
        return Err(UrlError::new(
            "the folder's path contains a NUL byte",
            "write folder:/PATH",
        ));
    }
    if !(path.starts_with('/') || path == "~" || path.starts_with("~/")) {
        return Err(UrlError::new(
            format!("the folder '{path}' is not an absolute path"),
            "write folder:/PATH or folder:~/PATH, so that it means the same place from every directory",
        ));
    }
    let trimmed = path.trim_end_matches('/');
    Ok(StoreUrl::from_folder(if trimmed.is_empty() {
        "/"
    } else {
        trimmed
    }))
}

pub(super) fn parse_file(rest: &str) -> Result<StoreUrl, UrlError> {
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(UrlError::new(
            "a file URL needs an absolute path and no host",
            "write file:///PATH or folder:/PATH",
        ));
    }
    parse_folder(&query::decode(path, "path")?)
}

pub(super) fn parse_bucket(kind: StoreKind, rest: &str) -> Result<StoreUrl, UrlError> {
    let scheme = scheme(kind);
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(UrlError::new(
            format!("'{scheme}:' is followed by no '//'"),
            format!("write {scheme}://BUCKET/PREFIX"),
        ));
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query::has_parameters(place) {
        return Err(UrlError::new(
            "the first parameter follows no '?'",
            format!(
                "write {scheme}://BUCKET/PREFIX, a '?', and then the parameters with '&' between them; all of it in quotes"
            ),
        ));
    }
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.contains('@') {
        return Err(UrlError::new(
            "keys do not belong before the bucket",
            format!("write {scheme}://BUCKET/PREFIX?access_key=...&secret_key=... in quotes"),
        ));
    }
    if bucket.is_empty() {
        return Err(UrlError::new(
            "the bucket is missing",
            format!("write {scheme}://BUCKET/PREFIX"),
        ));
    }
    if kind == StoreKind::S3 {
        check_bucket(bucket)?;
    }
    let mut url = StoreUrl {
        bucket: bucket.to_owned(),
        prefix: parse_prefix(prefix)?,
        ..StoreUrl::empty(kind)
    };
    url.ends_in_ampersand = query.ends_with('&');
    let mut query = Query::parse(query)?;
    url.region = query.take("region").map(check_region).transpose()?;
    url.endpoint = query.take("endpoint").map(check_endpoint).transpose()?;
    url.path_style = query
        .take("path_style")
        .map(|value| query::boolean("path_style", &value))
        .transpose()?;
    check_style(&url)?;
    url.profile = query.take("profile");
    url.secrets = UrlSecrets::from_query(&mut query)?;
    Ok(url)
}

/// Refuses a bucket in the host name where that is an IP address, in whatever form.
fn check_style(url: &StoreUrl) -> Result<(), UrlError> {
    let Some(endpoint) = url
        .endpoint
        .as_deref()
        .filter(|_| url.path_style == Some(false))
    else {
        return Ok(());
    };
    let host = format!("http://{}.{}", url.bucket, endpoint_place(endpoint));
    match url::Url::parse(&host) {
        Ok(_) => Ok(()),
        Err(_) => Err(UrlError::new(
            "path_style=false puts the bucket before the host, and an IP address has no sub-domains",
            "leave path_style=false out, or write path_style=true",
        )),
    }
}

fn parse_prefix(text: &str) -> Result<String, UrlError> {
    let decoded = query::decode(text, "prefix")?;
    let prefix = decoded.trim_matches('/');
    object_store::path::Path::parse(prefix)
        .map(|path| path.to_string())
        .map_err(|_| {
            UrlError::new(
                format!(
                    "the prefix '{}' has an empty part, '.', '..' or a control character in it",
                    prefix.escape_debug()
                ),
                "write plain names with one slash between them",
            )
        })
}

/// Checks a bucket's name by the rules of S3.
fn check_bucket(bucket: &str) -> Result<(), UrlError> {
    let bad = |why: &str| {
        let shown: String = bucket.chars().take(80).collect();
        let remedy = "a bucket name has 3 to 63 lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit";
        Err(UrlError::new(
            format!("'{shown}' cannot be a bucket: {why}"),
            remedy,
        ))
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(odd) = bucket
        .chars()
        .find(|c| !(is_plain(*c) || "-.".contains(*c)))
    {
        return bad(&format!("it contains '{}'", odd.escape_debug()));
    }
    if !(3..=63).contains(&bucket.len()) {
        return bad(&format!("it has {} characters", bucket.len()));
    }
    if !bucket.starts_with(is_plain) || !bucket.ends_with(is_plain) {
        return bad("it begins or ends with '-' or '.'");
    }
    if bucket.contains("..") {
        return bad("it has two dots in a row");
    }
    if bucket.parse::<IpAddr>().is_ok() {
        return bad("it looks like an IP address");
    }
    Ok(())
}

fn check_region(region: String) -> Result<String, UrlError> {
    if region
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    {
        return Ok(region);
    }
    Err(UrlError::new(
        format!("'{}' cannot be a region", region.escape_debug()),
        "write it like region=us-west-2",
    ))
}

pub(crate) fn check_endpoint(endpoint: String) -> Result<String, UrlError> {
    let bad = |why: &str| {
        let remedy = "write it like endpoint=localhost:9000 or endpoint=https://s3.example.com";
        Err(UrlError::new(format!("the endpoint {why}"), remedy))
    };
    let place = endpoint_place(&endpoint);
    let has_scheme = place.len() != endpoint.trim_end_matches('/').len();
    if has_scheme && !(endpoint.starts_with("http://") || endpoint.starts_with("https://")) {
        return bad("begins with neither http:// nor https://");
    }
    if place.contains('@') {
        return bad("contains a user or password; use access_key and secret_key");
    }
    // What a browser would mend, the client below takes as it is.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]?#".contains(c);
    if let Some(odd) = place.chars().find(|c| !is_plain(*c)) {
        return bad(&format!(
            "'{}' contains '{}', which no host and port has",
            place.escape_debug(),
            odd.escape_debug()
        ));
    }
    let parsed = url::Url::parse(&format!("http://{place}"));
    match parsed {
        Ok(parsed) if parsed.host_str().is_none_or(str::is_empty) => bad("has no host"),
        Ok(parsed) if parsed.query().is_some() || parsed.fragment().is_some() => {
            bad("contains '?' or '#'")
        }
        Ok(_) => Ok(endpoint.trim_end_matches('/').to_owned()),
        Err(error) => bad(&format!(
            "'{}' is no host and port: {error}",
            place.escape_debug()
        )),
    }
}
