//! Warming: a configuration comes into force when each of its new DNS names has been resolved once.
//!
//! Envoy: a cluster is warm when its names have been resolved. Without it, a route to the cluster would be answered 503
//! until then.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::Discovery;
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::{Span, Time};

use crate::config::update::Wanted;

/// How long a configuration waits for an answer about a name. Until then the one before it serves.
const LONGEST: Span = Span::from_secs(5);

/// The names of a configuration that waits for them: until when, or that something has been heard.
#[derive(Debug, Default)]
pub(super) struct Warming(BTreeMap<Arc<str>, Option<Time>>);

impl Warming {
    /// Waits for the names that `next` wants and `now_wanted` does not. A name that is waited for already keeps its time.
    pub(super) fn begin(&mut self, next: &[Wanted], now_wanted: &[Wanted], now: Time) {
        let mut earlier = std::mem::take(&mut self.0);
        for Wanted { name, .. } in next {
            if now_wanted.binary_search_by(|wanted| wanted.name.cmp(name)).is_err() {
                let waits = earlier.remove(name).unwrap_or(Some(now + LONGEST));
                self.0.insert(name.clone(), waits);
            }
        }
    }

    /// Notes that a name has an answer, or that asking for it has failed.
    pub(super) fn heard(&mut self, name: &str) {
        if let Some(waits) = self.0.get_mut(name) {
            *waits = None;
        }
    }

    /// When the wait is over at the latest; `None` when it is over.
    pub(super) fn due(&self) -> Option<Time> {
        self.0.values().copied().flatten().max()
    }

    /// The names that nothing has been heard of.
    pub(super) fn unheard(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(|(_, waits)| waits.is_some()).map(|(name, _)| name)
    }
}

/// The names that clusters ask for. An IP address written in place of a name is its own answer, which DNS gives at once.
pub(super) fn wanted(snapshot: &Snapshot) -> Vec<Wanted> {
    let mut names: BTreeMap<&Arc<str>, bool> = BTreeMap::new();
    for cluster in snapshot.clusters() {
        match &cluster.discovery {
            Discovery::Dns(specs) => {
                for spec in specs {
                    names.entry(&spec.name).or_insert(false);
                }
            }
            Discovery::DnsFirst(spec) => {
                names.insert(&spec.name, true);
            }
            Discovery::Static(_) | Discovery::Original => {}
        }
    }
    names.into_iter().map(|(name, ordered)| Wanted { name: name.clone(), ordered }).collect()
}

/// The names that either of two configurations asks for.
pub(super) fn either(one: &[Wanted], other: &[Wanted]) -> Vec<Wanted> {
    let mut names: BTreeMap<&Arc<str>, &Wanted> = one.iter().map(|wanted| (&wanted.name, wanted)).collect();
    names.extend(other.iter().map(|wanted| (&wanted.name, wanted)));
    names.into_values().cloned().collect()
}
