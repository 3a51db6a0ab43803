//! The admin server: a thread and a runtime of its own, so that no page can hold up traffic and no traffic a page.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tower::Service;

use super::service::Pages;
use super::{AdminState, Scope};

/// Connections at a time on each socket, so that a crowd on one keeps nobody from another. Who comes later waits in the
/// kernel's queue.
const CONNECTIONS: usize = 64;

/// How long a caller may take to send a request's head, so that idle connections do not hold a place for ever.
const HEAD: Duration = Duration::from_secs(60);

/// How long to wait after an accept has failed: the reason, such as too few file descriptors, is seldom over at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the pages until the process ends.
///
/// # Errors
/// When the thread or its runtime cannot be made, or a socket cannot be used.
pub(crate) fn start(sockets: Vec<(Scope, TcpListener)>, state: Arc<AdminState>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _entered = runtime.enter();
        let listener = |(scope, socket): (Scope, TcpListener)| {
            socket.set_nonblocking(true)?;
            Ok((scope, tokio::net::TcpListener::from_std(socket)?))
        };
        sockets.into_iter().map(listener).collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(async {
            let accepting: Vec<_> = (listeners.into_iter())
                .map(|(scope, listener)| {
                    let pages = Pages { state: state.clone(), scope };
                    tokio::spawn(accept(listener, pages))
                })
                .collect();
            for task in accepting {
                if let Err(error) = task.await {
                    tracing::error!(%error, "an admin socket has stopped");
                }
            }
        });
    })
}

async fn accept(listener: tokio::net::TcpListener, pages: Pages) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = pages.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| pages.clone().call(request));
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
                    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
                        tracing::debug!(%error, "an admin connection broke");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an admin socket could not accept");
                let _ = tokio::time::timeout(PAUSE, std::future::pending::<()>()).await;
            }
        }
    }
}
