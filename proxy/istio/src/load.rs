//! Loading: all sources → all objects and all complaints, and what stays in force when an edit breaks something.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codes;
use crate::diagnostic::{self, Diagnostic, Severity};
use crate::read::Reading;
use crate::resources::{Meta, ObjectId, Resources};
use crate::source::{Source, Spot};

/// What came of loading.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The objects that are in order.
    pub resources: Resources,
    /// Every complaint, by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects with errors, as far as their names are legible.
    pub rejected: Vec<ObjectId>,
    /// Rejected objects, or objects of unreadable documents, whose last good version stays in force.
    pub kept: Vec<ObjectId>,
    /// Files in which some document could not be parsed.
    broken: Vec<Arc<str>>,
}

impl Loaded {
    /// How many errors were found.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }
}

/// Loads sources; objects that name no namespace are in `default`. Never fails, and never stops at a mistake.
pub fn load(sources: &[Source]) -> Loaded {
    load_in(sources, "default")
}

/// Loads sources; objects that name no namespace are in `namespace`.
pub fn load_in(sources: &[Source], namespace: &str) -> Loaded {
    let mut reading = Reading::new(namespace);
    for source in sources {
        reading.file(source);
    }
    let mut loaded = Loaded {
        resources: reading.resources,
        diagnostics: reading.diagnostics,
        rejected: reading.rejected,
        kept: Vec::new(),
        broken: reading.broken,
    };
    loaded.rejected.sort();
    loaded.rejected.dedup();
    diagnostic::sort(&mut loaded.diagnostics, sources);
    loaded
}

impl Loaded {
    /// Puts the last good version of broken objects back in force.
    ///
    /// An object is broken when it was rejected and is not there, or when it came from a file in which a document cannot be
    /// parsed now, for that document may be the one that held it.
    #[must_use]
    pub fn keep(mut self, previous: &Resources) -> Self {
        if self.rejected.is_empty() && self.broken.is_empty() {
            return self;
        }
        let mut kept: Vec<Meta> = Vec::new();
        let rejected: BTreeSet<&ObjectId> = self.rejected.iter().collect();
        macro_rules! keep {
            ($($list:ident)*) => {$(
                let now: BTreeSet<ObjectId> = self.resources.$list.iter().map(|object| object.meta.id.clone()).collect();
                for object in &previous.$list {
                    let meta = &object.meta;
                    let broken = rejected.contains(&meta.id) || self.broken.contains(&meta.spot.file);
                    if broken && !now.contains(&meta.id) {
                        self.resources.$list.push(object.clone());
                        kept.push(meta.clone());
                    }
                }
                self.resources.$list.sort_by(|a, b| a.meta.created.order.cmp(&b.meta.created.order));
            )*};
        }
        keep!(virtual_services destination_rules service_entries workload_entries gateways sidecars);
        keep!(services endpoints endpoint_slices pods);
        for meta in kept {
            let at = Spot::file(&meta.spot.file);
            let message = format!("the last good version of {} stays in force", meta.id);
            self.diagnostics.push(Diagnostic::new(Severity::Info, codes::KEPT, &meta.resource, &at, message));
            self.kept.push(meta.id);
        }
        self
    }
}
