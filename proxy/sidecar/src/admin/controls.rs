//! How the pages reach the clock, the drain and the program's own log.

use std::sync::Arc;
use std::time::SystemTime;

use leeboard_policy::time::Time;

use super::{Controls, DrainListeners};
use crate::clock::Clock;
use crate::drain::{Drain, Life, Manner, Side};
use crate::log::LogLevel;

/// The process that the pages belong to.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its clock.
    pub(crate) clock: Clock,
    /// Its leaving.
    pub(crate) drain: Arc<Drain>,
    /// Its own log.
    pub(crate) log: LogLevel,
}

impl Controls for Process {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    fn life(&self) -> Life {
        self.drain.life()
    }

    fn drain_listeners(&self, drain: DrainListeners) {
        let manner = if drain.graceful { Manner::Closing } else { Manner::Shut };
        self.drain.advance(Side::Inbound, manner);
        if !drain.inbound_only {
            self.drain.advance(Side::Outbound, manner);
        }
    }

    fn quit(&self) {
        self.drain.ask();
    }

    fn log_level(&self) -> String {
        self.log.current()
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.log.set(level)
    }
}
