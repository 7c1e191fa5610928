//! Lets `aws-config` use our HTTP client, so that its requests know the same proxies and certificates as all others.
//!
//! What must hold: the time limits that it asks for are kept; errors keep their types.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::time::Duration;

/// How long a request may take where no limit is asked for.
const LIMIT: Duration = Duration::from_secs(30);

/// Our client in their clothes.
#[derive(Clone, Debug)]
pub(super) struct AwsClient {
    client: reqwest::Client,
    limit: Duration,
}

impl AwsClient {
    pub(super) fn new(client: reqwest::Client) -> AwsClient {
        AwsClient {
            client,
            limit: LIMIT,
        }
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |error| ConnectorError::user(error);
        let request = request
            .try_into_http1x()
            .map_err(|error| user(error.into()))?;
        let (parts, body) = request.into_parts();
        let url: url::Url = parts
            .uri
            .to_string()
            .parse()
            .map_err(|error: url::ParseError| user(error.into()))?;
        let mut sent = reqwest::Request::new(parts.method, url);
        *sent.headers_mut() = parts.headers;
        *sent.body_mut() = Some(body.bytes().unwrap_or_default().to_vec().into());
        *sent.timeout_mut() = Some(self.limit);
        let answer = self.client.execute(sent).await.map_err(failure)?;
        let mut head = http::Response::builder().status(answer.status());
        if let Some(headers) = head.headers_mut() {
            *headers = answer.headers().clone();
        }
        let body = answer.bytes().await.map_err(failure)?;
        let answer = head
            .body(SdkBody::from(body.to_vec()))
            .map_err(|error| user(error.into()))?;
        HttpResponse::try_from(answer).map_err(|error| user(error.into()))
    }
}

fn failure(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}

impl HttpClient for AwsClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let asked = [settings.connect_timeout(), settings.read_timeout()]
            .into_iter()
            .flatten()
            .sum::<Duration>();
        let limit = if asked.is_zero() { self.limit } else { asked };
        SharedHttpConnector::new(AwsClient {
            client: self.client.clone(),
            limit,
        })
    }
}

impl HttpConnector for AwsClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}
