//! The rim of the proxy: what a listener hands to hyper. Its layers decide nothing; they only keep one request's trouble
//! from becoming another's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use leeboard_policy::request::Entrance;
use tower::Layer;

use super::talk::Talk;
use crate::exchange::download::DownBody;
use crate::exchange::head::Caller;
use crate::exchange::serve;
use crate::lane::Lane;
use crate::tunnel::Berth;

/// What hyper calls.
pub(super) type Service = Isolated<Door>;

/// The service of one connection.
pub(super) fn service(lane: Rc<Lane>, entrance: Entrance, caller: Caller, talk: Rc<Talk>, berth: Berth) -> Service {
    Isolation.layer(Door { lane, entrance, caller, talk, berth })
}

/// Where requests come in.
#[derive(Clone)]
pub(super) struct Door {
    lane: Rc<Lane>,
    entrance: Entrance,
    caller: Caller,
    talk: Rc<Talk>,
    berth: Berth,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<DownBody>, Infallible>>>>;

impl tower::Service<Request<Incoming>> for Door {
    type Response = Response<DownBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let ambiguous = self.talk.request_begins();
        let Self { lane, entrance, caller, talk, berth } = self.clone();
        let asked = talk.request();
        Box::pin(async move {
            let mut response = serve(lane, entrance, caller, request, asked, ambiguous).await;
            if let DownBody::Tunnel(tunnel) = response.body_mut() {
                berth.set(tunnel.take());
            }
            Ok(response)
        })
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

impl<S> tower::Service<Request<Incoming>> for Isolated<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<DownBody>, Error = Infallible, Future = Answering>,
{
    type Response = Response<DownBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let mut answering = self.0.call(request);
        Box::pin(poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
            Ok(polled) => polled,
            Err(_) => {
                tracing::error!("a request's task panicked; it is answered with 500");
                let mut response = Response::new(DownBody::Own(None, None));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                Poll::Ready(Ok(response))
            }
        }))
    }
}
