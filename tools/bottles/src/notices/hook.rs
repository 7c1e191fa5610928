//! Notices over HTTP: Slack's incoming webhooks, and webhooks of any sort, signed if a key is set.
//!
//! What must hold: the address is in no error and no log; redirects are not followed, since whoever they lead to would get what is meant
//! for another.

use super::secret::Secret;
use super::{Notice, SendError, slack};
use reqwest::StatusCode;
use reqwest::header;
use ring::hmac;
use std::time::Duration;
use store::{Environment, Tuning};
use url::Url;

/// The header in which a webhook finds the signature of the body: `sha256=` and the HMAC-SHA256 in hexadecimal digits.
pub const SIGNATURE: &str = "x-homebrew-sync-signature";

/// So much of an answer is read.
const ANSWER_MAX: usize = 200;

/// What a receiver understands.
pub enum HookForm {
    /// Slack's blocks.
    Slack,
    /// The notice as JSON, signed with a key if there is one.
    Json(Option<Secret>),
}

/// A receiver over HTTP.
pub struct Hook {
    client: reqwest::Client,
    url: Url,
    form: HookForm,
}

impl Hook {
    /// Makes one of its address.
    ///
    /// # Errors
    /// Says what is wrong with the address, without it.
    pub fn new(secret: &Secret, form: HookForm, env: &Environment) -> Result<Hook, String> {
        let url: Url = secret
            .word()?
            .parse()
            .map_err(|_| "it is no address".to_owned())?;
        let is_local = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => return Err("it names no host".to_owned()),
        };
        match url.scheme() {
            "https" => {}
            "http" if is_local => {}
            "http" => {
                return Err(
                    "it is an http address: whoever is on the way could read it; use https"
                        .to_owned(),
                );
            }
            _ => return Err("it is no https address".to_owned()),
        }
        let client = store::secret_http_client(url.scheme() == "https", &Tuning::default(), env)
            .map_err(|error| error.to_string())?;
        Ok(Hook { client, url, form })
    }

    /// Names what it is.
    pub(super) fn name(&self) -> &'static str {
        match self.form {
            HookForm::Slack => "Slack",
            HookForm::Json(_) => "webhook",
        }
    }

    /// Returns the host: all of the address that may be told.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or("");
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    pub(super) async fn send(&self, notice: &Notice) -> Result<String, SendError> {
        let body = match &self.form {
            HookForm::Slack => slack::message(notice).to_string(),
            HookForm::Json(_) => serde_json::to_string(notice).unwrap_or_default(),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        if let HookForm::Json(Some(key)) = &self.form {
            request = request.header(SIGNATURE, signature(key.reveal(), body.as_bytes()));
        }
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| transport(&error.without_url()))?;
        let status = answer.status();
        let pause = answer.headers().get(header::RETRY_AFTER);
        let pause = pause.and_then(|value| value.to_str().ok()?.parse().ok());
        let said = self.said(answer).await;
        if status.is_success() {
            return Ok(joined(status, &said));
        }
        let error = SendError::new(joined(status, &said), self.remedy(status));
        let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(match may_pass {
            // A longer one than there is time for ends with the time.
            true => error.passing(Duration::from_secs(pause.unwrap_or(1))),
            false => error,
        })
    }

    /// Reads the beginning of an answer; it is left out if it has anything of the address in it, as pages about errors like to.
    async fn said(&self, mut answer: reqwest::Response) -> String {
        let mut bytes = Vec::new();
        while bytes.len() < ANSWER_MAX
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().next().unwrap_or("");
        let line: String = line
            .chars()
            .filter(|c| !c.is_control())
            .take(ANSWER_MAX)
            .collect();
        let parts = self.url.path().split('/').chain(self.url.query());
        let mut parts = parts.filter(|part| part.len() >= 6);
        match parts.any(|part| line.contains(part)) || line.contains('<') {
            true => String::new(),
            false => line.trim().to_owned(),
        }
    }

    fn remedy(&self, status: StatusCode) -> &'static str {
        let is_slack = matches!(self.form, HookForm::Slack);
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE if is_slack => {
                "the webhook is not there (any more): make a new one in the settings of the Slack app, and put it where the old one was"
            }
            StatusCode::FORBIDDEN if is_slack => {
                "the webhook was revoked, or the channel does not take it: see the settings of the Slack app"
            }
            StatusCode::NOT_FOUND => "check the path of the webhook's address",
            status if status.is_redirection() => {
                "a redirect is not followed; set the address that it leads to"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "check the webhook's address, and the key that it checks signatures with"
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                "the receiver is ill or busy; try again later with `homebrew-sync test-notification`"
            }
            _ => "see what the receiver says about it",
        }
    }
}

/// Signs a body.
#[must_use]
pub fn signature(key: &str, body: &[u8]) -> String {
    use std::fmt::Write;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let mut text = "sha256=".to_owned();
    for byte in hmac::sign(&key, body).as_ref() {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn joined(status: StatusCode, said: &str) -> String {
    match said.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {said}"),
    }
}

fn transport(error: &reqwest::Error) -> SendError {
    let mut what = "it could not be reached".to_owned();
    let mut source = std::error::Error::source(error);
    // The innermost cause says it: refused, no such host, a certificate.
    while let Some(error) = source {
        what = error.to_string();
        source = error.source();
    }
    SendError::new(
        what,
        "check that the address can be reached from here, and its proxy",
    )
    .passing(Duration::from_millis(500))
}
