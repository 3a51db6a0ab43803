//! Listeners: they accept connections, tell HTTP/1 from HTTP/2, and hand each request to [`crate::exchange`].

mod frames;
mod http1;
mod http2;
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

use self::http1::Reading;
use self::socket::Downstream;
use crate::drain::{Open, Side};
use crate::exchange::slot;
use crate::net::downstream_limits::Place;
use crate::net::wake::Bell;
use crate::net::write_batch;
use crate::request::head::Caller;
use crate::telemetry::worker::{ListenerCounters, OpenConnection};
use crate::worker::connection_state::Talk;
use crate::worker::context::Lane;
use crate::worker::shared::Worker;

/// How long accepting rests when the system is out of descriptors.
const ACCEPT_REST: Span = Span::from_millis(50);
/// How often it is logged that callers were turned away.
const LOGGED_EACH: Span = Span::from_secs(1);

/// Serves a worker's sockets until their side closes.
pub(crate) async fn serve(worker: Worker) {
    let lane = Lane::new(worker.shared, worker.traffic);
    tokio::task::spawn_local(write_batch::deliver());
    tokio::task::spawn_local(lane.clone().tidy(slot::forget));
    tokio::task::spawn_local(heed(lane.clone()));
    let mut listening = Vec::new();
    let outbound =
        worker.outbound.into_iter().map(|socket| (socket, Entrance::Outbound { port: None }, Side::Outbound));
    let inbound = worker.inbound.into_iter().enumerate();
    let inbound = inbound.map(|(index, socket)| (socket, Entrance::Inbound(index), Side::Inbound));
    for (socket, entrance, side) in outbound.chain(inbound) {
        match TcpListener::from_std(socket) {
            Ok(socket) => listening.push(tokio::task::spawn_local(accept(lane.clone(), socket, entrance, side))),
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
async fn heed(lane: Rc<Lane>) {
    let mut stance = lane.shared.drain.watch();
    loop {
        lane.talks.heed(*stance.borrow_and_update());
        // An error means that the process is ending.
        if stance.changed().await.is_err() {
            return;
        }
    }
}

async fn accept(lane: Rc<Lane>, socket: TcpListener, entrance: Entrance, side: Side) {
    // The process does not end before its listeners are closed: a moment without traffic is not the end of it.
    let _listening = lane.traffic.listener(side);
    let counters = lane.telemetry.listener(name(side));
    let mut turned_away = TurnedAway::default();
    let mut stance = lane.shared.drain.watch();
    let port = if let Entrance::Inbound(index) = entrance { Some(index) } else { None };
    loop {
        let shut = async {
            // An error means that the process is ending, which shuts this as well.
            let _ = stance.wait_for(|stance| stance.shuts(side, port)).await;
        };
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok((stream, remote)) => {
                    if let Err(limit) = welcome(&lane, stream, remote, entrance, side, &counters) {
                        turned_away.note(&lane, side, limit);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    lane.clock.until(lane.clock.now() + ACCEPT_REST).await;
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
            let _ = welcome(&lane, stream, remote, entrance, side, &counters);
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
struct TurnedAway {
    count: u64,
    logged: Option<Time>,
}

impl TurnedAway {
    /// Counts one, and logs them now and then: a flood of callers is no flood of lines.
    fn note(&mut self, lane: &Lane, side: Side, limit: &'static str) {
        lane.telemetry.caller_closed(name(side), limit);
        self.count += 1;
        let now = lane.clock.now();
        if self.logged.is_none_or(|logged| now - logged >= LOGGED_EACH) {
            self.logged = Some(now);
            tracing::warn!(listener = name(side), limit, count = self.count, "connections were closed as they came");
            self.count = 0;
        }
    }
}

fn welcome(
    lane: &Rc<Lane>,
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
    let place = lane.shared.crowd.enter(listener, remote.ip())?;
    let Ok(local) = stream.local_addr() else { return Ok(()) };
    // Without it answers wait for acknowledgements; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let open = (counters.accepted(), lane.traffic.connection(side), place);
    let talk = lane.talks.begin(side);
    let caller = Caller { peer: remote, client: remote, local };
    let conversation = Conversation { lane: lane.clone(), caller, entrance, side, talk, _open: open };
    tokio::task::spawn_local(conversation.hold(stream));
    Ok(())
}

/// One connection.
struct Conversation {
    lane: Rc<Lane>,
    caller: Caller,
    entrance: Entrance,
    side: Side,
    talk: Rc<Talk>,
    /// Counts it for as long as it lasts.
    _open: (OpenConnection, Open, Place),
}

impl Conversation {
    async fn hold(self, stream: TcpStream) {
        let stream = Arc::new(stream);
        let mut reading = Reading::new(stream.clone());
        match reading.protocol(&self).await {
            Some(true) => {
                let downstream = Downstream::new(stream, reading.take());
                // In a task of its own, so that neither protocol's connections hold room for the other.
                tokio::task::spawn_local(async move { self.http2(downstream).await });
            }
            Some(false) => {
                let (mut talk, mut broken) = (pin!(self.http1(reading)), pin!(broken(&stream, &self.talk)));
                let mut bell = None;
                poll_fn(|cx| match talk.as_mut().poll(cx) {
                    Poll::Pending => Bell::of(&mut bell, cx.waker()).poll(broken.as_mut()),
                    Poll::Ready(()) => Poll::Ready(()),
                })
                .await;
            }
            None => {}
        }
    }
}

impl Conversation {
    /// The connection is closed before its caller closes it: that is counted and logged.
    fn closed(&self, reason: &'static str) {
        self.lane.telemetry.caller_closed(name(self.side), reason);
        tracing::debug!(caller = %self.caller.peer, listener = name(self.side), reason, "a caller's connection is closed");
    }
}

/// Waits for the caller's RST, or until it turns out to have left. A caller that has closed its own direction only still waits for
/// an answer, so nobody reads from the socket while a request is being answered, and nobody else would see this.
async fn broken(stream: &TcpStream, talk: &Talk) {
    let reset = async {
        if stream.ready(Interest::ERROR).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = reset => {}
        () = talk.left() => {}
    }
}
