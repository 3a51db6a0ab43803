//! Small messages that are written one right after the other.
//!
//! The reader of a message that is written at once is asleep: it has read the one before and waits. Waking it on
//! another CPU is what a proxy under load can save most easily. So messages are queued here and written together when
//! every task of this thread that had something to do has done it. Then one wake-up serves many. A single message is
//! written at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;

use super::upstream_socket::Meter;

/// So many messages do not wait any longer.
const MOST: usize = 32;
/// The most buffers that wait for a message, and the most room that each of them has.
const SPARE: usize = 64;
const ROOM: usize = 4 * 1024;

/// Whom a message is for.
#[derive(Clone, Debug)]
pub(crate) enum WriteTarget {
    Caller(Arc<TcpStream>),
    Endpoint(Arc<Meter>),
}

impl WriteTarget {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteTarget::Caller(stream) => stream.try_write(bytes),
            WriteTarget::Endpoint(meter) => meter.try_write(bytes),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            WriteTarget::Caller(stream) => stream.poll_write_ready(cx),
            WriteTarget::Endpoint(meter) => meter.poll_writable(cx),
        }
    }
}

#[derive(Debug)]
struct PendingWrite {
    to: WriteTarget,
    bytes: Vec<u8>,
    /// How much of it the kernel has.
    written: usize,
}

impl PendingWrite {
    /// Writes what the kernel takes. True once nothing is left to do, if only since the reader is gone: whoever waits for its
    /// answer learns that by reading.
    fn leave(&mut self) -> bool {
        while self.written < self.bytes.len() {
            match self.to.try_write(&self.bytes[self.written..]) {
                Ok(count) if count > 0 => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return true,
            }
        }
        true
    }
}

/// A thread's messages.
#[derive(Debug, Default)]
struct WriteBatch {
    /// Whoever delivers; nobody does before it has been there once.
    flusher: Option<Waker>,
    waiting: Vec<PendingWrite>,
    /// The number of the first that waits. They are numbered in turn.
    first: u64,
    /// What the kernel had no room for, by number.
    stuck: BTreeMap<u64, PendingWrite>,
    spare: Vec<Vec<u8>>,
}

thread_local! {
    static BATCH: RefCell<WriteBatch> = RefCell::default();
}

impl WriteBatch {
    fn flush(&mut self) {
        for mut pending in self.waiting.drain(..) {
            if pending.leave() {
                keep(&mut self.spare, pending.bytes);
            } else {
                self.stuck.insert(self.first, pending);
            }
            self.first += 1;
        }
    }

    /// Goes on with what was stuck; the task is woken when there may be room for it.
    fn push(&mut self, cx: &mut Context<'_>) {
        self.stuck.retain(|_, pending| {
            while !pending.leave() {
                match pending.to.poll_writable(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return false,
                }
            }
            false
        });
    }
}

fn keep(spare: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if (1..=ROOM).contains(&buffer.capacity()) && spare.len() < SPARE {
        buffer.clear();
        spare.push(buffer);
    }
}

/// Delivers what is queued on this thread, for as long as the thread lives.
pub(crate) async fn flush() {
    poll_fn(|cx| {
        BATCH.with_borrow_mut(|batch| {
            if !batch.flusher.as_ref().is_some_and(|flusher| flusher.will_wake(cx.waker())) {
                batch.flusher = Some(cx.waker().clone());
            }
            batch.flush();
            batch.push(cx);
        });
        Poll::Pending
    })
    .await
}

/// Delivers what waits on this thread now, for there may be no later.
pub(crate) fn flush_now() {
    BATCH.with_borrow_mut(WriteBatch::flush);
}

/// Posts a message, unless nobody delivers on this thread: then it is given back.
pub(crate) fn queue_write(to: WriteTarget, bytes: Vec<u8>) -> Result<QueuedWrite, Vec<u8>> {
    BATCH.with_borrow_mut(|batch| {
        let Some(flusher) = &batch.flusher else { return Err(bytes) };
        if batch.waiting.is_empty() {
            flusher.wake_by_ref();
        }
        let queued = QueuedWrite { number: batch.first + batch.waiting.len() as u64 };
        batch.waiting.push(PendingWrite { to, bytes, written: 0 });
        if batch.waiting.len() >= MOST {
            batch.flush();
        }
        Ok(queued)
    })
}

/// A message that was queued. Dropping it takes back what has not left.
#[derive(Debug)]
#[must_use = "a message that is dropped may never leave"]
pub(crate) struct QueuedWrite {
    number: u64,
}

impl QueuedWrite {
    /// Takes back what has not left; `None` once all of it has.
    pub(crate) fn take_back(&mut self) -> Option<Vec<u8>> {
        BATCH.with_borrow_mut(|batch| {
            let mut pending = match self.number.checked_sub(batch.first) {
                // What is empty leaves at once, and its place stays, for the numbers behind it.
                Some(at) => {
                    let pending = batch.waiting.get_mut(usize::try_from(at).ok()?)?;
                    PendingWrite { to: pending.to.clone(), bytes: std::mem::take(&mut pending.bytes), written: 0 }
                }
                None if batch.stuck.is_empty() => return None,
                None => batch.stuck.remove(&self.number)?,
            };
            pending.bytes.drain(..pending.written);
            (!pending.bytes.is_empty()).then_some(pending.bytes)
        })
    }
}

impl Drop for QueuedWrite {
    fn drop(&mut self) {
        let _ = self.take_back();
    }
}

/// An empty buffer, which an earlier message may have left.
pub(crate) fn buffer() -> Vec<u8> {
    BATCH.with_borrow_mut(|batch| batch.spare.pop()).unwrap_or_default()
}

/// Lets go of half of the buffers that no message on this thread needs.
pub(crate) fn forget() {
    BATCH.with_borrow_mut(|batch| {
        let keep = batch.spare.len() / 2;
        batch.spare.truncate(keep);
        batch.spare.shrink_to(keep * 2);
    });
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Arc::new(near), listener.accept().await.unwrap().0)
    }

    fn post_to(near: &Arc<TcpStream>, text: &[u8]) -> QueuedWrite {
        queue_write(WriteTarget::Caller(near.clone()), text.to_vec()).expect("somebody delivers")
    }

    async fn read(far: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut text = vec![0; count];
        far.read_exact(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn messages_leave_together_but_for_those_that_were_taken_back() {
        let (near, mut far) = pair().await;
        let given_back = queue_write(WriteTarget::Caller(near.clone()), b"nobody delivers yet".to_vec()).map(drop);
        assert_eq!(given_back, Err(b"nobody delivers yet".to_vec()));
        let mut flusher = Box::pin(flush());
        let mut turn = async || poll_fn(|cx| Poll::Ready(flusher.as_mut().poll(cx).is_pending())).await;
        assert!(turn().await);

        let (mut one, mut two, mut three) =
            (post_to(&near, b"one "), post_to(&near, b"two "), post_to(&near, b"three"));
        let mut byte = [0];
        assert!(near.try_read(&mut byte).is_err() && far.try_read(&mut byte).is_err(), "nothing has left");
        assert_eq!(two.take_back().as_deref(), Some(&b"two "[..]));
        drop(post_to(&near, b"unwanted"));
        turn().await;
        assert_eq!(read(&mut far, 9).await, b"one three");
        assert_eq!([&mut one, &mut two, &mut three].map(QueuedWrite::take_back), [None, None, None]);

        let many: Vec<_> = (0..MOST).map(|_| post_to(&near, b".")).collect();
        assert_eq!(read(&mut far, MOST).await, [b'.'; MOST], "so many do not wait");
        drop(many);
        assert!(far.try_read(&mut byte).is_err());
        assert!(buffer().capacity() > 0, "their buffers are there for the next");
        (0..8).for_each(|_| forget());
        assert_eq!(buffer().capacity(), 0);
    }

    #[tokio::test]
    async fn what_the_kernel_has_no_room_for_follows_or_can_be_taken_back() {
        const LARGE: usize = 16 * 1024 * 1024;
        let (near, mut far) = pair().await;
        let flush = tokio::task::spawn(flush());
        tokio::task::yield_now().await;
        let text: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        let mut queued = post_to(&near, &text);
        assert_eq!(read(&mut far, LARGE).await, text);
        assert_eq!(queued.take_back(), None);

        let mut queued = post_to(&near, &text);
        let begun = read(&mut far, 1).await;
        let left = queued.take_back().expect("a part of it is stuck");
        assert!(text.ends_with(&left) && left.len() < LARGE);
        let rest = read(&mut far, LARGE - left.len() - 1).await;
        assert_eq!([begun, rest, left].concat(), text, "nothing is lost, nothing comes twice");
        flush.abort();
    }

    #[tokio::test]
    async fn a_reader_who_is_gone_holds_nobody_up() {
        let ((near, far), (other, mut listening)) = (pair().await, pair().await);
        let mut flusher = Box::pin(flush());
        let mut turn = async || poll_fn(|cx| Poll::Ready(flusher.as_mut().poll(cx).is_pending())).await;
        turn().await;
        socket2::SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(far);
        let queued: Vec<_> = (0..3).map(|_| post_to(&near, b"lost")).collect();
        let heard = post_to(&other, b"heard");
        turn().await;
        assert_eq!(read(&mut listening, 5).await, b"heard");
        drop((queued, heard));
    }
}
