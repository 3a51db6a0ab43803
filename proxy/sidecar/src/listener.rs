//! Listeners: they accept connections, tell HTTP/1 from HTTP/2, and hand each request to [`crate::exchange`].

mod rim;
mod smuggling;
pub(crate) mod talk;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use leeboard_policy::request::Entrance;
use leeboard_policy::time::Span;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use self::talk::{Downstream, Talk};
use crate::drain::{Manner, Side, Stance};
use crate::exchange::head::Caller;
use crate::lane::Lane;
use crate::run::Worker;
use crate::telemetry::worker::ListenerCounters;
use crate::tunnel::Berth;
use crate::upstream::connect::OnThisWorker;

/// Envoy: the most streams at a time on a caller's connection.
const MAX_STREAMS: u32 = 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long accepting rests when the system is out of descriptors.
const ACCEPT_REST: Span = Span::from_millis(50);
/// The smallest buffer that hyper allows.
const LEAST_BUFFER: usize = 64 * 1024;

/// Serves a worker's sockets until their side closes.
pub(crate) async fn serve(worker: Worker) {
    let lane = Lane::new(worker.shared, worker.traffic);
    tokio::task::spawn_local(lane.clone().tidy());
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

async fn accept(lane: Rc<Lane>, socket: TcpListener, entrance: Entrance, side: Side) {
    // The process does not end before its listeners are closed: a moment without traffic is not the end of it.
    let _listening = lane.traffic.connection();
    let counters = lane.telemetry.listener(match side {
        Side::Outbound => "outbound",
        Side::Inbound => "inbound",
    });
    let mut stance = lane.shared.drain.watch();
    loop {
        let shut = async {
            // An error means that the process is ending, which shuts this as well.
            let _ = stance.wait_for(|stance| stance.of(side) >= Manner::Shut).await;
        };
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok((stream, remote)) => welcome(&lane, stream, remote, entrance, side, &counters),
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
            welcome(&lane, stream, remote, entrance, side, &counters);
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
) {
    let Ok(local) = stream.local_addr() else { return };
    // Without it answers wait for acknowledgements; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let open = (counters.accepted(), lane.traffic.connection());
    let talk = lane.talks.begin(lane.clock);
    let conversation = Conversation {
        lane: lane.clone(),
        caller: Caller { remote, local },
        entrance,
        side,
        talk: talk.clone(),
        berth: Berth::default(),
    };
    tokio::task::spawn_local(async move {
        let _open = open;
        conversation.hold(stream).await;
    });
}

/// One connection.
struct Conversation {
    lane: Rc<Lane>,
    caller: Caller,
    entrance: Entrance,
    side: Side,
    talk: Rc<Talk>,
    berth: Berth,
}

impl Conversation {
    async fn hold(self, stream: TcpStream) {
        let stance = self.lane.shared.drain.watch();
        let stream = Rc::new(stream);
        tokio::select! {
            biased;
            detected = Downstream::detect(stream.clone(), self.talk.clone()) => match detected {
                Ok((downstream, true)) => self.http2(downstream, stance).await,
                Ok((downstream, false)) => {
                    tokio::select! {
                        biased;
                        () = self.http1(downstream, stance) => {}
                        () = broken(&stream) => {}
                    }
                }
                Err(_) => {}
            },
            () = self.talk.late() => self.lane.telemetry.bad_request("header-timeout"),
        }
    }

    fn service(&self) -> rim::Service {
        rim::service(self.lane.clone(), self.entrance, self.caller, self.talk.clone(), self.berth.clone())
    }

    async fn http1(&self, downstream: Downstream, mut stance: watch::Receiver<Stance>) {
        let settings = &self.lane.shared.settings;
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            .preserve_header_case(true)
            .max_headers(settings.max_headers)
            .max_header_size(settings.max_header_bytes)
            .max_buf_size(LEAST_BUFFER.max(settings.max_header_bytes * 2));
        let service = TowerToHyperService::new(self.service());
        let mut connection = builder.serve_connection(TokioIo::new(downstream), service);
        let mut closing = false;
        loop {
            let close = async {
                // An error means that the process is ending, which closes this as well.
                let _ = stance.wait_for(|stance| stance.of(self.side) == Manner::Closing).await;
            };
            tokio::select! {
                biased;
                ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                    if !self.tell(ended) {
                        // What waits to be a tunnel ends with the connection that it would have had.
                        drop(self.berth.take());
                    }
                    let parts = connection.into_parts();
                    return self.after_http(parts.io.into_inner(), parts.read_buf).await;
                }
                () = self.talk.late() => {
                    self.lane.telemetry.bad_request("header-timeout");
                    return timed_out(connection.into_parts().io.into_inner()).await;
                }
                () = close, if !closing => {
                    closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    }

    /// What is left of an HTTP/1 connection becomes a tunnel if one waits for it; otherwise the proxy's part in it is over.
    async fn after_http(&self, mut downstream: Downstream, early: Bytes) {
        match self.berth.take() {
            Some(tunnel) => {
                downstream.forget_http();
                Box::pin(tunnel.carry(downstream, early)).await;
            }
            // The caller may be gone; there is nobody else to tell.
            None => drop(downstream.shutdown().await),
        }
    }

    async fn http2(&self, downstream: Downstream, mut stance: watch::Receiver<Stance>) {
        let settings = &self.lane.shared.settings;
        let mut builder = http2::Builder::new(OnThisWorker);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX));
        let service = TowerToHyperService::new(self.service());
        let connection = builder.serve_connection(TokioIo::new(downstream), service);
        tokio::pin!(connection);
        let mut leaving = false;
        loop {
            let leave = async {
                let _ =
                    stance.wait_for(|stance| matches!(stance.of(self.side), Manner::Leaving | Manner::Closing)).await;
            };
            tokio::select! {
                biased;
                ended = &mut connection => {
                    self.tell(ended);
                    return;
                }
                () = leave, if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Counts requests that hyper could not read and has answered itself with 400, 414 or 431. True when all went well.
    fn tell(&self, ended: hyper::Result<()>) -> bool {
        let Err(error) = ended else { return true };
        if error.is_parse_too_large() {
            self.lane.telemetry.bad_request("header-too-large");
        } else if error.is_parse() {
            self.lane.telemetry.bad_request("malformed");
        }
        tracing::debug!(caller = %self.caller.remote, %error, "a caller's connection ended");
        false
    }
}

/// Waits for the caller's RST. A caller that has closed its own direction only still waits for an answer, so hyper does not
/// look at the socket while a request is being answered, and would not see this either.
async fn broken(stream: &TcpStream) {
    if stream.ready(Interest::ERROR).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Envoy: a request whose head takes too long is answered with 408, and the connection is closed.
async fn timed_out(mut downstream: Downstream) {
    const ANSWER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain\r\n\
        content-length: 22\r\nserver: leeboard\r\nx-leeboard-reason: header-timeout\r\n\r\nrequest header timeout";
    // The caller may be gone; there is nobody else to tell.
    let _ = downstream.write_all(ANSWER).await;
    let _ = downstream.shutdown().await;
}
