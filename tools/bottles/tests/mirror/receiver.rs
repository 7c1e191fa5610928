//! Somebody who takes notices over HTTP, and is as strict about Slack's messages as Slack's reference of blocks says.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The part of a webhook's address that nobody may see.
pub const SECRET: &str = "T00000000/B00000000/XXXXsecretXXXXsecret";

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As Slack does.
    Slack,
    /// With a status and a text.
    Status(u16, &'static str),
    /// With a redirect to where somebody listens.
    Redirect(SocketAddr),
    /// Never.
    Hang,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    manner: Manner,
    got: Mutex<Vec<Got>>,
    came: Notify,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn start(manner: Manner) -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            manner,
            got: Mutex::default(),
            came: Notify::new(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Receiver {
            address,
            shared,
            task,
        }
    }

    /// The address of its webhook.
    pub fn url(&self) -> String {
        format!("http://{}/services/{SECRET}", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.shared.got.lock().expect("nobody panicked").clone()
    }

    /// Waits until something came that fits.
    pub async fn until(&self, fits: impl Fn(&Got) -> bool) {
        loop {
            let came = self.shared.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if self.got().iter().any(&fits) {
                return;
            }
            came.await;
        }
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.got.lock().expect("nobody panicked").push(Got {
        path: uri.path().to_owned(),
        headers,
        body: body.clone(),
    });
    shared.came.notify_waiters();
    match shared.manner {
        Manner::Slack => match serde_json::from_slice(&body).map_err(|error| error.to_string()) {
            Ok(message) => match check(&message) {
                Ok(()) => "ok".into_response(),
                Err(why) => {
                    (StatusCode::BAD_REQUEST, format!("invalid_blocks {why}")).into_response()
                }
            },
            Err(_) => (StatusCode::BAD_REQUEST, "invalid_payload").into_response(),
        },
        Manner::Status(status, text) => {
            let status = StatusCode::from_u16(status).expect("a status");
            // Longer than anybody should wait.
            (status, [(header::RETRY_AFTER, "3600")], text).into_response()
        }
        Manner::Redirect(to) => {
            let to = format!("http://{to}/elsewhere");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Manner::Hang => std::future::pending().await,
    }
}

/// Checks what Slack checks.
pub fn check(message: &Value) -> Result<(), String> {
    let text = message["text"].as_str().ok_or("no text")?;
    within("text", text, 1, 40_000)?;
    let blocks = message["blocks"].as_array().ok_or("no blocks")?;
    if blocks.is_empty() || blocks.len() > 50 {
        return Err(format!("{} blocks", blocks.len()));
    }
    for block in blocks {
        match block["type"].as_str() {
            Some("header") => {
                if block["text"]["type"] != "plain_text" {
                    return Err("a header has plain text".to_owned());
                }
                within("header", text_of(&block["text"])?, 1, 150)?;
            }
            Some("section") => section(block)?,
            Some("context") => {
                let elements = block["elements"].as_array().ok_or("no elements")?;
                if elements.is_empty() || elements.len() > 10 {
                    return Err(format!("{} elements", elements.len()));
                }
                for element in elements {
                    markup("context", text_of(element)?, 3000)?;
                }
            }
            other => return Err(format!("a block of type {other:?}")),
        }
    }
    Ok(())
}

fn section(block: &Value) -> Result<(), String> {
    let (text, fields) = (block.get("text"), block.get("fields"));
    if text.is_none() && fields.is_none() {
        return Err("a section of nothing".to_owned());
    }
    if let Some(text) = text {
        markup("section", text_of(text)?, 3000)?;
    }
    if let Some(fields) = fields {
        let fields = fields.as_array().ok_or("fields are a list")?;
        if fields.is_empty() || fields.len() > 10 {
            return Err(format!("{} fields", fields.len()));
        }
        for field in fields {
            markup("field", text_of(field)?, 2000)?;
        }
    }
    Ok(())
}

fn text_of(object: &Value) -> Result<&str, String> {
    object["text"].as_str().ok_or_else(|| "no text".to_owned())
}

fn within(what: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    let length = text.encode_utf16().count();
    match (min..=max).contains(&length) {
        true => Ok(()),
        false => Err(format!("a {what} of {length}")),
    }
}

/// Markup may have no bare `<`, `>` or `&`: a formula's text that had one would become a link, or nothing.
fn markup(what: &str, text: &str, max: usize) -> Result<(), String> {
    within(what, text, 1, max)?;
    let plain = text
        .replace("&amp;", "")
        .replace("&lt;", "")
        .replace("&gt;", "");
    match plain.contains(['<', '>', '&']) {
        true => Err(format!("a {what} that is not escaped: {text}")),
        false => Ok(()),
    }
}
