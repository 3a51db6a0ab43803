//! Listeners: they accept connections, tell HTTP/1 from HTTP/2, and hand each request to [`crate::exchange`].

mod frames;
mod http1;
mod http2;
mod refused;
mod service;
mod socket;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use leeboard_policy::request::Entrance;
use leeboard_policy::time::{Span, Time};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use self::http1::RequestReader;
use self::socket::Downstream;
use crate::drain::{Open, Side};
use crate::exchange::slot;
use crate::net::downstream_limits::DownstreamSlot;
use crate::net::wake::WakeFlag;
use crate::net::write_batch;
use crate::request::head::Caller;
use crate::telemetry::worker::{ListenerCounters, OpenConnection};
use crate::worker::connection_state::ConnectionState;
use crate::worker::context::WorkerContext;
use crate::worker::shared::WorkerStart;

/// How long accepting rests when the system is out of descriptors.
const ACCEPT_REST: Span = Span::from_millis(50);
/// How often it is logged that callers were turned away.
const LOGGED_EACH: Span = Span::from_secs(1);

/// Serves a worker's sockets until their side closes.
pub(crate) async fn serve(worker: WorkerStart) {
    let context = WorkerContext::new(worker.shared, worker.traffic);
    tokio::task::spawn_local(write_batch::flush());
    tokio::task::spawn_local(context.clone().tidy(slot::forget));
    tokio::task::spawn_local(heed(context.clone()));
    let mut listening = Vec::new();
    let outbound =
        worker.outbound.into_iter().map(|socket| (socket, Entrance::Outbound { port: None }, Side::Outbound));
    let inbound = worker.inbound.into_iter().enumerate();
    let inbound = inbound.map(|(index, socket)| (socket, Entrance::Inbound(index), Side::Inbound));
    for (socket, entrance, side) in outbound.chain(inbound) {
        match TcpListener::from_std(socket) {
            Ok(socket) => listening.push(tokio::task::spawn_local(accept(context.clone(), socket, entrance, side))),
            Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
        }
    }
    for listener in listening {
        if let Err(error) = listener.await {
            tracing::error!(%error, "a listener ended");
        }
    }
    // Connections are tasks of their own; the thread stays for them until the process ends.
    std::future::pending::<()>().await;
}

/// Passes on how the process means to end, once instead of to each connection.
async fn heed(context: Rc<WorkerContext>) {
    let mut drain_state = context.shared.drain.watch();
    loop {
        context.registry.heed(*drain_state.borrow_and_update());
        // An error means that the process is ending.
        if drain_state.changed().await.is_err() {
            return;
        }
    }
}

async fn accept(context: Rc<WorkerContext>, socket: TcpListener, entrance: Entrance, side: Side) {
    // The process does not end before its listeners are closed: a moment without traffic is not the end of it.
    let _listening = context.traffic.listener(side);
    let counters = context.telemetry.listener(name(side));
    let mut rejected = RejectedConnections::default();
    let mut drain_state = context.shared.drain.watch();
    let port = if let Entrance::Inbound(index) = entrance { Some(index) } else { None };
    loop {
        let shut = async {
            // An error means that the process is ending, which shuts this as well.
            let _ = drain_state.wait_for(|drain_state| drain_state.shuts(side, port)).await;
        };
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok((stream, remote)) => {
                    if let Err(limit) = welcome(&context, stream, remote, entrance, side, &counters) {
                        rejected.note(&context, side, limit);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    context.clock.until(context.clock.now() + ACCEPT_REST).await;
                }
            },
            () = shut => break,
        }
    }
    // Who waits in the queue believes to be connected. The runtime may not have heard of them yet, so the socket is asked.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, remote)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            // Whoever is one too many now would be so on any other day.
            let _ = welcome(&context, stream, remote, entrance, side, &counters);
        }
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Outbound => "outbound",
        Side::Inbound => "inbound",
    }
}

/// Callers that were turned away since that was last logged.
#[derive(Default)]
struct RejectedConnections {
    count: u64,
    logged: Option<Time>,
}

impl RejectedConnections {
    /// Counts one, and logs them now and then: a flood of callers is no flood of lines.
    fn note(&mut self, context: &WorkerContext, side: Side, limit: &'static str) {
        context.telemetry.caller_closed(name(side), limit);
        self.count += 1;
        let now = context.clock.now();
        if self.logged.is_none_or(|logged| now - logged >= LOGGED_EACH) {
            self.logged = Some(now);
            tracing::warn!(listener = name(side), limit, count = self.count, "connections were closed as they came");
            self.count = 0;
        }
    }
}

fn welcome(
    context: &Rc<WorkerContext>,
    stream: TcpStream,
    remote: SocketAddr,
    entrance: Entrance,
    side: Side,
    counters: &ListenerCounters,
) -> Result<(), &'static str> {
    let listener = match entrance {
        Entrance::Outbound { .. } => 0,
        Entrance::Inbound(index) => 1 + index,
    };
    let place = context.shared.downstream_connections.enter(listener, remote.ip())?;
    let Ok(local) = stream.local_addr() else { return Ok(()) };
    // Without it answers wait for acknowledgements; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let open = (counters.accepted(), context.traffic.connection(side), place);
    let conn_state = context.registry.begin(side);
    let caller = Caller { peer: remote, client: remote, local };
    let connection = DownstreamConnection { context: context.clone(), caller, entrance, side, conn_state, _open: open };
    tokio::task::spawn_local(connection.hold(stream));
    Ok(())
}

/// One connection.
struct DownstreamConnection {
    context: Rc<WorkerContext>,
    caller: Caller,
    entrance: Entrance,
    side: Side,
    conn_state: Rc<ConnectionState>,
    /// Counts it for as long as it lasts.
    _open: (OpenConnection, Open, DownstreamSlot),
}

impl DownstreamConnection {
    async fn hold(self, stream: TcpStream) {
        let stream = Arc::new(stream);
        let mut reading = RequestReader::new(stream.clone());
        match reading.protocol(&self).await {
            Some(true) => {
                let downstream = Downstream::new(stream, reading.take());
                // In a task of its own, so that neither protocol's connections hold room for the other.
                tokio::task::spawn_local(async move { self.http2(downstream).await });
            }
            Some(false) => {
                let (mut conn_state, mut broken) = (pin!(self.http1(reading)), pin!(broken(&stream, &self.conn_state)));
                let mut wake_flag = None;
                poll_fn(|cx| match conn_state.as_mut().poll(cx) {
                    Poll::Pending => WakeFlag::of(&mut wake_flag, cx.waker()).poll(broken.as_mut()),
                    Poll::Ready(()) => Poll::Ready(()),
                })
                .await;
            }
            None => {}
        }
    }
}

impl DownstreamConnection {
    /// The connection is closed before its caller closes it: that is counted and logged.
    fn closed(&self, reason: &'static str) {
        self.context.telemetry.caller_closed(name(self.side), reason);
        tracing::debug!(caller = %self.caller.peer, listener = name(self.side), reason, "a caller's connection is closed");
    }
}

/// Waits for the caller's RST, or until it turns out to have left. A caller that has closed its own direction only still waits for
/// an answer, so nobody reads from the socket while a request is being answered, and nobody else would see this.
async fn broken(stream: &TcpStream, conn_state: &ConnectionState) {
    let reset = async {
        if stream.ready(Interest::ERROR).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = reset => {}
        () = conn_state.left() => {}
    }
}
