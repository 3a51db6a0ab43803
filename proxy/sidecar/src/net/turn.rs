//! Turns: how much one connection may do before other tasks of its worker run.

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll};

use leeboard_policy::fairness::share;

/// Has others go first, those included whose sockets have not been looked at yet.
pub(crate) fn give_way(cx: &mut Context<'_>) -> Poll<()> {
    // The runtime wakes the task again when it has looked at all sockets.
    pin!(tokio::task::yield_now()).poll(cx)
}

/// How much has been done since others had their turn.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Turn(usize);

impl Turn {
    /// Has others go first when so much has been done since they had.
    pub(crate) fn poll(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 < most {
            return Poll::Ready(());
        }
        self.0 = 0;
        give_way(cx)
    }

    /// Notes that so much more has been done.
    pub(crate) fn did(&mut self, count: usize) {
        self.0 += count;
    }

    /// Notes that there is nothing more to do for now.
    pub(crate) fn rests(&mut self) {
        self.0 = 0;
    }
}

/// What may be done at once by all who always have more to do: the more there are, the less each of them, so that the others wait
/// no longer for many than for one.
#[derive(Default, Debug)]
pub(crate) struct Queue(Cell<usize>);

/// One who may have to queue.
#[derive(Debug)]
pub(crate) struct Queuing<'a> {
    queue: &'a Queue,
    queues: bool,
    turn: Turn,
}

impl Queue {
    /// One more who may have to queue.
    pub(crate) fn enter(&self) -> Queuing<'_> {
        Queuing { queue: self, queues: false, turn: Turn::default() }
    }
}

impl Queuing<'_> {
    /// Has others go first when it has done its share of so much since they had their turn.
    pub(crate) fn poll(&mut self, all: usize, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turn.poll(share(all, self.queue.0.get()), cx);
        if turn.is_pending() && !std::mem::replace(&mut self.queues, true) {
            self.queue.0.set(self.queue.0.get() + 1);
        }
        turn
    }

    /// Notes that one thing has been done.
    pub(crate) fn did(&mut self) {
        self.turn.did(1);
    }

    /// Notes that there is nothing more to do for now.
    pub(crate) fn rests(&mut self) {
        self.turn.rests();
        if std::mem::take(&mut self.queues) {
            self.queue.0.set(self.queue.0.get() - 1);
        }
    }
}

impl Drop for Queuing<'_> {
    fn drop(&mut self) {
        self.rests();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn two_who_always_have_more_to_do_take_turns() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let work = |name: char| {
            let done = done.clone();
            let mut turn = Turn::default();
            async move {
                for _ in 0..6 {
                    poll_fn(|cx| turn.poll(3, cx)).await;
                    turn.did(1);
                    done.borrow_mut().push(name);
                }
            }
        };
        let local = tokio::task::LocalSet::new();
        let both = [work('a'), work('b')].map(|work| local.spawn_local(work));
        local
            .run_until(async {
                for work in both {
                    work.await.expect("it does not panic");
                }
            })
            .await;
        let done = done.borrow().iter().collect::<String>();
        // In which order they go on is the runtime's.
        assert_eq!([&done[..6], &done[6..]].map(|turns| turns.matches("aaa").count()), [1, 1], "{done}");
        let mut turn = Turn::default();
        turn.did(3);
        turn.rests();
        assert!(poll_fn(|cx| Poll::Ready(turn.poll(3, cx))).await.is_ready(), "who has rested goes on");
    }

    #[tokio::test]
    async fn many_do_no_more_at_once_than_one() {
        let queue = Queue::default();
        let at_once = async |who: &mut Queuing<'_>| {
            let mut count = 0;
            poll_fn(|cx| {
                while who.poll(8, cx).is_ready() {
                    who.did();
                    count += 1;
                }
                Poll::Ready(count)
            })
            .await
        };
        let mut all: Vec<_> = (0..16).map(|_| queue.enter()).collect();
        assert_eq!(at_once(&mut all[0]).await, 8);
        assert_eq!(at_once(&mut all[0]).await, 8, "alone");
        assert_eq!(at_once(&mut all[1]).await, 8, "one other queues, and it does not yet");
        assert_eq!([at_once(&mut all[0]).await, at_once(&mut all[1]).await], [4, 4]);
        for who in &mut all {
            at_once(who).await;
        }
        for who in &mut all {
            assert_eq!(at_once(who).await, 1, "each goes on");
        }
        all[3..].iter_mut().for_each(Queuing::rests);
        all.truncate(2);
        assert_eq!([at_once(&mut all[0]).await, at_once(&mut all[1]).await], [4, 4]);
    }
}
