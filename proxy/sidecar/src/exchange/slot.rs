//! Memory for exchanges that is used again for the next one.
//!
//! The future of an exchange has two kilobytes. Allocating and freeing it for every request costs more than the
//! decision that is made in it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use leeboard_policy::request::Entrance;

use super::{DownstreamResponse, serve};
use crate::request::downstream::DownstreamRequest;
use crate::request::head::Caller;
use crate::worker::context::WorkerContext;

/// The most slots that wait for an exchange.
const SPARE: usize = 128;

thread_local! {
    /// The free slots of this thread.
    static FREE: RefCell<Vec<Box<dyn Slot>>> = RefCell::default();
}

/// Lets go of half of those that a burst has left.
pub(crate) fn forget() {
    FREE.with_borrow_mut(|free| {
        let keep = free.len() / 2;
        free.truncate(keep);
        free.shrink_to(keep * 2);
    });
}

/// Room for one exchange, whose type has no name.
trait Slot {
    fn begin(&mut self, context: Rc<WorkerContext>, entrance: Entrance, caller: Caller, request: DownstreamRequest);
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamResponse>;
    fn clear(&mut self);
}

struct Storage<F, R> {
    serve: F,
    running: Pin<Box<Option<R>>>,
}

impl<F, R> Slot for Storage<F, R>
where
    F: Fn(Rc<WorkerContext>, Entrance, Caller, DownstreamRequest) -> R,
    R: Future<Output = DownstreamResponse>,
{
    fn begin(&mut self, context: Rc<WorkerContext>, entrance: Entrance, caller: Caller, request: DownstreamRequest) {
        self.running.set(Some((self.serve)(context, entrance, caller, request)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamResponse> {
        match self.running.as_mut().as_pin_mut() {
            Some(running) => running.poll(cx),
            None => unreachable!("an exchange is begun before it is polled"),
        }
    }

    fn clear(&mut self) {
        self.running.set(None);
    }
}

fn new_slot<F, R>(serve: F) -> Box<dyn Slot>
where
    F: Fn(Rc<WorkerContext>, Entrance, Caller, DownstreamRequest) -> R + 'static,
    R: Future<Output = DownstreamResponse> + 'static,
{
    Box::new(Storage { serve, running: Box::pin(None) })
}

/// An exchange under way.
pub(crate) struct RunningExchange {
    slot: Option<Box<dyn Slot>>,
}

impl RunningExchange {
    /// Begins to serve a request.
    pub(crate) fn begin(
        context: &Rc<WorkerContext>,
        entrance: Entrance,
        caller: Caller,
        request: DownstreamRequest,
    ) -> Self {
        let free = FREE.with_borrow_mut(Vec::pop);
        let mut slot = free.unwrap_or_else(|| new_slot(serve));
        slot.begin(context.clone(), entrance, caller, request);
        Self { slot: Some(slot) }
    }
}

impl Future for RunningExchange {
    type Output = DownstreamResponse;

    /// An exchange that panics takes its slot with it.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DownstreamResponse> {
        let Some(mut slot) = self.slot.take() else { unreachable!("nobody waits for an exchange that is over") };
        let polled = slot.poll(cx);
        self.slot = Some(slot);
        polled
    }
}

impl Drop for RunningExchange {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        slot.clear();
        FREE.with_borrow_mut(|free| {
            if free.len() < SPARE {
                free.push(slot);
            }
        });
    }
}
