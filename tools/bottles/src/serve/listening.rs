//! Takes connections, no more at once than there is room for, and none for longer than it is of use.
//!
//! What must hold: a client that sends half a request, or reads nothing of its answer, costs the others nothing and goes; a socket that
//! cannot be had for a moment does not end the server; a stop ends within its time, whoever is connected.
//!
//! It deliberately knows nothing of what is served.

use super::access::Peer;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use transfer::StopSignal;

/// After a socket could not be had, so long nothing is tried: the system has too few of something.
const BREATHER: Duration = Duration::from_millis(100);

/// What a server bears from its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many connections at once; who comes then waits.
    pub connections: usize,
    /// A request's head has to come within this time, and the next one on the same connection too.
    pub head: Duration,
    /// A client that takes nothing of its answer for so long is let go.
    pub stall: Duration,
    /// So long a stop waits for answers that are under way.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            head: Duration::from_secs(15),
            stall: Duration::from_mins(1),
            // Supervisors commonly kill after 30.
            drain: Duration::from_secs(25),
        }
    }
}

/// Serves until the signal is raised, and then what is under way, for as long as the limits say.
pub(super) async fn run(listener: TcpListener, router: Router, limits: Limits, stop: StopSignal) {
    let room = Arc::new(Semaphore::new(limits.connections.max(1)));
    let graceful = GracefulShutdown::new();
    // Whoever is still connected at the very end goes with it.
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head);
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stop.raised() => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_client(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "no connection can be taken");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        let router = router.clone().layer(Extension(Peer(peer)));
        let service = TowerToHyperService::new(router);
        let connection = http.serve_connection(TokioIo::new(bounded(stream, limits)), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!("answers were still under way, and are cut off");
    }
}

fn bounded(stream: TcpStream, limits: Limits) -> std::pin::Pin<Box<TimeoutStream<TcpStream>>> {
    // Answers are written as they come; without it the last bytes of each would wait for the client's confirmation.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a socket takes no option");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall));
    Box::pin(stream)
}

/// Tells whether it is the client that went away, not we who lack something.
fn is_of_one_client(error: &io::Error) -> bool {
    let of_one = [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ];
    of_one.contains(&error.kind())
}
