//! Why a measurement did not come about, and the flag that Ctrl-C raises.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Why a step of the run ended early.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// SIGINT or SIGTERM arrived: the whole run ends.
    Interrupted,
    /// This peer cannot be measured; the others go on.
    Failed(String),
    /// This peer does not do what the suite measures, which is no failure.
    Unable(&'static str),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Interrupted => f.write_str("interrupted"),
            Trouble::Failed(reason) => f.write_str(reason),
            Trouble::Unable(reason) => f.write_str(reason),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Failed(error.to_string())
    }
}

/// Raised once by SIGINT or SIGTERM; every wait of the harness looks at it, so that children are stopped by their guards.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT and SIGTERM of this process.
    pub(crate) fn listen() -> io::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        for signal in [nix::libc::SIGINT, nix::libc::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&raised))?;
        }
        Ok(Self(raised))
    }

    /// `Err(Interrupted)` once a signal arrived.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        if self.0.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    /// Calls `probe` every `step` until it returns something. `Ok(None)` after `limit`.
    pub(crate) fn poll<T>(
        &self,
        step: Duration,
        limit: Duration,
        mut probe: impl FnMut() -> Result<Option<T>, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let begin = Instant::now();
        loop {
            self.check()?;
            if let Some(found) = probe()? {
                return Ok(Some(found));
            }
            if begin.elapsed() >= limit {
                return Ok(None);
            }
            thread::sleep(step);
        }
    }
}
