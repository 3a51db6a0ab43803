//! A response body on its way downstream, and the end of the exchange: the route's timeout, the outcome, the record.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use leeboard_policy::step::End;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::{Failure, Flags};

use super::ledger::{Ledger, dropped};
use super::response::grpc_status_of;
use super::tunnel::Tunnel;
use crate::body::upload::Upload;
use crate::http::hop_by_hop::fit_to_pass;
use crate::http::http2::outgoing::Source;
use crate::upstream::lease::Lease;

/// What the caller is sent.
pub(crate) enum ResponseBody {
    /// An endpoint's body.
    Stream(Box<Download>),
    /// Nothing: the connection becomes a tunnel, which the listener takes from here.
    Tunnel(Option<Box<Tunnel>>),
    /// The proxy's own words, once.
    Own(Option<Bytes>, Option<Box<Ledger>>),
}

/// Why a body broke off.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The endpoint did.
    Upstream(Failure),
    /// The route's timeout was over.
    TimedOut,
    /// The caller's request will never be whole.
    Downstream,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Upstream(error) => write!(f, "the endpoint broke off: {}", error.reason()),
            Broken::TimedOut => f.write_str("the route's timeout is over"),
            Broken::Downstream => f.write_str("the caller broke off its request"),
        }
    }
}

impl std::error::Error for Broken {}

/// An endpoint's body under way.
pub(crate) struct Download {
    ledger: Box<Ledger>,
    lease: Option<Lease>,
    deadline: Option<Time>,
    /// Whether the request is still coming; the route's time begins at its end.
    receiving: bool,
    peer_keeps: Option<Span>,
    over: bool,
    broken: Option<Broken>,
}

impl Download {
    /// Takes over an exchange whose response head has been passed on.
    pub(crate) fn new(ledger: Box<Ledger>, lease: Lease, peer_keeps: Option<Span>) -> Self {
        let deadline = ledger.exchange.as_ref().and_then(|exchange| exchange.deadline());
        let receiving = ledger.exchange.as_ref().is_some_and(|exchange| exchange.received_at().is_none());
        Self { ledger, lease: Some(lease), deadline, receiving, peer_keeps, over: false, broken: None }
    }

    fn poll_received(&mut self, cx: &mut Context<'_>) {
        if !self.receiving {
            return;
        }
        if self.ledger.upload.as_ref().is_none_or(|upload| upload.poll_over(cx).is_ready()) {
            self.receiving = false;
            let now = self.ledger.context.clock.now();
            let exchange = self.ledger.exchange_mut();
            exchange.received(now);
            self.deadline = exchange.deadline();
        }
    }

    /// What goes on while the caller does not take what there is for it: its own request, and the time.
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_received(cx);
        if self.broken.is_some() {
            return Poll::Pending;
        }
        if let Some(lease) = &mut self.lease {
            lease.poll_upload(cx);
            lease.gather(cx);
        }
        let deadline = self.deadline.filter(|_| !self.is_end_stream());
        let Some(at) = [deadline, self.ledger.unread_until()].into_iter().flatten().min() else { return Poll::Pending };
        ready!(self.ledger.poll_until(at, cx));
        if deadline == Some(at) {
            self.end(End::TimedOut);
        } else {
            self.ledger.unread();
            self.end(End::Stalled);
        }
        Poll::Ready(())
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        self.ledger.read_on();
        self.poll_received(cx);
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        let frame = lease.poll_frame(cx);
        if let Some(deadline) = self.deadline {
            // A body that always has more never waits for its timer.
            let goes_on = frame.is_ready() && !lease.is_end_stream();
            let over = goes_on && self.ledger.context.clock.now() >= deadline;
            if over || (frame.is_pending() && self.ledger.poll_until(deadline, cx).is_ready()) {
                self.end(End::TimedOut);
                return self.break_off(Broken::TimedOut, cx);
            }
        }
        // An endpoint that is not told would wait for the rest, and what it breaks off because of it is not its failure.
        if !matches!(frame, Poll::Ready(None | Some(Ok(_)))) && self.ledger.upload.as_ref().is_some_and(Upload::failed)
        {
            let reset = self.ledger.upload.as_ref().is_some_and(Upload::reset);
            self.end(if reset { End::CallerReset } else { End::CallerGone });
            return self.break_off(Broken::Downstream, cx);
        }
        match fit_to_pass(ready!(frame)) {
            None => {
                self.end(End::Complete { grpc_status: None });
                Poll::Ready(None)
            }
            Some(Err(failure)) => {
                self.end(End::Broken(failure));
                self.break_off(Broken::Upstream(failure), cx)
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.ledger.bytes_sent += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref() {
                    let status = grpc_status_of(trailers);
                    self.ledger.grpc_status = status.or(self.ledger.grpc_status);
                    self.end(End::Complete { grpc_status: status });
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// Too much is held for callers who do not read, and this one is given up.
    fn give_up(&mut self) {
        self.end(End::CallerGone);
        self.ledger.flags = self.ledger.flags.with(Flags::OVERLOADED);
        self.ledger.details = Some("overload".into());
    }

    /// Breaks off one poll later: an error ends the caller's connection at once, and what came before it would be lost.
    fn break_off(&mut self, broken: Broken, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.broken = Some(broken);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.lease.as_ref().is_none_or(Lease::is_end_stream)
    }

    fn left(&self) -> Option<u64> {
        self.lease.as_ref().map_or(Some(0), Lease::left)
    }

    /// A connection whose request is not all sent yet cannot take another.
    fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let now = self.ledger.ended(end);
        let Some(lease) = self.lease.take() else { return };
        if matches!(end, End::Complete { .. }) && self.ledger.upload.as_ref().is_none_or(Upload::handed_on) {
            lease.give_back(now, self.peer_keeps);
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let whole = self.is_end_stream();
        self.end(if whole { End::Complete { grpc_status: None } } else { dropped() });
    }
}

impl ResponseBody {
    /// Notes that the caller has taken some of it.
    pub(crate) fn read_on(&mut self) {
        match self {
            ResponseBody::Stream(download) => download.ledger.read_on(),
            ResponseBody::Own(_, Some(ledger)) => ledger.read_on(),
            ResponseBody::Own(_, None) | ResponseBody::Tunnel(_) => {}
        }
    }

    /// Too much is held for callers who do not read: the rest of this one is not sent.
    pub(crate) fn give_up(&mut self) {
        if let ResponseBody::Stream(download) = self {
            download.give_up();
        }
    }
}

impl Source for ResponseBody {
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            ResponseBody::Stream(download) => download.poll_aside(cx),
            ResponseBody::Own(_, Some(ledger)) => {
                let Some(at) = ledger.unread_until() else { return Poll::Pending };
                ready!(ledger.poll_until(at, cx));
                ledger.unread();
                Poll::Ready(())
            }
            ResponseBody::Own(_, None) | ResponseBody::Tunnel(_) => Poll::Pending,
        }
    }

    fn unwanted(&self) -> usize {
        match self {
            ResponseBody::Stream(download) => download.lease.as_ref().map_or(0, Lease::gathered),
            ResponseBody::Tunnel(_) | ResponseBody::Own(..) => 0,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            ResponseBody::Stream(download) => download.poll_frame(cx),
            ResponseBody::Tunnel(_) => Poll::Ready(None),
            ResponseBody::Own(words, ledger) => {
                let words = words.take().filter(|words| !words.is_empty());
                if let (Some(words), Some(ledger)) = (&words, ledger) {
                    ledger.bytes_sent = words.len() as u64;
                }
                Poll::Ready(words.map(|words| Ok(Frame::data(words))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Stream(download) => download.is_end_stream(),
            ResponseBody::Tunnel(_) => true,
            ResponseBody::Own(words, _) => words.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Stream(download) => download.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            ResponseBody::Tunnel(_) => SizeHint::with_exact(0),
            ResponseBody::Own(words, _) => SizeHint::with_exact(words.as_ref().map_or(0, |words| words.len() as u64)),
        }
    }
}
