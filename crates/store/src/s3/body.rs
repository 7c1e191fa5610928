//! The body of an answer while it is read: counted, and watched for stalls.
//!
//! What must hold: a body that stalls longer than the limit fails; the connection counts as busy until the body ends.

use super::connector::http_error;
use super::trail;
use super::transport::NoAnswer;
use crate::error::ErrorKind;
use crate::meter::Meter;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

/// A body that is being read.
pub(super) struct WatchedBody {
    inner: reqwest::Body,
    request: String,
    stall: Pin<Box<Sleep>>,
    limit: Duration,
    meter: Arc<Meter>,
    busy: Option<OwnedSemaphorePermit>,
}

impl WatchedBody {
    pub(super) fn new(
        inner: reqwest::Body,
        request: &str,
        limit: Duration,
        meter: Arc<Meter>,
        busy: OwnedSemaphorePermit,
    ) -> WatchedBody {
        WatchedBody {
            inner,
            request: request.to_owned(),
            stall: Box::pin(sleep(limit)),
            limit,
            meter,
            busy: Some(busy),
        }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            ready!(this.stall.as_mut().poll(context));
            this.busy = None;
            trail::interrupted(&this.request, ErrorKind::Timeout);
            return Poll::Ready(Some(Err(HttpError::new(
                HttpErrorKind::Timeout,
                NoAnswer {
                    waited: this.limit,
                    has_begun: true,
                },
            ))));
        };
        let frame = frame.map(|frame| frame.map_err(http_error));
        match &frame {
            Some(Ok(frame)) => {
                this.meter.received(frame.data_ref().map_or(0, Bytes::len));
                this.stall.as_mut().reset(Instant::now() + this.limit);
            }
            // The permit goes back at the end, and at an error: the retry may need it.
            Some(Err(_)) => {
                this.busy = None;
                trail::interrupted(&this.request, ErrorKind::Connection);
            }
            None => this.busy = None,
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
