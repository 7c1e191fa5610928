//! A thread with an async runtime of its own, for servers that tests start and drop.
//!
//! It must hold that dropping the host stops everything on it at once: no task, socket or thread
//! outlives the test. A runtime of its own lets plain `#[test]` functions, which run our binaries as
//! processes, use the servers as well as async ones do, and no test can starve them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A running accept loop; dropping it stops it.
pub(crate) struct Host {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Listens on loopback and hands every connection to `serve`; port 0 lets the system choose.
    pub(crate) fn start<S, F>(port: u16, serve: S) -> io::Result<Host>
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Host::start_on(1, port, serve)
    }

    /// As [`Host::start`], with so many threads that serve.
    pub(crate) fn start_on<S, F>(threads: usize, port: u16, serve: S) -> io::Result<Host>
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("testkit-server".into())
            .spawn(move || {
                let mut builder = match threads {
                    0 | 1 => Builder::new_current_thread(),
                    _ => Builder::new_multi_thread(),
                };
                let runtime = builder
                    .worker_threads(threads.max(1))
                    .enable_all()
                    .build()
                    .expect("a runtime can be made");
                runtime.block_on(async move {
                    let listener =
                        TcpListener::from_std(listener).expect("the listener is non-blocking");
                    tokio::select! {
                        () = accept(listener, serve) => {}
                        _ = stopped => {}
                    }
                });
                // A blocking file operation must not hold the test up.
                runtime.shutdown_background();
            })?;
        Ok(Host {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed already; the test decides by what it saw.
            let _ = thread.join();
        }
    }
}

async fn accept<S, F>(listener: TcpListener, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        // Without it small answers wait for the client's delayed acknowledgement, 40 ms each.
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream));
    }
}
