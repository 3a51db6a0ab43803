//! Connections that carry something else than HTTP once a request has been answered: upgrades (RFC 9110 §7.8), as
//! websockets use them, and CONNECT (§9.3.6), as callers of a proxy use it for https. Bytes pass both ways until both
//! sides have ended; the exchange, and all that it holds, lasts as long.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use leeboard_policy::request::Entrance;
use leeboard_policy::step::End;
use leeboard_policy::verdict::{BadRequest, Failure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::exchange::head::RequestHead;
use crate::exchange::ledger::Ledger;
use crate::upstream::pool::Lease;
use crate::upstream::socket::Metered;

/// How much of either direction is held at a time: a side that does not read stops the other after so much.
const BUFFER: usize = 8 * 1024;

/// The protocols that a caller wants to switch to. Envoy: an upgrade is one only when `Connection` says so too.
/// `h2c` is declined by silence, as RFC 9110 §7.8 allows.
pub(crate) fn wanted_upgrade(parts: &Parts) -> Option<HeaderValue> {
    if parts.version != Version::HTTP_11 || parts.method == Method::CONNECT {
        return None;
    }
    let mut named = tokens(&parts.headers, &header::CONNECTION);
    if !named.any(|name| name.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let wanted = tokens(&parts.headers, &header::UPGRADE).filter(|protocol| !protocol.eq_ignore_ascii_case("h2c"));
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    if wanted.is_empty() { None } else { HeaderValue::try_from(wanted).ok() }
}

fn tokens<'h>(headers: &'h HeaderMap, name: &'h header::HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// A CONNECT names a host and a port, and is one connection's own: not an HTTP/2 stream's.
pub(crate) fn check_target(parts: &Parts) -> Result<(), BadRequest> {
    match parts.uri.port_u16() {
        _ if parts.version > Version::HTTP_11 => Err(BadRequest::Upgrade),
        None | Some(0) => Err(BadRequest::InvalidTarget),
        Some(_) => Ok(()),
    }
}

/// Whether a request that wants a tunnel may have one: the application itself is asked for upgrades only.
pub(crate) fn may_enter(head: &RequestHead, entrance: Entrance) -> bool {
    matches!(entrance, Entrance::Outbound { .. }) || head.method != Method::CONNECT
}

/// Writes the pair of headers by which a connection switches protocols.
pub(crate) fn switch(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocols);
}

/// What follows the head of a response.
pub(crate) enum Coming {
    /// A body.
    Body(Incoming),
    /// Whatever the two sides have to say.
    Tunnel(Far),
}

impl Coming {
    /// What follows this head.
    pub(crate) fn of(mut response: Response<Incoming>) -> Response<Self> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response.map(Coming::Body);
        }
        let far = Far::Switching(hyper::upgrade::on(&mut response));
        response.map(|_| Coming::Tunnel(far))
    }
}

/// The endpoint's end of a tunnel.
pub(crate) enum Far {
    /// A connection that leaves HTTP.
    Switching(OnUpgrade),
    /// One that never was HTTP.
    Socket(Metered),
}

/// Where a tunnel waits for the end of HTTP on its caller's connection.
pub(crate) type Berth = Rc<Cell<Option<Box<Tunnel>>>>;

/// A tunnel, and the exchange that it belongs to. Dropping it ends both.
pub(crate) struct Tunnel {
    far: Option<Far>,
    ledger: Ledger,
    /// Holds the endpoint's connection, its place, and whatever limits count. It goes back to no pool.
    _lease: Lease,
    up: Cell<u64>,
    down: Cell<u64>,
    over: bool,
}

/// Which side broke off.
#[derive(Clone, Copy)]
enum Broken {
    Near,
    Far,
}

impl Tunnel {
    /// Takes over an exchange whose answer opens a tunnel.
    pub(crate) fn new(far: Far, ledger: Ledger, lease: Lease) -> Self {
        Self { far: Some(far), ledger, _lease: lease, up: Cell::new(0), down: Cell::new(0), over: false }
    }

    /// Carries bytes both ways until both sides have ended, or one breaks off. `early` came before its time.
    pub(crate) async fn carry(mut self: Box<Self>, near: impl AsyncRead + AsyncWrite, early: Bytes) {
        let carried = match self.far.take() {
            None => Err(Broken::Far),
            Some(Far::Socket(socket)) => self.join(near, socket, early).await,
            Some(Far::Switching(switching)) => match switching.await {
                Ok(far) => self.join(near, TokioIo::new(far), early).await,
                Err(_) => Err(Broken::Far),
            },
        };
        self.end(match carried {
            Ok(()) => End::Complete { grpc_status: None },
            Err(Broken::Near) => End::CallerGone,
            Err(Broken::Far) => End::Broken(Failure::Terminated),
        });
    }

    async fn join(
        &self,
        near: impl AsyncRead + AsyncWrite,
        far: impl AsyncRead + AsyncWrite,
        early: Bytes,
    ) -> Result<(), Broken> {
        let (near_reads, near_writes) = tokio::io::split(near);
        let (far_reads, far_writes) = tokio::io::split(far);
        let up = flow(early.chain(near_reads), far_writes, &self.up, [Broken::Near, Broken::Far]);
        let down = flow(far_reads, near_writes, &self.down, [Broken::Far, Broken::Near]);
        tokio::try_join!(up, down).map(|_| ())
    }

    fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.ledger.bytes_tunnelled = self.up.get();
        self.ledger.bytes_sent = self.down.get();
        self.ledger.ended(end);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.end(End::CallerGone);
    }
}

/// Carries one direction to its end, and passes the end on. The sides are those read from and written to.
async fn flow(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &Cell<u64>,
    [read_from, written_to]: [Broken; 2],
) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| read_from)?;
        if count == 0 {
            // A side that is gone already shows in the other direction.
            let _ = to.shutdown().await;
            return Ok(());
        }
        to.write_all(&buffer[..count]).await.map_err(|_| written_to)?;
        carried.set(carried.get() + count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: Method, target: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("the test's request is one").into_parts().0
    }

    #[test]
    fn an_upgrade_needs_both_headers_and_http_1_1() {
        let (connection, upgrade) = ("connection", "upgrade");
        #[rustfmt::skip]
        let table: &[(Version, &[(&str, &str)], Option<&str>)] = &[
            (Version::HTTP_11, &[(connection, "Upgrade"), (upgrade, "websocket")], Some("websocket")),
            (Version::HTTP_11, &[(connection, "keep-alive, upgrade"), (upgrade, "a/1"), (upgrade, "b")], Some("a/1, b")),
            (Version::HTTP_11, &[(connection, "upgrade, http2-settings"), (upgrade, "h2c")], None),
            (Version::HTTP_11, &[(connection, "upgrade"), (upgrade, "H2C, websocket")], Some("websocket")),
            (Version::HTTP_11, &[(upgrade, "websocket")], None),
            (Version::HTTP_11, &[(connection, "upgrade")], None),
            (Version::HTTP_10, &[(connection, "upgrade"), (upgrade, "websocket")], None),
        ];
        for (version, headers, expected) in table {
            let wanted = wanted_upgrade(&parts(Method::GET, "/", *version, headers));
            assert_eq!(wanted.as_ref().map(HeaderValue::as_bytes), expected.map(str::as_bytes), "{headers:?}");
        }
    }

    #[test]
    fn connect_names_a_port() {
        for (target, version, refused) in [
            ("a.test:443", Version::HTTP_11, None),
            ("a.test:443", Version::HTTP_10, None),
            ("a.test", Version::HTTP_11, Some(BadRequest::InvalidTarget)),
            ("a.test:443", Version::HTTP_2, Some(BadRequest::Upgrade)),
        ] {
            assert_eq!(check_target(&parts(Method::CONNECT, target, version, &[])).err(), refused, "{target}");
        }
    }
}
