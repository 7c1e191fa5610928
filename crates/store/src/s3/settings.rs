//! Where a bucket is: endpoint, region and addressing, out of the URL and the environment.
//!
//! What must hold: the URL outweighs the environment, and the environment the profile. A bucket at AWS itself needs a region
//! that somebody named.
//!
//! It deliberately never turns certificate checks off: `AWS_DISABLE_SSL` means plain HTTP.

use crate::error::{ErrorKind, StoreError};
use crate::tuning::Environment;
use crate::url::{
    StoreUrl, check_endpoint, endpoint_host, endpoint_place, is_loopback, wants_path_style,
};
use std::future::Future;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) bucket: String,
    pub(super) region: String,
    /// Scheme, host, port and perhaps a path; without the bucket.
    pub(super) endpoint: String,
    pub(super) path_style: bool,
    pub(super) is_aws: bool,
}

impl Settings {
    /// Fills in what the URL leaves open. The profile is asked only if nothing else names a region.
    pub(super) async fn resolve<F: Future<Output = Option<String>>>(
        url: &StoreUrl,
        env: &Environment,
        profile_region: impl FnOnce() -> F,
    ) -> Result<Settings, StoreError> {
        let bucket = url.bucket().unwrap_or_default().to_owned();
        let custom = custom_endpoint(url, env)?;
        let is_aws = custom.is_none();
        let named = url
            .region()
            .or_else(|| env.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
            .map(str::to_owned);
        let region = match named {
            Some(region) => Some(region),
            None => profile_region().await,
        };
        let region = match region {
            Some(region) => region,
            None if is_aws => return Err(no_region(url)),
            None => "us-east-1".to_owned(),
        };
        let scheme = if env.is_on("AWS_DISABLE_SSL") {
            "http"
        } else {
            "https"
        };
        let (endpoint, default_style) = match custom {
            Some(endpoint) => {
                let style = wants_path_style(endpoint_host(&endpoint));
                (endpoint, style)
            }
            // A dot in the bucket's name would break the certificate for BUCKET.s3.REGION.amazonaws.com.
            None => (
                format!("{scheme}://s3.{region}.{}", aws_domain(&region)),
                bucket.contains('.'),
            ),
        };
        let settings = Settings {
            bucket,
            region,
            endpoint,
            path_style: url.path_style().unwrap_or(default_style),
            is_aws,
        };
        // The library takes it for granted that this is a URL, and panics where it is none.
        match url::Url::parse(&settings.bucket_url()) {
            Ok(_) => Ok(settings),
            Err(error) => Err(no_such_host(&settings, error)),
        }
    }

    /// Returns the endpoint as the library wants it: with the bucket in the host name, if that is where it goes.
    pub(super) fn library_endpoint(&self) -> String {
        if self.path_style {
            self.endpoint.clone()
        } else {
            self.bucket_url()
        }
    }

    /// Returns the URL of the bucket.
    pub(super) fn bucket_url(&self) -> String {
        if self.path_style {
            return format!("{}/{}", self.endpoint, self.bucket);
        }
        let (scheme, place) = self
            .endpoint
            .split_once("://")
            .unwrap_or(("https", &self.endpoint));
        format!("{scheme}://{}.{place}", self.bucket)
    }
}

/// Tells whether the store is reached without TLS.
pub(super) fn is_plain_http(url: &StoreUrl, env: &Environment) -> bool {
    match custom_endpoint(url, env) {
        Ok(Some(endpoint)) => endpoint.starts_with("http://"),
        _ => env.is_on("AWS_DISABLE_SSL"),
    }
}

/// Finds an endpoint other than AWS's own, with its scheme.
fn custom_endpoint(url: &StoreUrl, env: &Environment) -> Result<Option<String>, StoreError> {
    let named = match url.endpoint() {
        Some(endpoint) => Some(endpoint.to_owned()),
        None if env.is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") => None,
        None => from_environment(env)?,
    };
    Ok(named.map(|endpoint| {
        let place = endpoint_place(&endpoint);
        match endpoint.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{place}"),
            None if env.is_on("AWS_DISABLE_SSL") || is_loopback(endpoint_host(&endpoint)) => {
                format!("http://{place}")
            }
            None => format!("https://{place}"),
        }
    }))
}

fn from_environment(env: &Environment) -> Result<Option<String>, StoreError> {
    for variable in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
        if let Some(endpoint) = env.get(variable) {
            let checked = check_endpoint(endpoint.to_owned());
            return checked.map(Some).map_err(|error| {
                let remedy = format!("write it like {variable}=http://localhost:9000, or unset it");
                StoreError::new(ErrorKind::Other, "open", Some(variable), error)
                    .with_headline(format!("{variable} cannot be used"))
                    .with_remedy(remedy)
            });
        }
    }
    Ok(None)
}

fn aws_domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

fn no_such_host(settings: &Settings, error: url::ParseError) -> StoreError {
    let place = settings.bucket_url();
    StoreError::new(ErrorKind::Unsupported, "open", Some(&place), error)
        .with_headline("the bucket cannot be part of this host's name")
        .with_remedy(
            "leave path_style=false out, or write path_style=true: an IP address has no sub-domains",
        )
}

fn no_region(url: &StoreUrl) -> StoreError {
    let cause = "neither the store URL, AWS_REGION, AWS_DEFAULT_REGION nor the profile names one";
    StoreError::new(ErrorKind::WrongRegion, "open", Some(&url.to_string()), cause)
        .with_headline("the region of the bucket is not known")
        .with_remedy("add region= to the store URL, in quotes (\"s3://BUCKET/PREFIX?region=us-west-2\"), or set AWS_DEFAULT_REGION")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn check(url: &str, env: &[(&str, &str)], expected: &str) {
        let env: Environment = env.iter().copied().collect();
        let url: StoreUrl = url.parse().expect("parses");
        let settings = Settings::resolve(&url, &env, || async { None })
            .now_or_never()
            .expect("waits for nothing");
        let shown = match settings {
            Ok(settings) => format!("{} {}", settings.region, settings.bucket_url()),
            Err(error) => error.kind().to_string(),
        };
        assert_eq!(shown, expected, "{url}");
    }

    #[test]
    fn aws_regions_and_styles() {
        check(
            "s3://buc?region=eu-west-1",
            &[],
            "eu-west-1 https://buc.s3.eu-west-1.amazonaws.com",
        );
        check(
            "s3://b.uc?region=eu-west-1",
            &[],
            "eu-west-1 https://s3.eu-west-1.amazonaws.com/b.uc",
        );
        check(
            "s3://buc?region=cn-north-1",
            &[],
            "cn-north-1 https://buc.s3.cn-north-1.amazonaws.com.cn",
        );
        check("s3://buc", &[], "wrong-region");
        check(
            "s3://buc",
            &[("AWS_DEFAULT_REGION", "a-1")],
            "a-1 https://buc.s3.a-1.amazonaws.com",
        );
        check(
            "s3://buc",
            &[("AWS_DEFAULT_REGION", "a-1"), ("AWS_REGION", "b-1")],
            "b-1 https://buc.s3.b-1.amazonaws.com",
        );
        check(
            "s3://buc?region=c-1",
            &[("AWS_REGION", "b-1"), ("AWS_DISABLE_SSL", "true")],
            "c-1 http://buc.s3.c-1.amazonaws.com",
        );
        check(
            "s3://buc?endpoint=localhost:9000",
            &[],
            "us-east-1 http://localhost:9000/buc",
        );
        check(
            "s3://buc?endpoint=10.0.0.1:9000",
            &[],
            "us-east-1 https://10.0.0.1:9000/buc",
        );
    }

    #[test]
    fn endpoints_of_others() {
        check(
            "s3://buc?endpoint=[::1]:9000",
            &[],
            "us-east-1 http://[::1]:9000/buc",
        );
        check(
            "s3://buc?endpoint=s3.example.com",
            &[],
            "us-east-1 https://buc.s3.example.com",
        );
        check(
            "s3://buc?endpoint=s3.example.com&path_style=true",
            &[("AWS_DISABLE_SSL", "1")],
            "us-east-1 http://s3.example.com/buc",
        );
        check(
            "s3://buc?endpoint=https://s3.example.com/",
            &[("AWS_DISABLE_SSL", "1")],
            "us-east-1 https://buc.s3.example.com",
        );
        check(
            "s3://buc?endpoint=localhost:9000&path_style=false",
            &[],
            "us-east-1 http://buc.localhost:9000",
        );
        check(
            "s3://buc",
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
            "us-east-1 http://127.0.0.1:1/buc",
        );
        check(
            "s3://buc",
            &[
                ("AWS_ENDPOINT_URL", "http://a"),
                ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2"),
            ],
            "us-east-1 http://127.0.0.1:2/buc",
        );
        check(
            "s3://buc?endpoint=127.0.0.1:3",
            &[("AWS_ENDPOINT_URL", "http://a")],
            "us-east-1 http://127.0.0.1:3/buc",
        );
        check("s3://buc", &[("AWS_ENDPOINT_URL", "ftp://a")], "other");
    }

    #[test]
    fn a_bucket_is_no_sub_domain_of_an_ip_address() {
        let env = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
        check("s3://buc?path_style=false", &env, "unsupported");
        check(
            "s3://buc?path_style=false",
            &[("AWS_ENDPOINT_URL_S3", "http://[::1]:1")],
            "unsupported",
        );
        check(
            "s3://buc?path_style=true",
            &env,
            "us-east-1 http://127.0.0.1:1/buc",
        );
    }

    #[test]
    fn a_profile_names_the_region_last() {
        let url: StoreUrl = "s3://buc".parse().expect("parses");
        let resolve = |env: Environment| {
            let settings =
                Settings::resolve(&url, &env, || async { Some("p-1".to_owned()) }).now_or_never();
            settings
                .expect("waits for nothing")
                .map(|settings| settings.region)
        };
        assert_eq!(resolve(Environment::default()).expect("region"), "p-1");
        assert_eq!(
            resolve([("AWS_DEFAULT_REGION", "d-1")].into_iter().collect()).expect("region"),
            "d-1"
        );
    }
}
