//! Wake flags: a future that a task polls only when that future has woken it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

/// Tells whether it is the one thing for which a task was woken that waits for many, so that it need not look each time.
#[derive(Debug)]
pub(crate) struct WakeFlag {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Relaxed);
        self.task.wake_by_ref();
    }
}

impl WakeFlag {
    /// The bell of a task, which is another when the task's waker is.
    pub(crate) fn of<'b>(wake_flag: &'b mut Option<Arc<WakeFlag>>, task: &Waker) -> &'b Arc<WakeFlag> {
        let wake_flag = wake_flag.get_or_insert_with(|| Arc::new(WakeFlag { rung: true.into(), task: task.clone() }));
        if !wake_flag.task.will_wake(task) {
            *wake_flag = Arc::new(WakeFlag { rung: true.into(), task: task.clone() });
        }
        wake_flag
    }

    /// Looks if it has rung since it was last looked, and at first.
    pub(crate) fn poll<T>(self: &Arc<Self>, what: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        // Looking is cheaper than taking, and nearly always enough.
        if !self.rung.load(Relaxed) || !self.rung.swap(false, Relaxed) {
            return Poll::Pending;
        }
        what.poll(&mut Context::from_waker(&self.clone().into()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[derive(Default)]
    struct Task(std::sync::atomic::AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_task_looks_at_first_and_after_each_ring_and_when_it_is_another_task() {
        let (looks, kept) = (Cell::new(0), Cell::new(None));
        let mut what = pin!(poll_fn(|cx| {
            looks.set(looks.get() + 1);
            kept.set(Some(cx.waker().clone()));
            if looks.get() < 4 { Poll::Pending } else { Poll::Ready(()) }
        }));
        let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
        let wakers = tasks.each_ref().map(|task| Waker::from(task.clone()));
        let mut wake_flag = None;
        #[rustfmt::skip]
        let table = [
            // which task looks, whether it has rung before, how often it has looked then
            (0, false, 1), (0, false, 1), (0, true, 2), (0, false, 2), (1, false, 3), (1, false, 3), (1, true, 4),
        ];
        for (turn, (task, rings, expected)) in table.into_iter().enumerate() {
            if rings {
                kept.take().expect("it has been looked at").wake();
            }
            let polled = WakeFlag::of(&mut wake_flag, &wakers[task]).poll(what.as_mut());
            assert_eq!((looks.get(), polled.is_ready()), (expected, turn == 6), "turn {turn}");
        }
        assert_eq!(tasks.each_ref().map(|task| task.0.load(Relaxed)), [1, 1], "a ring wakes its task");
    }
}
