//! Makes connections to endpoints: TCP or Unix socket, then HTTP/1.1 or HTTP/2 on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use leeboard_policy::cluster::{self, Address, Connection as Settings};
use leeboard_policy::limits::Slot;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Failure;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::connection::{Connection, Transport, stream_connection};
use super::connection_request::{ConnectError, ConnectionRequest, HeldResources};
use super::http1::Http1Connection;
use super::http2::{self, Http2Connection, Http2Handshake, Http2Stream};
use crate::host::clock::duration;
use crate::http::http2::MAX_STREAMS;
use crate::net::upstream_limits::UpstreamSlot;
use crate::net::upstream_socket::{Meter, Metered, Stream};
use crate::telemetry::worker::PoolCounters;

/// How connections are probed that wait for their next request, when the configuration does not say: an endpoint that has
/// vanished without a word is found in a minute and a half, and not by the next request. Better than Envoy: it probes nothing.
const KEEPALIVE: cluster::TcpKeepalive =
    cluster::TcpKeepalive { probes: Some(3), time: Some(Span::from_secs(60)), interval: Some(Span::from_secs(10)) };

/// The sending side of a new connection.
enum Sender {
    /// One request at a time.
    Http1Connection(Box<Http1Connection>),
    /// Many streams.
    Http2Connection(Http2Handshake),
    /// The socket itself.
    Bare(Metered),
}

/// Connects within the cluster's `connectTimeout`. A bare connection is left without any HTTP.
async fn connect(request: &ConnectionRequest<'_>) -> Result<(Sender, Arc<Meter>), ConnectError> {
    let making = async {
        let socket = Metered::new(open(request.endpoint.address(), request.settings).await.map_err(refused)?);
        let meter = socket.meter();
        let sender = if request.bare { Sender::Bare(socket) } else { handshake(socket, request).await? };
        Ok((sender, meter))
    };
    match tokio::time::timeout(duration(request.settings.connect_timeout), making).await {
        Ok(made) => made,
        Err(_) => Err(ConnectError { failure: Failure::ConnectTimeout, words: "connection timeout".into() }),
    }
}

async fn open(address: &Address, settings: &Settings) -> std::io::Result<Stream> {
    match address {
        Address::Socket(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            // An endpoint on this machine does not vanish without a word.
            let usual = || (!address.ip().is_loopback()).then_some(KEEPALIVE);
            if let Some(wanted) = settings.tcp_keepalive.or_else(usual) {
                SockRef::from(&stream).set_tcp_keepalive(&probing(wanted))?;
            }
            Ok(Stream::Tcp(stream))
        }
        Address::Unix(path) => match path.strip_prefix('@') {
            Some(name) => UnixStream::connect(format!("\0{name}")).await.map(Stream::Unix),
            None => UnixStream::connect(&**path).await.map(Stream::Unix),
        },
    }
}

fn probing(wanted: cluster::TcpKeepalive) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new();
    if let Some(time) = wanted.time {
        keepalive = keepalive.with_time(duration(time));
    }
    if let Some(interval) = wanted.interval {
        keepalive = keepalive.with_interval(duration(interval));
    }
    if let Some(probes) = wanted.probes {
        keepalive = keepalive.with_retries(probes);
    }
    keepalive
}

fn refused(error: std::io::Error) -> ConnectError {
    let failure =
        if error.kind() == std::io::ErrorKind::TimedOut { Failure::ConnectTimeout } else { Failure::ConnectRefused };
    ConnectError { failure, words: words(&error).into() }
}

/// What the system said, as Envoy writes it.
fn words(error: &std::io::Error) -> String {
    let said = error.to_string();
    let said = said.split(" (os error").next().unwrap_or_default();
    format!("delayed_connect_error:_{}", said.replace(' ', "_"))
}

/// HTTP/1 begins with its first request.
async fn handshake(socket: Metered, request: &ConnectionRequest<'_>) -> Result<Sender, ConnectError> {
    if !request.http2 {
        return Ok(Sender::Http1Connection(Box::new(Http1Connection::new(socket, request.heads))));
    }
    let handshake = http2::handshake(socket, request.settings, request.heads, request.send_buffer.clone());
    Ok(Sender::Http2Connection(handshake.await.map_err(broken)?))
}

fn broken(error: h2::Error) -> ConnectError {
    ConnectError { failure: Failure::ConnectRefused, words: error.to_string().into() }
}

/// Makes a connection; an HTTP/2 one comes with the handle that others find it by.
pub(super) async fn make(
    request: &ConnectionRequest<'_>,
    (entered, place): (UpstreamSlot, Option<Slot>),
    counters: &dyn Fn() -> PoolCounters,
) -> Result<(Connection, Option<Arc<Http2Connection>>), ConnectError> {
    let (own_addresses, side) = request.own_addresses;
    if let Address::Socket(address) = request.endpoint.address()
        && own_addresses.leads_back(side, *address)
    {
        let words = "the request was addressed to this proxy itself".into();
        return Err(ConnectError { failure: Failure::ConnectRefused, words });
    }
    let (sender, meter) = connect(request).await?;
    let held = HeldResources { _place: place, _entered: entered, _counted: counters().opened() };
    let old_at = request.settings.max_age.map(|age| request.now + age);
    let alone = |wire, held| Connection {
        wire,
        meter: meter.clone(),
        served: 0,
        idle_since: request.now,
        keep: request.settings.idle_timeout,
        old_at,
        _held: Some(held),
        passing: request.passing,
        worker: request.worker,
    };
    match sender {
        Sender::Bare(socket) => Ok((alone(Transport::Bare(Some(socket)), held), None)),
        Sender::Http1Connection(sender) => Ok((alone(Transport::Http1Connection(sender), held), None)),
        Sender::Http2Connection(Http2Handshake { sender, allowed, presence }) => {
            let many = Arc::new(Http2Connection {
                sender: sender.clone(),
                meter,
                active: AtomicU32::new(1),
                unread: AtomicU32::new(0),
                served: AtomicU32::new(1),
                allowed,
                most: request.settings.max_streams.unwrap_or(MAX_STREAMS),
                spent: AtomicBool::new(request.settings.max_requests == Some(1)),
                keep: request.settings.idle_timeout,
                old_at,
                quiet: (AtomicU64::new(request.now.0), AtomicU32::new(0)),
                presence,
                passing: request.passing,
                _held: held,
            });
            Ok((stream_connection(Http2Stream::new(many.clone(), sender), request.now), Some(many)))
        }
    }
}
