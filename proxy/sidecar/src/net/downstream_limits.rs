//! Limits on downstream connections: in all, for one listener, and from one address. A connection beyond a limit is
//! closed when it is accepted, so that file descriptors are left for endpoints and for other callers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

/// The most connections of callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DownstreamLimits {
    /// At all listeners together.
    pub(crate) all: usize,
    /// At one listener.
    pub(crate) listener: usize,
    /// From one address.
    pub(crate) caller: usize,
}

/// The callers of all workers.
#[derive(Debug)]
pub(crate) struct DownstreamConnections {
    most: DownstreamLimits,
    all: AtomicUsize,
    listeners: Vec<AtomicUsize>,
    callers: Mutex<FxHashMap<IpAddr, usize>>,
}

impl DownstreamConnections {
    /// Nobody yet, at so many listeners.
    pub(crate) fn new(most: DownstreamLimits, listeners: usize) -> Arc<Self> {
        let listeners = (0..listeners).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { most, all: AtomicUsize::new(0), listeners, callers: Mutex::default() })
    }

    /// Takes a place, or tells which limit has none left, as the metrics name it.
    pub(crate) fn enter(self: &Arc<Self>, listener: usize, caller: IpAddr) -> Result<DownstreamSlot, &'static str> {
        let caller = caller.to_canonical();
        take(&self.all, self.most.all).ok_or("max-connections")?;
        // What has been taken is given back by dropping it.
        let mut place = DownstreamSlot { downstream_connections: self.clone(), listener: None, caller: None };
        take(&self.listeners[listener], self.most.listener).ok_or("max-listener-connections")?;
        place.listener = Some(listener);
        let mut callers = self.callers();
        let count = callers.entry(caller).or_default();
        if *count >= self.most.caller {
            drop(callers);
            return Err("max-caller-connections");
        }
        *count += 1;
        drop(callers);
        place.caller = Some(caller);
        Ok(place)
    }

    fn callers(&self) -> MutexGuard<'_, FxHashMap<IpAddr, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(count: &AtomicUsize, most: usize) -> Option<usize> {
    count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)).ok()
}

/// A caller's place. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub(crate) struct DownstreamSlot {
    downstream_connections: Arc<DownstreamConnections>,
    listener: Option<usize>,
    caller: Option<IpAddr>,
}

impl Drop for DownstreamSlot {
    fn drop(&mut self) {
        self.downstream_connections.all.fetch_sub(1, Relaxed);
        if let Some(listener) = self.listener {
            self.downstream_connections.listeners[listener].fetch_sub(1, Relaxed);
        }
        let Some(caller) = self.caller else { return };
        let mut callers = self.downstream_connections.callers();
        if let Some(count) = callers.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                callers.remove(&caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_exact_and_what_is_refused_takes_nothing() {
        let downstream_connections = DownstreamConnections::new(DownstreamLimits { all: 5, listener: 3, caller: 2 }, 2);
        let enter = |listener, caller: &str| downstream_connections.enter(listener, caller.parse().unwrap());
        let mut places = Vec::new();
        #[rustfmt::skip]
        let table = [
            // listener, caller, which limit says no
            (0, "10.0.0.1", None),
            (0, "::ffff:10.0.0.1", None),
            (0, "10.0.0.1", Some("max-caller-connections")),
            (1, "10.0.0.1", Some("max-caller-connections")),
            (0, "10.0.0.2", None),
            (0, "10.0.0.3", Some("max-listener-connections")),
            (1, "10.0.0.3", None),
            (1, "10.0.0.3", None),
            (1, "10.0.0.4", Some("max-connections")),
        ];
        for (listener, caller, refused) in table {
            match enter(listener, caller) {
                Ok(place) => {
                    places.push(place);
                    assert_eq!(refused, None, "{caller}");
                }
                Err(limit) => assert_eq!(Some(limit), refused, "{caller}"),
            }
        }
        places.pop();
        places.push(enter(1, "10.0.0.4").unwrap());
        places.clear();
        assert_eq!(downstream_connections.all.load(Relaxed), 0);
        assert!(
            downstream_connections.callers().is_empty()
                && downstream_connections.listeners.iter().all(|count| count.load(Relaxed) == 0)
        );
    }
}
