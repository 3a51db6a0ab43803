//! Long work on background threads of a lower priority.
//!
//! Reading a large configuration takes tenths of a second of CPU time, and freeing one takes milliseconds. Where all
//! CPUs carry traffic, requests would wait for it.

use std::thread::{self, JoinHandle};

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How much such a thread gives way: while another thread wants the same processor it is left about a quarter of it.
const NICE: i32 = 5;

/// Does some work in the background, and waits for it.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let yielding = || {
        give_way();
        work()
    };
    match thread::scope(|scope| scope.spawn(yielding).join()) {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Starts some work in the background, and sends what comes of it; nothing when it panics.
pub(crate) fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, coming) = oneshot::channel();
    // Nobody waits when the process ends.
    spawn(move || drop(done.send(work())));
    coming
}

/// Starts some work in the background, whose thread can be waited for; `None` when there can be none.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let yielding = move || {
        give_way();
        work();
    };
    let started = thread::Builder::new().name("background".into()).spawn(yielding);
    started.inspect_err(|error| tracing::error!(%error, "a thread cannot be started")).ok()
}

/// Threads have priorities of their own on Linux. Without the right to change it, it stays as it is.
fn give_way() {
    let _ = setpriority_process(None, NICE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_a_panic_goes_on() {
        assert_eq!(run(|| 7), 7);
        assert!(std::panic::catch_unwind(|| run(|| assert!("".contains('x')))).is_err());
        assert_eq!(start(|| 7).blocking_recv(), Ok(7));
        assert!(start(|| assert!("".contains('x'))).blocking_recv().is_err());
    }
}
