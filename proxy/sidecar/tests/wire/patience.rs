//! Waiting for things that must happen, each with a deadline; and the time that they took.

use std::future::Future;
use std::time::{Duration, Instant};

/// What must happen at all happens within this, on a busy machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How often a condition is looked at that nobody announces.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for what must come soon.
pub(crate) async fn soon<F: Future>(what: &str, coming: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, coming).await {
        Ok(come) => come,
        Err(_) => panic!("waited {DEADLINE:?} in vain: {what}"),
    }
}

/// Looks again and again until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    soon(what, async {
        let mut looks = tokio::time::interval(LOOK);
        while !holds().await {
            looks.tick().await;
        }
    })
    .await;
}

/// A clock that was started.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    #[expect(clippy::disallowed_methods, reason = "wire tests measure the time that passes for a caller")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has run.
    pub(crate) fn read(self) -> Duration {
        self.0.elapsed()
    }

    /// Checks that at least so much time has passed, and not absurdly more: the machine may be busy.
    pub(crate) fn check(self, what: &str, milliseconds: u64) {
        let (took, least) = (self.read(), Duration::from_millis(milliseconds));
        assert!(took >= least, "{what} took {took:?}, less than {least:?}");
        assert!(took < least + Duration::from_secs(5), "{what} took {took:?}, far more than {least:?}");
    }
}
