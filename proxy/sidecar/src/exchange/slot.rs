//! Where exchanges run: memory that one leaves to the next.
//!
//! An exchange is a state machine of two kilobytes. Asking for that much memory and giving it back, for every request, costs
//! more than the decision that is made in it; and what was used last is still in the processor's cache.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use leeboard_policy::request::Entrance;

use super::{Answer, serve};
use crate::request::downstream::Arrival;
use crate::request::head::Caller;
use crate::worker::context::Lane;

/// The most berths that wait for an exchange.
const SPARE: usize = 128;

thread_local! {
    /// A worker's berths that are free.
    static FREE: RefCell<Vec<Box<dyn Berth>>> = RefCell::default();
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
trait Berth {
    fn begin(&mut self, lane: Rc<Lane>, entrance: Entrance, caller: Caller, arrival: Arrival);
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer>;
    fn clear(&mut self);
}

struct Room<F, R> {
    serve: F,
    running: Pin<Box<Option<R>>>,
}

impl<F, R> Berth for Room<F, R>
where
    F: Fn(Rc<Lane>, Entrance, Caller, Arrival) -> R,
    R: Future<Output = Answer>,
{
    fn begin(&mut self, lane: Rc<Lane>, entrance: Entrance, caller: Caller, arrival: Arrival) {
        self.running.set(Some((self.serve)(lane, entrance, caller, arrival)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.running.as_mut().as_pin_mut() {
            Some(running) => running.poll(cx),
            None => unreachable!("an exchange is begun before it is polled"),
        }
    }

    fn clear(&mut self) {
        self.running.set(None);
    }
}

fn room<F, R>(serve: F) -> Box<dyn Berth>
where
    F: Fn(Rc<Lane>, Entrance, Caller, Arrival) -> R + 'static,
    R: Future<Output = Answer> + 'static,
{
    Box::new(Room { serve, running: Box::pin(None) })
}

/// An exchange under way.
pub(crate) struct Serving {
    berth: Option<Box<dyn Berth>>,
}

impl Serving {
    /// Begins to serve a request.
    pub(crate) fn begin(lane: &Rc<Lane>, entrance: Entrance, caller: Caller, arrival: Arrival) -> Self {
        let free = FREE.with_borrow_mut(Vec::pop);
        let mut berth = free.unwrap_or_else(|| room(serve));
        berth.begin(lane.clone(), entrance, caller, arrival);
        Self { berth: Some(berth) }
    }
}

impl Future for Serving {
    type Output = Answer;

    /// An exchange that panics takes its berth with it.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(mut berth) = self.berth.take() else { unreachable!("nobody waits for an exchange that is over") };
        let polled = berth.poll(cx);
        self.berth = Some(berth);
        polled
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Some(mut berth) = self.berth.take() else { return };
        berth.clear();
        FREE.with_borrow_mut(|free| {
            if free.len() < SPARE {
                free.push(berth);
            }
        });
    }
}
