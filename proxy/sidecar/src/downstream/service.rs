//! The service that serves the requests of one connection, and the layer that turns a panic into 500, so that it does
//! not affect other requests.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use leeboard_policy::request::Entrance;
use tower::{Layer, Service};

use crate::exchange::DownstreamResponse;
use crate::exchange::download::ResponseBody;
use crate::exchange::slot::Serving;
use crate::http::fields::Fields;
use crate::request::downstream::DownstreamRequest;
use crate::request::head::Caller;
use crate::worker::context::WorkerContext;

/// What serves the requests of one connection.
pub(super) type RequestService = Isolated<ExchangeService>;

/// The service of one connection.
pub(super) fn request_service(context: Rc<WorkerContext>, entrance: Entrance, caller: Caller) -> RequestService {
    Isolation.layer(ExchangeService { context, entrance, caller })
}

/// Where requests come in.
#[derive(Clone)]
pub(super) struct ExchangeService {
    context: Rc<WorkerContext>,
    entrance: Entrance,
    caller: Caller,
}

/// A request that is being answered.
pub(super) struct Serving_(Serving);

impl Future for Serving_ {
    type Output = Result<DownstreamResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

impl Service<DownstreamRequest> for ExchangeService {
    type Response = DownstreamResponse;
    type Error = Infallible;
    type Future = Serving_;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: DownstreamRequest) -> Serving_ {
        Serving_(Serving::begin(&self.context, self.entrance, self.caller, request))
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

impl<S, F> Service<DownstreamRequest> for Isolated<S>
where
    S: Service<DownstreamRequest, Response = DownstreamResponse, Error = Infallible, Future = F>,
    F: Future<Output = Result<DownstreamResponse, Infallible>> + Unpin,
{
    type Response = DownstreamResponse;
    type Error = Infallible;
    type Future = Isolating<F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: DownstreamRequest) -> Isolating<F> {
        Isolating(self.0.call(request))
    }
}

impl<F: Future<Output = Result<DownstreamResponse, Infallible>> + Unpin> Future for Isolating<F> {
    type Output = Result<DownstreamResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx))) {
            Ok(polled) => polled,
            Err(_) => {
                tracing::error!("a request's task panicked; it is answered with 500");
                let (fields, body) = (Fields::default(), ResponseBody::Own(None, None));
                Poll::Ready(Ok(DownstreamResponse { status: 500, fields, body }))
            }
        }
    }
}
