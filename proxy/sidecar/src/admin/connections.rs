//! The connections of one admin port. A new connection is always accepted. When there are too many, the one that has
//! been silent for longest is closed.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Timeout, timeout};

/// How long a caller may take nothing of an answer.
const STALLED: Duration = Duration::from_secs(10);

/// Callers at a time that do not take their answers. Each holds what it has not taken, which may be a scrape of megabytes.
const ANSWERS: usize = 4;

/// Everyone who is connected to a port.
#[derive(Debug)]
pub(super) struct AdminConnections {
    places: usize,
    /// Counts signs of life of all of them.
    turn: AtomicU64,
    all: Mutex<Vec<Arc<AdminConnection>>>,
}

/// One of them.
#[derive(Debug, Default)]
struct AdminConnection {
    /// The turn of the last sign of life.
    seen: AtomicU64,
    /// An answer is there that it does not take.
    full: AtomicBool,
    asked_to_leave: AtomicBool,
    leave: Notify,
}

impl AdminConnections {
    /// Nobody yet, and places for so many.
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, turn: AtomicU64::new(0), all: Mutex::default() })
    }

    /// Lets one more in.
    pub(super) fn enter(self: &Arc<Self>) -> Seat {
        let guest = Arc::new(AdminConnection::default());
        self.seen(&guest);
        let mut all = self.all();
        if all.len() >= self.places {
            dismiss(&mut all, |_| true);
        }
        all.push(guest.clone());
        Seat { guests: self.clone(), guest }
    }

    fn answer(&self) {
        let mut all = self.all();
        if all.iter().filter(|guest| guest.full.load(Relaxed)).count() >= ANSWERS {
            dismiss(&mut all, |guest| guest.full.load(Relaxed));
        }
    }

    fn seen(&self, guest: &AdminConnection) {
        guest.seen.store(self.turn.fetch_add(1, Relaxed), Relaxed);
    }

    /// A panic while the list was held leaves a list that is still good.
    fn all(&self) -> MutexGuard<'_, Vec<Arc<AdminConnection>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the one to leave that has been silent for the longest.
fn dismiss(all: &mut Vec<Arc<AdminConnection>>, who: impl Fn(&AdminConnection) -> bool) {
    let candidates = all.iter().enumerate().filter(|(_, guest)| who(guest));
    if let Some((index, _)) = candidates.min_by_key(|(_, guest)| guest.seen.load(Relaxed)) {
        let guest = all.swap_remove(index);
        guest.asked_to_leave.store(true, Relaxed);
        guest.leave.notify_one();
    }
}

/// A guest's place, for as long as it is held.
#[derive(Debug)]
pub(super) struct Seat {
    guests: Arc<AdminConnections>,
    guest: Arc<AdminConnection>,
}

impl Seat {
    /// The guest's connection, on which its signs of life are noted.
    pub(super) fn watch(&self, stream: TcpStream) -> Watched {
        Watched { stream, guests: self.guests.clone(), guest: self.guest.clone(), stalled: None }
    }

    /// Makes room for one more answer, which this guest is about to get.
    pub(super) fn makes_room(&self) {
        self.guests.answer();
    }

    /// Whether it does not take its answer.
    pub(super) fn stalled(&self) -> bool {
        self.guest.full.load(Relaxed)
    }

    /// Until the guest must leave for another.
    pub(super) async fn dismissed(&self) {
        self.guest.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.guest.asked_to_leave.load(Relaxed) {
            self.guests.all().retain(|guest| !Arc::ptr_eq(guest, &self.guest));
        }
    }
}

/// A guest's connection. A write that makes no progress for long is an error.
pub(super) struct Watched {
    stream: TcpStream,
    guests: Arc<AdminConnections>,
    guest: Arc<AdminConnection>,
    stalled: Option<Pin<Box<Timeout<std::future::Pending<()>>>>>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, room))?;
        self.guests.seen(&self.guest);
        Poll::Ready(Ok(()))
    }
}

impl Watched {
    fn took(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let stalls = written.is_pending();
        self.guest.full.store(stalls, Relaxed);
        if !stalls {
            self.stalled = None;
            self.guests.seen(&self.guest);
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(timeout(STALLED, std::future::pending())));
        ready!(stalled.as_mut().poll(cx)).ok();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller does not take its answer")))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.took(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.took(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_to_leave(seats: &[Seat]) -> Vec<bool> {
        seats.iter().map(|seat| seat.guest.asked_to_leave.load(Relaxed)).collect()
    }

    #[test]
    fn whoever_is_silent_for_the_longest_leaves_for_the_next() {
        let guests = AdminConnections::new(3);
        let mut seats: Vec<Seat> = (0..3).map(|_| guests.enter()).collect();
        guests.seen(&seats[0].guest);
        seats.push(guests.enter());
        assert_eq!(asked_to_leave(&seats), [false, true, false, false]);
        seats.push(guests.enter());
        assert_eq!(asked_to_leave(&seats), [false, true, true, false, false]);
        drop(seats.remove(0));
        seats.push(guests.enter());
        assert_eq!(asked_to_leave(&seats), [true, true, false, false, false], "a place was free");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let seat = AdminConnections::new(1).enter();
        let mut stream = seat.watch(listener.accept().await.unwrap().0);
        let written = stream.write_all(&vec![b'x'; 64 << 20]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(seat.stalled());
    }

    #[test]
    fn few_may_leave_their_answers_lying() {
        let guests = AdminConnections::new(64);
        let seats: Vec<Seat> = (0..=ANSWERS).map(|_| guests.enter()).collect();
        for seat in &seats[1..] {
            guests.answer();
            seat.guest.full.store(true, Relaxed);
        }
        assert!(!asked_to_leave(&seats).contains(&true));
        guests.answer();
        assert_eq!(asked_to_leave(&seats), [false, true, false, false, false]);
    }
}
