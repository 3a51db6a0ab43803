//! The admin server. It has threads and runtimes of its own, so that pages and traffic do not delay each other.
//! Readiness has a thread of its own too, so that a large scrape or dump does not delay it.

use std::convert::Infallible;
use std::fs::File;
use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connections::{AdminConnections, Seat};
use super::service::Pages;
use super::{AdminState, Scope};

/// How long a caller may take to send a request's head, from its connection or from its last answer on.
const HEAD: Duration = Duration::from_secs(10);

/// Descriptors that are kept for callers who ask for readiness.
const RESERVE: usize = 2;

/// What the kernel says when a process has no descriptor left: the same number on all its architectures.
const EMFILE: i32 = 24;

/// How long to wait after an accept has failed: the reason, such as too few file descriptors, is seldom over at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections at a time. Who comes later is let in, and one that has been silent for the longest leaves.
fn places(scope: Scope) -> usize {
    match scope {
        Scope::Status => 64,
        Scope::Admin => 32,
        Scope::Metrics => 16,
    }
}

/// Serves the pages until the process ends.
///
/// # Errors
/// When the thread or its runtime cannot be made, or a socket cannot be used.
pub(crate) fn start(sockets: Vec<(Scope, TcpListener)>, state: Arc<AdminState>) -> io::Result<()> {
    let (status, others): (Vec<_>, Vec<_>) = sockets.into_iter().partition(|(scope, _)| *scope == Scope::Status);
    for (name, sockets) in [("status", status), ("admin", others)] {
        if !sockets.is_empty() {
            start_thread(name, sockets, &state)?;
        }
    }
    Ok(())
}

fn start_thread(name: &str, sockets: Vec<(Scope, TcpListener)>, state: &Arc<AdminState>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _entered = runtime.enter();
        let listener = |(scope, socket): (Scope, TcpListener)| {
            socket.set_nonblocking(true)?;
            Ok((scope, tokio::net::TcpListener::from_std(socket)?))
        };
        sockets.into_iter().map(listener).collect::<io::Result<Vec<_>>>()?
    };
    let state = state.clone();
    thread::Builder::new().name(name.into()).spawn(move || {
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
    let guests = AdminConnections::new(places(pages.scope));
    let reserve = Arc::new(Reserve::of(if pages.scope == Scope::Status { RESERVE } else { 0 }));
    reserve.fill();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (seat, pages, reserve) = (guests.enter(), pages.clone(), reserve.clone());
                tokio::spawn(async move {
                    serve(stream, seat, pages).await;
                    reserve.fill();
                });
            }
            // Whoever asks for readiness has what was kept for them.
            Err(error) if error.raw_os_error() == Some(EMFILE) && reserve.spend() => {}
            Err(error) => {
                tracing::warn!(%error, "an admin socket could not accept");
                pause().await;
            }
        }
    }
}

/// There is no event to wait for: the kernel does not say when it could accept again.
#[expect(clippy::disallowed_methods, reason = "nothing tells when a socket can accept again")]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

/// Descriptors that are kept for when there are no others, so that a process that has none left is still known to live.
struct Reserve {
    most: usize,
    held: Mutex<Vec<File>>,
}

impl Reserve {
    fn of(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    fn fill(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.len() < self.most {
            let Ok(file) = File::open("/dev/null") else { return };
            held.push(file);
        }
    }

    /// Lets one go, if there is one.
    fn spend(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).pop().is_some()
    }
}

async fn serve(stream: tokio::net::TcpStream, seat: Seat, pages: Pages) {
    let (state, scope) = (pages.state.clone(), pages.scope);
    let answer = service_fn(|request| {
        seat.makes_room();
        ready(Ok::<_, Infallible>(pages.answer(&request)))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = http.serve_connection(TokioIo::new(seat.watch(stream)), answer);
    tokio::select! {
        over = connection => if let Err(error) = over {
            tracing::debug!(%error, "an admin connection broke");
            if seat.stalled() {
                state.telemetry.caller_dismissed(scope.port(), "stalled", state.controls.wall());
            }
        },
        () = seat.dismissed() => {
            tracing::debug!(port = scope.port(), "a caller leaves for another");
            state.telemetry.caller_dismissed(scope.port(), "crowded", state.controls.wall());
        }
    }
}
