//! What many routes have in common, kept once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use leeboard_policy::retry::RetryPolicy;

/// How many retry policies are compared with a new one. Routes with the same one mostly stand together.
const LATEST: usize = 8;

/// Values that are made for route after route.
#[derive(Default)]
pub(crate) struct Shared {
    policies: RefCell<Vec<Arc<RetryPolicy>>>,
    names: RefCell<HashSet<Arc<str>>>,
}

impl Shared {
    /// A retry policy, the same as an earlier one if there was an equal one of late.
    pub(crate) fn policy(&self, policy: Option<RetryPolicy>) -> Option<Arc<RetryPolicy>> {
        let policy = policy?;
        let mut latest = self.policies.borrow_mut();
        if let Some(known) = latest.iter().find(|known| ***known == policy) {
            return Some(known.clone());
        }
        latest.truncate(LATEST - 1);
        latest.insert(0, Arc::new(policy));
        latest.first().cloned()
    }

    /// A name, the same as an equal one before.
    pub(crate) fn name(&self, name: String) -> Arc<str> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(&*name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        names.insert(name.clone());
        name
    }
}
