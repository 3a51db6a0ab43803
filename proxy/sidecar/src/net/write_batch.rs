//! Small messages on their way out, which leave one right after the other.
//!
//! A message that is written as soon as it is ready finds its reader asleep: it has read the one before and waits. Waking it,
//! on another processor, is what a proxy under load can save most easily. So messages are posted here, and written together
//! when every task of this thread that had something to do has done it: then one wake-up serves many. A message that is alone
//! leaves at once.

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
pub(crate) enum Reader {
    Caller(Arc<TcpStream>),
    Endpoint(Arc<Meter>),
}

impl Reader {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Reader::Caller(stream) => stream.try_write(bytes),
            Reader::Endpoint(meter) => meter.try_write(bytes),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Reader::Caller(stream) => stream.poll_write_ready(cx),
            Reader::Endpoint(meter) => meter.poll_writable(cx),
        }
    }
}

#[derive(Debug)]
struct Letter {
    to: Reader,
    bytes: Vec<u8>,
    /// How much of it the kernel has.
    written: usize,
}

impl Letter {
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
struct Outbox {
    /// Whoever delivers; nobody does before it has been there once.
    carrier: Option<Waker>,
    waiting: Vec<Letter>,
    /// The number of the first that waits. They are numbered in turn.
    first: u64,
    /// What the kernel had no room for, by number.
    stuck: BTreeMap<u64, Letter>,
    spare: Vec<Vec<u8>>,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

impl Outbox {
    fn deliver(&mut self) {
        for mut letter in self.waiting.drain(..) {
            if letter.leave() {
                keep(&mut self.spare, letter.bytes);
            } else {
                self.stuck.insert(self.first, letter);
            }
            self.first += 1;
        }
    }

    /// Goes on with what was stuck; the task is woken when there may be room for it.
    fn push(&mut self, cx: &mut Context<'_>) {
        self.stuck.retain(|_, letter| {
            while !letter.leave() {
                match letter.to.poll_writable(cx) {
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

/// Delivers what is posted on this thread, for as long as the thread lives.
pub(crate) async fn deliver() {
    poll_fn(|cx| {
        OUTBOX.with_borrow_mut(|outbox| {
            if !outbox.carrier.as_ref().is_some_and(|carrier| carrier.will_wake(cx.waker())) {
                outbox.carrier = Some(cx.waker().clone());
            }
            outbox.deliver();
            outbox.push(cx);
        });
        Poll::Pending
    })
    .await
}

/// Delivers what waits on this thread now, for there may be no later.
pub(crate) fn deliver_now() {
    OUTBOX.with_borrow_mut(Outbox::deliver);
}

/// Posts a message, unless nobody delivers on this thread: then it is given back.
pub(crate) fn post(to: Reader, bytes: Vec<u8>) -> Result<Posted, Vec<u8>> {
    OUTBOX.with_borrow_mut(|outbox| {
        let Some(carrier) = &outbox.carrier else { return Err(bytes) };
        if outbox.waiting.is_empty() {
            carrier.wake_by_ref();
        }
        let posted = Posted { number: outbox.first + outbox.waiting.len() as u64 };
        outbox.waiting.push(Letter { to, bytes, written: 0 });
        if outbox.waiting.len() >= MOST {
            outbox.deliver();
        }
        Ok(posted)
    })
}

/// A message that was posted. Dropping it takes back what has not left.
#[derive(Debug)]
#[must_use = "a message that is dropped may never leave"]
pub(crate) struct Posted {
    number: u64,
}

impl Posted {
    /// Takes back what has not left; `None` once all of it has.
    pub(crate) fn take_back(&mut self) -> Option<Vec<u8>> {
        OUTBOX.with_borrow_mut(|outbox| {
            let mut letter = match self.number.checked_sub(outbox.first) {
                // What is empty leaves at once, and its place stays, for the numbers behind it.
                Some(at) => {
                    let letter = outbox.waiting.get_mut(usize::try_from(at).ok()?)?;
                    Letter { to: letter.to.clone(), bytes: std::mem::take(&mut letter.bytes), written: 0 }
                }
                None if outbox.stuck.is_empty() => return None,
                None => outbox.stuck.remove(&self.number)?,
            };
            letter.bytes.drain(..letter.written);
            (!letter.bytes.is_empty()).then_some(letter.bytes)
        })
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        let _ = self.take_back();
    }
}

/// An empty buffer, which an earlier message may have left.
pub(crate) fn buffer() -> Vec<u8> {
    OUTBOX.with_borrow_mut(|outbox| outbox.spare.pop()).unwrap_or_default()
}

/// Lets go of half of the buffers that no message on this thread needs.
pub(crate) fn forget() {
    OUTBOX.with_borrow_mut(|outbox| {
        let keep = outbox.spare.len() / 2;
        outbox.spare.truncate(keep);
        outbox.spare.shrink_to(keep * 2);
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

    fn post_to(near: &Arc<TcpStream>, text: &[u8]) -> Posted {
        post(Reader::Caller(near.clone()), text.to_vec()).expect("somebody delivers")
    }

    async fn read(far: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut text = vec![0; count];
        far.read_exact(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn messages_leave_together_but_for_those_that_were_taken_back() {
        let (near, mut far) = pair().await;
        let given_back = post(Reader::Caller(near.clone()), b"nobody delivers yet".to_vec()).map(drop);
        assert_eq!(given_back, Err(b"nobody delivers yet".to_vec()));
        let mut carrier = Box::pin(deliver());
        let mut turn = async || poll_fn(|cx| Poll::Ready(carrier.as_mut().poll(cx).is_pending())).await;
        assert!(turn().await);

        let (mut one, mut two, mut three) =
            (post_to(&near, b"one "), post_to(&near, b"two "), post_to(&near, b"three"));
        let mut byte = [0];
        assert!(near.try_read(&mut byte).is_err() && far.try_read(&mut byte).is_err(), "nothing has left");
        assert_eq!(two.take_back().as_deref(), Some(&b"two "[..]));
        drop(post_to(&near, b"unwanted"));
        turn().await;
        assert_eq!(read(&mut far, 9).await, b"one three");
        assert_eq!([&mut one, &mut two, &mut three].map(Posted::take_back), [None, None, None]);

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
        let deliver = tokio::task::spawn(deliver());
        tokio::task::yield_now().await;
        let text: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        let mut posted = post_to(&near, &text);
        assert_eq!(read(&mut far, LARGE).await, text);
        assert_eq!(posted.take_back(), None);

        let mut posted = post_to(&near, &text);
        let begun = read(&mut far, 1).await;
        let left = posted.take_back().expect("a part of it is stuck");
        assert!(text.ends_with(&left) && left.len() < LARGE);
        let rest = read(&mut far, LARGE - left.len() - 1).await;
        assert_eq!([begun, rest, left].concat(), text, "nothing is lost, nothing comes twice");
        deliver.abort();
    }

    #[tokio::test]
    async fn a_reader_who_is_gone_holds_nobody_up() {
        let ((near, far), (other, mut listening)) = (pair().await, pair().await);
        let mut carrier = Box::pin(deliver());
        let mut turn = async || poll_fn(|cx| Poll::Ready(carrier.as_mut().poll(cx).is_pending())).await;
        turn().await;
        socket2::SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(far);
        let posted: Vec<_> = (0..3).map(|_| post_to(&near, b"lost")).collect();
        let heard = post_to(&other, b"heard");
        turn().await;
        assert_eq!(read(&mut listening, 5).await, b"heard");
        drop((posted, heard));
    }
}
