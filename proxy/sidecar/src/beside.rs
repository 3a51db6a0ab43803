//! Long work beside the traffic, and what it leaves behind: configurations that have been succeeded, and free memory.
//!
//! Reading a large configuration keeps a processor busy for tenths of a second, and letting one go for milliseconds. On a
//! machine whose processors all carry traffic, callers would wait for it; so it is done by threads that give way.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use leeboard_policy::live::Live;
use leeboard_policy::time::{Span, Time};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How much such a thread gives way: while another thread wants the same processor it is left about a quarter of it.
const NICE: i32 = 5;
/// How often is looked whether somebody still uses what has been succeeded.
const STEP: Span = Span::from_secs(1);
/// For how many steps after a configuration was let go, free memory is given back. The allocator keeps it for a second.
const STEPS: u32 = 3;

/// Does something on a thread that gives way to others, and waits for it.
pub(crate) fn beside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let yielding = || {
        give_way();
        work()
    };
    match thread::scope(|scope| scope.spawn(yielding).join()) {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Does something on a thread that gives way to others, and sends what comes of it; nothing when it panics.
pub(crate) fn begin_beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, coming) = oneshot::channel();
    let yielding = move || {
        give_way();
        // Nobody waits when the process ends.
        let _ = done.send(work());
    };
    if let Err(error) = thread::Builder::new().name("beside".into()).spawn(yielding) {
        tracing::error!(%error, "a thread cannot be started");
    }
    coming
}

/// Threads have priorities of their own on Linux. Without the right to change it, it stays as it is.
fn give_way() {
    let _ = setpriority_process(None, NICE);
}

/// What has been succeeded, until nobody uses it any more. A worker never is the last to let go of it.
#[derive(Debug)]
pub(crate) struct Retired {
    list: Vec<Arc<Live>>,
    steps: u32,
    due: Option<Time>,
}

impl Retired {
    /// Nothing yet, at the start of the process; what reading the first configuration took is given back soon.
    pub(crate) fn new(now: Time) -> Self {
        Self { list: Vec::new(), steps: STEPS, due: Some(now + STEP) }
    }

    /// Keeps what has just been succeeded: it can be asked for no more, but what has begun with it goes on.
    pub(crate) fn add(&mut self, live: Arc<Live>, now: Time) {
        self.list.push(live);
        self.due.get_or_insert(now + STEP);
    }

    /// When [`Retired::step`] has something to do.
    pub(crate) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Lets go of what nobody uses, and gives free memory back, on a thread that is returned.
    pub(crate) fn step(&mut self, now: Time) -> Option<JoinHandle<()>> {
        let (unused, used) = std::mem::take(&mut self.list).into_iter().partition(|live| Arc::strong_count(live) == 1);
        self.list = used;
        let unused: Vec<_> = unused;
        if !unused.is_empty() {
            self.steps = STEPS;
        }
        let works = self.steps > 0;
        self.steps = self.steps.saturating_sub(1);
        self.due = (self.steps > 0 || !self.list.is_empty()).then_some(now + STEP);
        // The allocator gives back what has been free for long enough when a thread ends.
        let let_go = move || {
            give_way();
            drop(unused);
        };
        works.then(|| thread::Builder::new().name("beside".into()).spawn(let_go).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use leeboard_policy::live::Resolved;
    use leeboard_policy::snapshot::{Draft, Snapshot};

    use super::*;

    #[test]
    fn what_is_used_is_kept_and_then_let_go_by_another_thread() {
        let at = |second| Time(0) + Span::from_secs(second);
        let mut retired = Retired::new(at(0));
        let live = Arc::new(Live::adopt(None, Arc::new(Snapshot::new(Draft::default())), &Resolved::new(), at(0)));
        let gone = Arc::downgrade(&live);
        let worker = live.clone();
        retired.add(live, at(0));
        for second in 1..10 {
            assert_eq!(retired.due(), Some(at(second)), "somebody still uses it");
            retired.step(at(second)).into_iter().for_each(|thread| thread.join().unwrap());
            assert!(gone.upgrade().is_some());
        }
        drop(worker);
        assert!(gone.upgrade().is_some(), "the last to use it does not let it go");
        retired.step(at(10)).expect("there is something to let go of").join().unwrap();
        assert!(gone.upgrade().is_none());
        assert!(retired.step(at(11)).is_some() && retired.step(at(12)).is_some(), "its memory is given back");
        assert_eq!(retired.due(), None);
    }

    #[test]
    fn work_is_done_and_a_panic_goes_on() {
        assert_eq!(beside(|| 7), 7);
        assert!(std::panic::catch_unwind(|| beside(|| assert!("".contains('x')))).is_err());
        assert_eq!(begin_beside(|| 7).blocking_recv(), Ok(7));
        assert!(begin_beside(|| assert!("".contains('x'))).blocking_recv().is_err());
    }
}
