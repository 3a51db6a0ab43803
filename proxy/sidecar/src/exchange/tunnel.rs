//! Connections that leave HTTP after the response: upgrades (RFC 9110 §7.8), as WebSocket uses them, and CONNECT
//! (§9.3.6). Bytes pass both ways until both sides have ended. The exchange lasts as long.

use std::cell::Cell;

use bytes::Bytes;
use leeboard_policy::step::End;
use leeboard_policy::verdict::Failure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ledger::Ledger;
use crate::net::upstream_socket::Metered;
use crate::upstream::lease::Lease;

/// How much of either direction is held at a time: a side that does not read stops the other after so much.
const BUFFER: usize = 8 * 1024;

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
