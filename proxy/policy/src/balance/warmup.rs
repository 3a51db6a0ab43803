//! How a new endpoint comes to its share little by little. Istio: `warmup`. Envoy: slow start.

use alloc::sync::Arc;

use super::curve::power;
use crate::cluster::Warmup;
use crate::endpoints::Endpoint;
use crate::time::{Span, Time};

impl Warmup {
    /// What part of its share an endpoint of this age takes. Envoy: `max(least, (age / duration)^(1/aggression))`, the age being
    /// at least 1 ms.
    pub fn part(&self, age: Span) -> f64 {
        let age = age.0.max(Span::from_millis(1).0);
        if age >= self.duration.0 {
            return 1.0;
        }
        let spent = age as f64 / self.duration.0 as f64;
        let grown = if self.aggression == 1.0 { spent } else { power(spent, 1.0 / self.aggression) };
        grown.max(self.least).min(1.0)
    }

    /// Until when endpoints differ by their age. Envoy: when all are new, none is.
    pub(crate) fn ends(&self, endpoints: &[Arc<Endpoint>]) -> Time {
        let since = || endpoints.iter().map(|endpoint| endpoint.since());
        match (since().min(), since().max()) {
            (Some(oldest), Some(newest)) if oldest < newest => newest + self.duration,
            _ => Time(0),
        }
    }

    /// An endpoint's weight at this time, in parts of the whole fine enough for small shares of small weights.
    pub(crate) fn weight(&self, endpoint: &Endpoint, now: Time) -> u32 {
        let part = self.part(now - endpoint.since());
        let fine = f64::from(endpoint.weight()) * part * 1_000.0;
        (fine as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_as_envoys_do() {
        let second = Span::from_secs(1);
        #[rustfmt::skip]
        let table = [
            // least, aggression, age in ms, part
            (0.1, 1.0, 0, 0.1), (0.1, 1.0, 50, 0.1), (0.1, 1.0, 100, 0.1), (0.1, 1.0, 250, 0.25), (0.1, 1.0, 999, 0.999),
            (0.1, 1.0, 1_000, 1.0), (0.1, 1.0, 5_000, 1.0), (0.0, 1.0, 0, 0.001), (0.0, 1.0, 10, 0.01),
            (0.0, 2.0, 250, 0.5), (0.0, 2.0, 10, 0.1), (0.0, 0.5, 500, 0.25), (0.3, 0.5, 500, 0.3), (1.0, 1.0, 1, 1.0),
        ];
        for (least, aggression, age, part) in table {
            let found = Warmup { duration: second, least, aggression }.part(Span::from_millis(age));
            assert!((found - part).abs() < 1e-9, "{least} {aggression} after {age} ms: {found}");
        }
    }
}
