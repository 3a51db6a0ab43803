//! The rim of the proxy: what a listener hands a request to. Its layers decide nothing; they only keep one request's trouble
//! from becoming another's.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use leeboard_policy::request::Entrance;
use tower::{Layer, Service};

use crate::exchange::Answer;
use crate::exchange::download::DownBody;
use crate::exchange::slot::Serving;
use crate::http::fields::Fields;
use crate::request::downstream::Arrival;
use crate::request::head::Caller;
use crate::worker::context::Lane;

/// What serves the requests of one connection.
pub(super) type Rim = Isolated<Door>;

/// The service of one connection.
pub(super) fn rim(lane: Rc<Lane>, entrance: Entrance, caller: Caller) -> Rim {
    Isolation.layer(Door { lane, entrance, caller })
}

/// Where requests come in.
#[derive(Clone)]
pub(super) struct Door {
    lane: Rc<Lane>,
    entrance: Entrance,
    caller: Caller,
}

/// A request that is being answered.
pub(super) struct Answering(Serving);

impl Future for Answering {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

impl Service<Arrival> for Door {
    type Response = Answer;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Answering {
        Answering(Serving::begin(&self.lane, self.entrance, self.caller, arrival))
    }
}

/// Answers 500 where a request's future panics, so that its connection and its worker live on.
#[derive(Clone, Copy)]
struct Isolation;

impl<S> Layer<S> for Isolation {
    type Service = Isolated<S>;
    fn layer(&self, inner: S) -> Isolated<S> {
        Isolated(inner)
    }
}

/// A service behind [`Isolation`].
#[derive(Clone)]
pub(super) struct Isolated<S>(S);

/// A future behind [`Isolation`].
pub(super) struct Isolating<F>(F);

impl<S, F> Service<Arrival> for Isolated<S>
where
    S: Service<Arrival, Response = Answer, Error = Infallible, Future = F>,
    F: Future<Output = Result<Answer, Infallible>> + Unpin,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Isolating<F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Isolating<F> {
        Isolating(self.0.call(arrival))
    }
}

impl<F: Future<Output = Result<Answer, Infallible>> + Unpin> Future for Isolating<F> {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx))) {
            Ok(polled) => polled,
            Err(_) => {
                tracing::error!("a request's task panicked; it is answered with 500");
                let (fields, body) = (Fields::default(), DownBody::Own(None, None));
                Poll::Ready(Ok(Answer { status: 500, fields, body }))
            }
        }
    }
}
