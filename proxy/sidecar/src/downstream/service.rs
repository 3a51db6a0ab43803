//! Serves the requests of one downstream connection. A panic while one is served becomes a 500, so that it does not affect
//! other requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use leeboard_policy::request::Entrance;

use crate::exchange::DownstreamResponse;
use crate::exchange::download::ResponseBody;
use crate::exchange::slot::RunningExchange;
use crate::http::fields::Fields;
use crate::request::downstream::DownstreamRequest;
use crate::request::head::Caller;
use crate::worker::context::WorkerContext;

/// What serves the requests of one connection.
pub(super) struct RequestService {
    context: Rc<WorkerContext>,
    entrance: Entrance,
    caller: Caller,
}

impl RequestService {
    /// The service of one connection.
    pub(super) fn new(context: Rc<WorkerContext>, entrance: Entrance, caller: Caller) -> Self {
        Self { context, entrance, caller }
    }

    /// Begins to serve a request.
    pub(super) fn serve(&self, request: DownstreamRequest) -> IsolatedExchange {
        IsolatedExchange(RunningExchange::begin(&self.context, self.entrance, self.caller, request))
    }
}

/// An exchange whose panic is answered with 500, so that its connection and its worker live on.
pub(super) struct IsolatedExchange(RunningExchange);

impl Future for IsolatedExchange {
    type Output = DownstreamResponse;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DownstreamResponse> {
        catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx))).unwrap_or_else(|_| {
            tracing::error!("a request's task panicked; it is answered with 500");
            let (fields, body) = (Fields::default(), ResponseBody::Own(None, None));
            Poll::Ready(DownstreamResponse { status: 500, fields, body })
        })
    }
}
