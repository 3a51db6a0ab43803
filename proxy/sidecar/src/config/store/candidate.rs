//! Compiles a new configuration and decides, object by object, whether the new or the old version comes into force.
//!
//! A broken object never replaces a good one. An object that refers to a missing object waits for it for some time
//! (`leeboard_istio::grace`), and then serves as Istio does.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use leeboard_istio::codes::{self, Code};
use leeboard_istio::compile::{Compiled, Reference, Site, compiled};
use leeboard_istio::diagnostic::{Diagnostic, Severity};
use leeboard_istio::grace::{self, Awaited, Held};
use leeboard_istio::resources::{MeshConfig, ObjectId, Resources};
use leeboard_istio::source::Source;
use leeboard_istio::{Loaded, load_in};
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::{Span, Time};

use super::changes::Objects;
use crate::config::update::LoadedFiles;

/// What is wrong between objects, and right again when another object changes.
const BETWEEN_OBJECTS: [Code; 4] =
    [codes::UNKNOWN_HOST, codes::UNKNOWN_SUBSET, codes::UNKNOWN_PORT, codes::HOST_CONFLICT];

/// The objects in force, near enough to make them again. Nearly all of them are in the texts that were read last, which are
/// kept anyway, and only a broken edit asks for them: they would take several times the room of the snapshot.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// What was read.
    pub(super) reading: LoadedFiles,
    /// Where the proxy stands, with the version of what came of it.
    site: Site,
    /// The objects themselves.
    pub(super) objects: Objects,
    /// What is broken in these texts in such a way that only compiling found it.
    aside: BTreeSet<Arc<str>>,
    /// What earlier texts said of objects that are broken in these.
    kept: Resources,
    waiting: Waiting,
    /// What dangles in force.
    dangled: BTreeSet<Reference>,
    awaited: Awaited,
    /// When this was decided.
    decided: Time,
}

impl InForce {
    /// Every object as it is in force.
    fn resources(&self, namespace: &str) -> Resources {
        let mut loaded = load_in(&self.reading.sources, namespace);
        set_aside(&mut loaded, &self.aside);
        let mut resources = loaded.keep(&self.kept).resources;
        if !self.waiting.ids.is_empty() {
            resources.put_back(&self.waiting.before, &self.waiting.ids);
        }
        resources
    }

    /// The objects that a snapshot was made of, where the proxy stands, and the texts in which their places are known; `None` when
    /// these are not the ones.
    pub(crate) fn as_written(&self, snapshot: &Snapshot) -> Option<(Resources, &Site, Vec<Source>)> {
        if *snapshot.version() != *self.site.version {
            return None;
        }
        let resources = self.resources(&self.site.workload.namespace);
        // Of a file with objects that are in force as they were before, places are no longer known.
        let mut stale: BTreeSet<Arc<str>> = BTreeSet::new();
        for earlier in [&self.kept, &self.waiting.before] {
            earlier.clone().retain(|meta| stale.insert(meta.spot.file.clone()));
        }
        let mut sources = self.reading.sources.clone();
        sources.retain(|source| !stale.contains(&source.name));
        Some((resources, &self.site, sources))
    }

    /// When an object has waited for long enough, so that the same texts come to something else.
    pub(super) fn due(&self) -> Option<Time> {
        grace::due(&self.awaited, self.decided)
    }
}

/// What came of the last reading of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct ConfigReport {
    /// All that was complained of.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Objects that serve in their last good version since the present one has errors, as `VirtualService demo/reviews`.
    pub(crate) kept: Vec<Arc<str>>,
    /// Broken objects of which nothing is in force: they were broken already when the process began, or came so.
    pub(crate) left_out: Vec<Arc<str>>,
    /// Objects that are as they were since, as they are written, a route would lead to what is not there.
    pub(crate) waiting: Vec<Arc<str>>,
    /// When it was read.
    pub(crate) read: SystemTime,
    /// What is in force of it, as it is written.
    pub(crate) in_force: Arc<InForce>,
}

impl ConfigReport {
    /// How many complaints are of a severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

/// Objects that wait, and what earlier texts said of them; of one that is new they said nothing.
#[derive(Debug, Default)]
struct Waiting {
    ids: BTreeSet<ObjectId>,
    before: Resources,
}

impl Waiting {
    fn of(held: &Held) -> Self {
        let (ids, mut before) = (held.ids(), held.resources.clone());
        before.retain(|meta| ids.contains(&meta.id));
        Self { ids, before }
    }
}

/// What the next configuration is held against.
pub(super) struct Before<'a> {
    /// What is in force.
    pub(super) in_force: &'a InForce,
    /// The moment of the decision.
    pub(super) now: Time,
    /// How long what dangles is waited for.
    pub(super) grace: Span,
}

/// What came of reading a configuration, before it is in force.
pub(super) struct Candidate {
    pub(super) in_force: Arc<InForce>,
    pub(super) mesh: Option<Arc<MeshConfig>>,
    pub(super) snapshot: Snapshot,
    pub(super) diagnostics: Vec<Diagnostic>,
    kept: Vec<ObjectId>,
    pub(super) left_out: BTreeSet<ObjectId>,
}

impl Candidate {
    /// Reads and compiles. What is in force `before` stays where the new is broken or waits; at first there is none, and what is
    /// broken is left out.
    pub(super) fn new(reading: LoadedFiles, mut site: Site, before: Option<&Before<'_>>) -> Self {
        site.version = version(&reading.sources, &Waiting::default());
        let namespace = site.workload.namespace.clone();
        let mut loaded = load_in(&reading.sources, &namespace);
        let mut complaints = reading.complaints.clone();
        let previous =
            LazyCell::new(|| before.map_or_else(Resources::default, |before| before.in_force.resources(&namespace)));
        if loaded.is_incomplete() {
            loaded = loaded.keep(&previous);
        }
        let mut all = compiled(&loaded.resources, &site);
        let aside: BTreeSet<Arc<str>> =
            all.diagnostics.iter().filter(|d| breaks_its_object(d)).map(|d| d.resource.clone()).collect();
        if !aside.is_empty() {
            complaints.extend(all.diagnostics.into_iter().filter(breaks_its_object));
            set_aside(&mut loaded, &aside);
            loaded = loaded.keep(&previous);
            all = compiled(&loaded.resources, &site);
        }
        let left_out = left_out(&loaded);
        let kept = loaded.kept_objects();
        complaints.append(&mut loaded.diagnostics);
        let mut in_force = InForce { reading, aside, kept, ..InForce::default() };
        let mut resources = loaded.resources;
        if let Some(before) = before {
            let until = before.now + before.grace;
            in_force.decided = before.now;
            in_force.awaited = grace::awaited(&all.dangling, &before.in_force.dangled, &before.in_force.awaited, until);
            if in_force.due().is_some() {
                let accepted = before.in_force.dangled.iter().chain(grace::given_up(&in_force.awaited, before.now));
                let held = grace::hold(&previous, &resources, &site, &accepted.cloned().collect());
                in_force.waiting = Waiting::of(&held);
                site.version = version(&in_force.reading.sources, &in_force.waiting);
                all = with_waiting(all, &held, &resources, &site, before.grace);
                resources = held.resources;
            }
        }
        in_force.dangled = all.dangling.into_iter().map(|dangling| dangling.reference).collect();
        // What dangles in force all the same is not waited for.
        let InForce { awaited, dangled, .. } = &mut in_force;
        awaited.retain(|reference, _| !dangled.contains(reference));
        complaints.append(&mut all.diagnostics);
        in_force.site = site;
        in_force.objects = Objects::of(&resources);
        Self {
            in_force: Arc::new(in_force),
            mesh: resources.mesh,
            snapshot: all.snapshot,
            diagnostics: complaints,
            kept: loaded.kept,
            left_out,
        }
    }

    /// What there is to tell of it, read at a time.
    pub(super) fn report(&self, read: SystemTime) -> ConfigReport {
        ConfigReport {
            diagnostics: self.diagnostics.clone(),
            kept: self.kept.iter().map(|id| id.to_string().into()).collect(),
            left_out: self.left_out.iter().map(|id| id.to_string().into()).collect(),
            waiting: self.in_force.waiting.ids.iter().map(|id| id.to_string().into()).collect(),
            read,
            in_force: self.in_force.clone(),
        }
    }
}

/// Compiles what comes into force while objects wait. What is complained of is what is written, but for what is waited for.
fn with_waiting(written: Compiled, held: &Held, resources: &Resources, site: &Site, grace: Span) -> Compiled {
    if held.objects.is_empty() {
        return written;
    }
    let dangling = written.dangling.iter();
    let awaited: BTreeSet<_> = dangling.filter(|d| held.waits_for(&d.reference)).map(|d| &d.spot).collect();
    let mut diagnostics = written.diagnostics;
    diagnostics.retain(|d| !BETWEEN_OBJECTS.contains(&d.code) || !awaited.contains(&d.primary));
    diagnostics.extend(held.complaints(resources, &written.dangling, grace));
    Compiled { diagnostics, ..compiled(&held.resources, site) }
}

/// Whether an object is broken in itself. What is wrong between objects (codes L03xx) may be right again when the other one
/// changes, and until then serves as Istio does: a missing subset is answered with 503.
pub(super) fn breaks_its_object(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error && !BETWEEN_OBJECTS.contains(&diagnostic.code)
}

/// The broken objects of which nothing is in force.
fn left_out(loaded: &Loaded) -> BTreeSet<ObjectId> {
    let mut left_out: BTreeSet<ObjectId> = loaded.rejected.iter().cloned().collect();
    if !left_out.is_empty() {
        loaded.resources.each(|meta| _ = left_out.remove(&meta.id));
        left_out.retain(|id| !loaded.kept.contains(id));
    }
    left_out
}

/// Takes objects out as if loading had rejected them.
fn set_aside(loaded: &mut Loaded, broken: &BTreeSet<Arc<str>>) {
    let rejected = &mut loaded.rejected;
    loaded.resources.retain(|meta| {
        let stays = !broken.contains(&meta.resource);
        if !stays {
            rejected.push(meta.id.clone());
        }
        stays
    });
}

/// The same for the same files while the same waits, and different for others.
fn version(sources: &[Source], waiting: &Waiting) -> Arc<str> {
    let mut hash = DefaultHasher::new();
    for source in sources {
        (&*source.name, &*source.text).hash(&mut hash);
    }
    waiting.ids.iter().for_each(|id| id.hash(&mut hash));
    waiting.before.each(|meta| meta.fingerprint.hash(&mut hash));
    format!("{:016x}", hash.finish()).into()
}
