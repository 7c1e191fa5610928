//! What a scripted proxy does to which request.
//!
//! The first rule that matches and has turns left is taken; a request no rule matches is passed on.
//! Rules are data, so that a test reads like the story of a failure.

use super::http::Message;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// A change made to an answer on its way back.
pub type Edit = Arc<dyn Fn(&mut Message) + Send + Sync>;

/// What is done to a request.
#[derive(Clone)]
pub enum Action {
    /// Answers without asking the upstream.
    Respond(Message),
    /// Closes the connection; the upstream never sees the request.
    DropBefore,
    /// Passes the request on, then closes: the effect happened and the answer is lost.
    DropAfter,
    /// Passes the request on and sends only so many bytes of the body, then closes.
    CutBody(usize),
    /// Passes the request on once the gate is open.
    Hold(Gate),
    /// Passes the request on at once, and the answer back once the gate is open.
    Late(Gate),
    /// Never answers, until the client gives up or the proxy is dropped.
    Stall,
    /// Passes the request on and changes the answer.
    Edit(Edit),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Respond(message) => write!(f, "Respond({})", message.start),
            Action::DropBefore => f.write_str("DropBefore"),
            Action::DropAfter => f.write_str("DropAfter"),
            Action::CutBody(bytes) => write!(f, "CutBody({bytes})"),
            Action::Hold(_) => f.write_str("Hold"),
            Action::Late(_) => f.write_str("Late"),
            Action::Stall => f.write_str("Stall"),
            Action::Edit(_) => f.write_str("Edit"),
        }
    }
}

/// A barrier that requests wait at until it is opened, once.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Gate {
    /// Makes a closed gate.
    pub fn closed() -> Gate {
        Gate {
            open: watch::Sender::new(false),
        }
    }

    /// Opens it for every request that waits or will come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn wait(&self) {
        // An error means that the gate is gone, and then nothing is to be waited for.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Which requests an action is for.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<String>,
    target: Option<String>,
    header: Option<(String, String)>,
    skip: usize,
    times: usize,
    action: Action,
}

impl Rule {
    /// An action for every request.
    pub fn new(action: Action) -> Rule {
        Rule {
            method: None,
            target: None,
            header: None,
            skip: 0,
            times: usize::MAX,
            action,
        }
    }

    /// An answer with a status and an S3 error body.
    pub fn s3_error(status: u16, code: &str, message: &str) -> Rule {
        Rule::new(Action::Respond(s3_error(status, code, message)))
    }

    /// The answer of a store that wants fewer requests.
    pub fn slow_down() -> Rule {
        Rule::s3_error(503, "SlowDown", "Please reduce your request rate.")
    }

    /// Only for this method.
    pub fn method(mut self, method: &str) -> Rule {
        self.method = Some(method.to_owned());
        self
    }

    /// Only when path and query contain this text.
    pub fn target(mut self, part: &str) -> Rule {
        self.target = Some(part.to_owned());
        self
    }

    /// Only when a header contains this text.
    pub fn header(mut self, name: &str, part: &str) -> Rule {
        self.header = Some((name.to_owned(), part.to_owned()));
        self
    }

    /// Lets the first `n` matching requests pass.
    pub fn skip(mut self, n: usize) -> Rule {
        self.skip = n;
        self
    }

    /// Ends after `n` requests.
    pub fn times(mut self, n: usize) -> Rule {
        self.times = n;
        self
    }

    /// Takes a turn when the request matches.
    pub(crate) fn take(&mut self, request: &Message) -> Option<Action> {
        if self.times == 0 || !self.matches(request) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.action.clone())
    }

    fn matches(&self, request: &Message) -> bool {
        let (method, target) = request.request_line();
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self
                .target
                .as_deref()
                .is_none_or(|part| target.contains(part))
            && self.header.as_ref().is_none_or(|(name, part)| {
                request
                    .header(name)
                    .is_some_and(|value| value.contains(part))
            })
    }
}

/// An S3 error answer.
pub fn s3_error(status: u16, code: &str, message: &str) -> Message {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>TESTKIT</RequestId></Error>"
    );
    Message::answer(status, "application/xml", body)
}
