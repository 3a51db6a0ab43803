//! Connections that carry something else than HTTP once a request has been answered: upgrades (RFC 9110 §7.8), as
//! websockets use them, and CONNECT (§9.3.6), as callers of a proxy use it for https. Bytes pass both ways until both
//! sides have ended; the exchange, and all that it holds, lasts as long.

use std::cell::Cell;

use bytes::Bytes;
use http::{Method, Version};
use leeboard_policy::exchange::is_authority;
use leeboard_policy::request::Entrance;
use leeboard_policy::snapshot::split_authority;
use leeboard_policy::step::End;
use leeboard_policy::verdict::{BadRequest, Failure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::exchange::arrival::Arrival;
use crate::exchange::head::RequestHead;
use crate::exchange::ledger::Ledger;
use crate::fields::{Fields, Name};
use crate::target::Target;
use crate::upstream::lease::Lease;
use crate::upstream::socket::Metered;

/// How much of either direction is held at a time: a side that does not read stops the other after so much.
const BUFFER: usize = 8 * 1024;

/// Whether a request means its connection to leave HTTP. What follows it may then be no HTTP, whatever the answer is.
pub(crate) fn is_wanted(method: &Method, version: Version, fields: &Fields) -> bool {
    method == Method::CONNECT || wanted_upgrade(method, version, fields).is_some()
}

/// The protocols that a caller wants to switch to. Envoy: an upgrade is one only when `Connection` says so too.
/// `h2c` is declined by silence, as RFC 9110 §7.8 allows.
pub(crate) fn wanted_upgrade(method: &Method, version: Version, fields: &Fields) -> Option<String> {
    if version != Version::HTTP_11 || method == Method::CONNECT || !fields.has(Name::Upgrade) {
        return None;
    }
    if !tokens(fields, Name::Connection).any(|name| name.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let wanted = tokens(fields, Name::Upgrade).filter(|protocol| !protocol.eq_ignore_ascii_case("h2c"));
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    (!wanted.is_empty()).then_some(wanted)
}

fn tokens(fields: &Fields, name: Name) -> impl Iterator<Item = &str> {
    let values = fields.all(name).filter_map(|value| std::str::from_utf8(value).ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// A CONNECT names a host and a port, and is one connection's own: not an HTTP/2 stream's.
pub(crate) fn check_target(arrival: &Arrival) -> Result<(), BadRequest> {
    let port = match &arrival.target {
        Target::Authority(authority) if is_authority(authority) => split_authority(authority).1,
        _ => None,
    };
    match port {
        _ if arrival.version > Version::HTTP_11 => Err(BadRequest::Upgrade),
        None | Some(0) => Err(BadRequest::InvalidTarget),
        Some(_) => Ok(()),
    }
}

/// Whether a request that wants a tunnel may have one: the application itself is asked for upgrades only.
pub(crate) fn may_enter(head: &RequestHead, entrance: Entrance) -> bool {
    matches!(entrance, Entrance::Outbound { .. }) || head.method != Method::CONNECT
}

/// Writes the pair of headers by which a connection switches protocols.
pub(crate) fn switch(fields: &mut Fields, protocols: &str) {
    fields.replace(Name::Connection, b"Upgrade");
    fields.replace(Name::Upgrade, protocols.as_bytes());
}

/// The endpoint's end of a tunnel, and what has been read from it already.
pub(crate) type Far = (Metered, Bytes);

/// A tunnel, and the exchange that it belongs to. Dropping it ends both.
pub(crate) struct Tunnel {
    far: Option<Far>,
    ledger: Box<Ledger>,
    /// Holds the endpoint's connection, its place, and whatever limits count. It goes back to no pool.
    _lease: Lease,
    up: Cell<u64>,
    down: Cell<u64>,
    over: bool,
}

/// How a tunnel was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// It was over.
    Over,
    /// Nobody used it.
    Idle,
}

/// Which side broke off.
#[derive(Clone, Copy)]
enum Broken {
    Near,
    Far,
}

impl Tunnel {
    /// Takes over an exchange whose answer opens a tunnel.
    pub(crate) fn new(far: Far, ledger: Box<Ledger>, lease: Lease) -> Self {
        Self { far: Some(far), ledger, _lease: lease, up: Cell::new(0), down: Cell::new(0), over: false }
    }

    /// Carries bytes both ways until both sides have ended, one breaks off, or `idle` says that neither has had anything to say for
    /// too long. `early` came before its time.
    pub(crate) async fn carry(
        mut self: Box<Self>,
        near: impl AsyncRead + AsyncWrite,
        early: Bytes,
        idle: impl Future<Output = ()>,
    ) -> Left {
        let carried = match self.far.take() {
            None => Err(Broken::Far),
            Some((far, said)) => tokio::select! {
                biased;
                carried = self.join(near, early, far, said) => carried,
                () = idle => {
                    self.end(End::Stalled);
                    return Left::Idle;
                }
            },
        };
        self.end(match carried {
            Ok(()) => End::Complete { grpc_status: None },
            Err(Broken::Near) => End::CallerGone,
            Err(Broken::Far) => End::Broken(Failure::Terminated),
        });
        Left::Over
    }

    async fn join(
        &self,
        near: impl AsyncRead + AsyncWrite,
        early: Bytes,
        far: Metered,
        said: Bytes,
    ) -> Result<(), Broken> {
        let (near_reads, near_writes) = tokio::io::split(near);
        let (far_reads, far_writes) = tokio::io::split(far);
        let up = flow(early.chain(near_reads), far_writes, &self.up, [Broken::Near, Broken::Far]);
        let down = flow(said.chain(far_reads), near_writes, &self.down, [Broken::Far, Broken::Near]);
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

    fn arrival(method: Method, target: &str, version: Version, headers: &[(&str, &str)]) -> Arrival {
        let mut fields = Fields::default();
        headers.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        let target = Target::read(&method, target);
        Arrival { method, target, version, fields, bad: None, body: None, hints: None, allowance: None, expects: false }
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
            let asked = arrival(Method::GET, "/", *version, headers);
            let wanted = wanted_upgrade(&asked.method, *version, &asked.fields);
            assert_eq!(wanted.as_deref(), *expected, "{headers:?}");
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
            assert_eq!(check_target(&arrival(Method::CONNECT, target, version, &[])).err(), refused, "{target}");
        }
    }
}
