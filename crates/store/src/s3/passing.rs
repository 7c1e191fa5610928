//! Writing an object whose bytes come while they are sent: one request, whose SHA-256 is known before its first byte.
//!
//! What must hold: the digest that is announced is signed, and the request is ended early, never filled up, where its bytes end early: what
//! was announced has then not arrived, and there is no object. A server is waited for only while it is its turn, not while the bytes' source is.
//!
//! It deliberately sends nothing twice: the bytes are gone by then.

use super::Bucket;
use super::connector::NoAnswerWithin;
use super::encoding::base64;
use super::objects::{CHECKSUM, Call};
use crate::blobs::{Attributes, Passed, Written};
use crate::error::BoxError;
use crate::meter::Meter;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use object_store::path::Path;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

impl Bucket {
    /// Writes an object while its bytes come.
    pub(crate) async fn pass_on(
        &self,
        path: &Path,
        passed: Passed,
        attributes: &Attributes,
    ) -> object_store::Result<Written> {
        let sum = passed.sha256;
        let mut call = Call::new(Method::PUT, path).announcing(passed.size, sum);
        self.describe(&mut call, attributes)?;
        self.attach_checksum(&mut call, &sum)?;
        let body = PassedBody::new(passed, self.meter());
        let reply = self.send_passing(&call, body).await?;
        Ok(Written {
            checksum_confirmed: reply.header(CHECKSUM) == Some(&base64(&sum)),
            e_tag: reply.header("etag").map(str::to_owned),
            in_doubt: false,
        })
    }
}

/// The body of a request whose bytes come while it is sent.
pub(super) struct PassedBody {
    // The client wants bodies that can be looked at from anywhere, which a stream cannot: nobody else ever holds the lock.
    stream: Mutex<BoxStream<'static, Result<Bytes, BoxError>>>,
    left: u64,
    turn: Turn,
    meter: Arc<Meter>,
}

impl PassedBody {
    fn new(passed: Passed, meter: Arc<Meter>) -> PassedBody {
        PassedBody {
            stream: Mutex::new(passed.bytes),
            left: passed.size,
            turn: Turn::default(),
            meter,
        }
    }

    /// Returns how many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Returns what tells whose turn it is.
    pub(super) fn turn(&self) -> Turn {
        self.turn.clone()
    }
}

impl Body for PassedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        this.turn.set(None);
        let stream = this.stream.get_mut();
        let stream = stream.unwrap_or_else(PoisonError::into_inner);
        let next = ready!(stream.as_mut().poll_next(context));
        this.turn.set(Some(Instant::now()));
        let next = match next {
            None if this.left == 0 => return Poll::Ready(None),
            None => Err(format!("the last {} bytes did not come", this.left).into()),
            Some(Ok(bytes)) => match this.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    this.left = left;
                    this.meter.sent(bytes.len());
                    Ok(Frame::data(bytes))
                }
                None => Err("more bytes came than were announced".into()),
            },
            Some(Err(error)) => Err(error),
        };
        Poll::Ready(Some(next))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

/// Since when it is the server's turn, to take bytes or to answer; none while bytes are waited for.
#[derive(Clone)]
pub(super) struct Turn(Arc<Mutex<Option<Instant>>>);

impl Default for Turn {
    fn default() -> Turn {
        // To begin with, a connection is waited for.
        Turn(Arc::new(Mutex::new(Some(Instant::now()))))
    }
}

impl Turn {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer; gives up when the server has let its turn last longer than a limit.
    pub(super) async fn wait<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, NoAnswerWithin> {
        let mut answer = pin!(answer);
        loop {
            let until = self.since().unwrap_or_else(Instant::now) + limit;
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = sleep_until(until) => {
                    if self.since().is_some_and(|since| since + limit <= Instant::now()) {
                        return Err(NoAnswerWithin(limit));
                    }
                }
            }
        }
    }
}
