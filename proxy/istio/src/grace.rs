//! Make-before-break: when an edit leaves a route without its destination, the other half of the edit may still be on its
//! way. For a grace time the objects concerned stay as they are in force, so that the order in which files are written
//! does not matter.

mod hold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leeboard_policy::time::{Span, Time};

use crate::codes;
use crate::compile::{Dangling, Lack, Reference};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resources::{ObjectId, Resources};
use crate::source::Spot;

pub use hold::hold;

/// How long is waited when nobody says otherwise.
pub const DEFAULT: Span = Span::from_secs(10);

/// What dangles in a configuration as it is written, and not in the one in force; and until when it is waited for.
pub type Awaited = BTreeMap<Reference, Time>;

/// What is waited for after a reading. `dangling` is what dangles as it is written, `dangled` what dangles in force: nobody
/// waits for that. What was waited for before keeps its time, anything else has until `until`.
pub fn awaited(dangling: &[Dangling], dangled: &BTreeSet<Reference>, before: &Awaited, until: Time) -> Awaited {
    let new = dangling.iter().map(|dangling| &dangling.reference).filter(|reference| !dangled.contains(reference));
    new.map(|reference| (reference.clone(), before.get(reference).copied().unwrap_or(until))).collect()
}

/// What is waited for no longer, though it is not there: it may dangle in force.
pub fn given_up(awaited: &Awaited, now: Time) -> impl Iterator<Item = &Reference> {
    awaited.iter().filter(move |(_, until)| **until <= now).map(|(reference, _)| reference)
}

/// When the next wait ends.
pub fn due(awaited: &Awaited, now: Time) -> Option<Time> {
    awaited.values().copied().filter(|until| *until > now).min()
}

/// Objects that stay as they are in force, and what would dangle without that.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Each object, and the references that it is held for; at least one.
    pub objects: BTreeMap<ObjectId, BTreeSet<Reference>>,
    /// The configuration as it is written, but for these objects.
    pub resources: Resources,
}

impl Held {
    /// The names of the objects.
    pub fn ids(&self) -> BTreeSet<ObjectId> {
        self.objects.keys().cloned().collect()
    }

    /// Whether anything is held for a reference.
    pub fn waits_for(&self, reference: &Reference) -> bool {
        self.objects.values().any(|references| references.contains(reference))
    }

    /// One info for each object. `written` is the configuration as it is written, `dangling` what dangles in it, `grace` how
    /// long is waited.
    pub fn complaints(&self, written: &Resources, dangling: &[Dangling], grace: Span) -> Vec<Diagnostic> {
        let mut places: BTreeMap<&ObjectId, Spot> = BTreeMap::new();
        // What was taken away is written nowhere.
        self.resources.each(|meta| _ = places.insert(&meta.id, Spot::file(&meta.spot.file)));
        written.each(|meta| _ = places.insert(&meta.id, meta.spot.clone()));
        let spot_of = |reference: &Reference| dangling.iter().find(|d| d.reference == *reference).map(|d| &d.spot);
        let lacks_endpoints =
            |reference: &Reference| dangling.iter().any(|d| d.reference == *reference && d.lack == Lack::Endpoints);
        let told = self.objects.iter().filter_map(|(id, references)| {
            let own = references.iter().find(|reference| reference.who == *id);
            let reference = own.or_else(|| references.first())?;
            let named = spot_of(reference);
            let place = places.get(id).or(named).cloned().unwrap_or_else(|| Spot::file(&"".into()));
            let resource: Arc<str> = id.to_string().into();
            let help = format!("it comes into force when everything fits together, or {grace} after it did not");
            let told = |at: &Spot, message| Diagnostic::new(Severity::Info, codes::WAITING, &resource, at, message);
            let told = match (own, named) {
                (Some(_), _) => {
                    let lack = if lacks_endpoints(reference) { "has no endpoints" } else { "is not there" };
                    told(named.unwrap_or(&place), format!("{id} waits: {} {lack}", reference.to))
                }
                (None, named) => {
                    let told = told(&place, format!("{id} stays: {} leads to {}", reference.who, reference.to));
                    named.into_iter().fold(told, |told, spot| told.label(spot, "here"))
                }
            };
            Some(told.help(help))
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests;
