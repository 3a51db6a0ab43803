//! What many routes have in common, kept once.

use std::cell::RefCell;
use std::sync::Arc;

use leeboard_policy::retry::RetryPolicy;
use leeboard_policy::route::Destination;
use rustc_hash::FxHashSet;

/// How many values are compared with a new one. Routes with the same ones mostly stand together.
const LATEST: usize = 8;

/// Values that are made for route after route.
#[derive(Default)]
pub(crate) struct Shared {
    policies: RefCell<Vec<Arc<RetryPolicy>>>,
    destinations: RefCell<Vec<Arc<[Destination]>>>,
    names: RefCell<FxHashSet<Arc<str>>>,
}

impl Shared {
    /// A retry policy, the same as an earlier one if there was an equal one of late.
    pub(crate) fn policy(&self, policy: Option<RetryPolicy>) -> Option<Arc<RetryPolicy>> {
        let policy = policy?;
        Some(latest(&mut self.policies.borrow_mut(), |known| **known == policy, || Arc::new(policy.clone())))
    }

    /// A list of destinations, the same as an earlier one if there was an equal one of late.
    pub(crate) fn destinations(&self, list: Vec<Destination>) -> Arc<[Destination]> {
        latest(&mut self.destinations.borrow_mut(), |known| **known == *list, || list.clone().into())
    }

    /// A name, the same as an equal one before.
    pub(crate) fn name(&self, name: &str) -> Arc<str> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        names.insert(name.clone());
        name
    }
}

/// One of the latest values, or a new one that becomes the latest.
fn latest<T: Clone>(values: &mut Vec<T>, equals: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> T {
    if let Some(known) = values.iter().find(|known| equals(known)) {
        return known.clone();
    }
    let new = new();
    values.truncate(LATEST - 1);
    values.insert(0, new.clone());
    new
}
