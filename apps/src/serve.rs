//! The server of a service: HTTP/1.1 until SIGTERM, then no new connection, finish, end.

use std::io;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::ServiceExt;

use crate::behaviour::HangUp;

/// Serves `router` on `listener` until `stop` is ready, then finishes the requests in hand and returns.
///
/// # Errors
/// None while serving: a connection that cannot be accepted is logged and the next one is awaited.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors the next accept fails at once: let some connection end first.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let router = router.clone();
        let service = service_fn(move |request| answer(router.clone(), request));
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// An answer marked [`HangUp`] becomes an error, on which hyper closes the connection without a byte.
async fn answer(router: Router, request: Request<Incoming>) -> io::Result<Response<axum::body::Body>> {
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.extensions().get::<HangUp>().is_some() {
        return Err(io::Error::other("told to hang up"));
    }
    Ok(response)
}

/// Ready when the process is told to stop: SIGTERM or SIGINT.
///
/// # Errors
/// The signals cannot be listened to.
pub fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
