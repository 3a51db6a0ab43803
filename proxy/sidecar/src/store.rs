//! The configuration in force. One task writes it; everyone else reads the latest [`Live`] or [`ConfigReport`].
//!
//! A broken object never takes the place of a good one: its last good version stays in force, and the log, the report and the
//! metrics say so. What is broken only in relation to another object (a subset that nobody defines) serves as Istio does.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use leeboard_istio::codes::{self, Code};
use leeboard_istio::compile::{Site, compile};
use leeboard_istio::diagnostic::{Diagnostic, Severity};
use leeboard_istio::resources::{MeshConfig, Meta, ObjectId, Resources};
use leeboard_istio::source::Source;
use leeboard_istio::{Loaded, load_in, render};
use leeboard_policy::cluster::Discovery;
use leeboard_policy::live::{Live, Resolved};
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::Time;
use tokio::sync::{mpsc, watch};

use crate::admin::ConfigReport;
use crate::beside::{Retired, beside};
use crate::clock::Clock;
use crate::discovery::dns::Wanted;
use crate::discovery::files::Reading;

/// The most updates that are taken together.
const BATCH: usize = 1024;
/// The most complaints of a kind that one reading puts into the log.
const MOST_TOLD: usize = 100;

/// All that discovery can say.
#[derive(Debug)]
pub(crate) enum Update {
    /// The files differ from what was read before.
    Files(Reading),
    /// Somebody asked for a reload, and the files are as they were.
    Unchanged,
    /// A name's addresses differ from what was said before; none when it has none.
    Resolved {
        /// The name, as the configuration writes it.
        name: Arc<str>,
        /// All of its addresses.
        addresses: Vec<IpAddr>,
    },
    /// Every name of the first configuration has been asked for.
    Settled,
}

/// What hears of changes to endpoints and configuration: whoever counts and logs.
pub(crate) trait Audience {
    /// An endpoint was set aside or has returned.
    fn outlier(&self, event: &leeboard_policy::outlier::OutlierEvent);
    /// The configuration was read, with or without errors.
    fn reloaded(&self, good: bool);
}

/// The configuration in force, and what is needed to make the next one.
pub(crate) struct Store {
    clock: Clock,
    site: Site,
    in_force: InForce,
    mesh: Option<Arc<MeshConfig>>,
    resolved: Resolved,
    live: Arc<ArcSwap<Live>>,
    retired: Retired,
    report: Arc<ArcSwap<ConfigReport>>,
    wanted: watch::Sender<Vec<Wanted>>,
    settled: watch::Sender<bool>,
}

/// The objects in force, near enough to make them again. Nearly all of them are in the texts that were read last, which are
/// kept anyway, and only a broken edit asks for them: they would take several times the room of the snapshot.
#[derive(Default)]
struct InForce {
    sources: Vec<Source>,
    /// What is broken in these texts in such a way that only compiling found it.
    aside: BTreeSet<Arc<str>>,
    /// What earlier texts said of objects that are broken in these.
    kept: Resources,
}

impl InForce {
    /// Every object in its last good version.
    fn resources(&self, namespace: &str) -> Resources {
        let mut loaded = load_in(&self.sources, namespace);
        set_aside(&mut loaded, &self.aside);
        loaded.keep(&self.kept).resources
    }
}

/// What came of reading a configuration, before it is in force.
struct Candidate {
    in_force: InForce,
    mesh: Option<Arc<MeshConfig>>,
    kept: Vec<ObjectId>,
    snapshot: Snapshot,
    diagnostics: Vec<Diagnostic>,
}

impl Candidate {
    /// Reads and compiles. `previous` is what stays in force where the new is broken; at first there is none.
    fn new(reading: &Reading, site: &mut Site, previous: Option<&InForce>) -> Self {
        site.version = version(&reading.sources);
        let namespace = site.workload.namespace.clone();
        let mut loaded = load_in(&reading.sources, &namespace);
        let mut complaints = reading.complaints.clone();
        let mut aside = BTreeSet::new();
        let previous = previous.map(|previous| LazyCell::new(|| previous.resources(&namespace)));
        if let Some(previous) = previous.as_ref().filter(|_| loaded.is_incomplete()) {
            loaded = loaded.keep(previous);
        }
        let (mut snapshot, mut compiled) = compile(&loaded.resources, site);
        if let Some(previous) = &previous {
            aside = compiled.iter().filter(|d| breaks_its_object(d)).map(|d| d.resource.clone()).collect();
            if !aside.is_empty() {
                complaints.extend(compiled.into_iter().filter(breaks_its_object));
                set_aside(&mut loaded, &aside);
                loaded = loaded.keep(previous);
                (snapshot, compiled) = compile(&loaded.resources, site);
            }
        }
        complaints.append(&mut loaded.diagnostics);
        complaints.append(&mut compiled);
        let in_force = InForce { sources: reading.sources.clone(), aside, kept: loaded.kept_objects() };
        Self { in_force, mesh: loaded.resources.mesh, kept: loaded.kept, snapshot, diagnostics: complaints }
    }
}

impl Store {
    /// Reads the first configuration.
    ///
    /// # Errors
    /// When there is an error in it: all complaints, as text for people. The proxy does not start on half a configuration.
    pub(crate) fn open(reading: &Reading, mut site: Site, clock: Clock) -> Result<Self, String> {
        let first = Candidate::new(reading, &mut site, None);
        if first.diagnostics.iter().any(breaks_its_object) {
            return Err(render(&first.diagnostics, &reading.sources, false));
        }
        tell(&[], &first.diagnostics, &reading.sources);
        let resolved = Resolved::new();
        let report = report(&first, clock);
        let live = Live::adopt(None, Arc::new(first.snapshot), &resolved, clock.now());
        tell_loaded(live.snapshot(), &report);
        Ok(Self {
            clock,
            site,
            in_force: first.in_force,
            mesh: first.mesh,
            resolved,
            wanted: watch::Sender::new(wanted(live.snapshot())),
            live: Arc::new(ArcSwap::from_pointee(live)),
            report: Arc::new(ArcSwap::from_pointee(report)),
            settled: watch::Sender::new(false),
            retired: Retired::new(clock.now()),
        })
    }

    /// Settings of the mesh, as far as the configuration has them.
    pub(crate) fn mesh(&self) -> Option<&MeshConfig> {
        self.mesh.as_deref()
    }

    /// What is in force. Changes at once for everyone; an exchange keeps the one it began with.
    pub(crate) fn live(&self) -> Arc<ArcSwap<Live>> {
        self.live.clone()
    }

    /// What came of the last reading.
    pub(crate) fn report(&self) -> Arc<ArcSwap<ConfigReport>> {
        self.report.clone()
    }

    /// The names whose addresses the configuration needs.
    pub(crate) fn wanted(&self) -> watch::Receiver<Vec<Wanted>> {
        self.wanted.subscribe()
    }

    /// Becomes true when every name of the first configuration has been asked for.
    pub(crate) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// Applies updates as they come, and lets ejected endpoints return when it is time, until nobody can say any more.
    pub(crate) async fn run(mut self, mut updates: mpsc::Receiver<Update>, audience: &impl Audience) {
        let mut batch = Vec::new();
        loop {
            let sweep = self.live.load().next_sweep().unwrap_or(Time(u64::MAX));
            tokio::select! {
                count = updates.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.apply(batch.drain(..), audience);
                }
                () = self.clock.until(self.retired.due().unwrap_or(Time(u64::MAX))) => {
                    self.retired.step(self.clock.now());
                }
                () = self.clock.until(sweep) => {
                    for event in self.live.load().sweep(self.clock.now()) {
                        audience.outlier(&event);
                    }
                }
            }
        }
    }

    /// Applies updates together, in order.
    pub(crate) fn apply(&mut self, updates: impl IntoIterator<Item = Update>, audience: &impl Audience) {
        let (mut read, mut moved, mut settled) = (None, false, false);
        for update in updates {
            match update {
                Update::Files(reading) => read = Some(self.reload(&reading)),
                Update::Unchanged => self.look_again(audience),
                Update::Resolved { name, addresses } => {
                    self.resolved.insert(name, addresses);
                    moved = true;
                }
                Update::Settled => settled = true,
            }
        }
        let (snapshot, report) = read.unzip();
        if snapshot.is_some() || moved {
            let before = self.live.load_full();
            let snapshot = snapshot.unwrap_or_else(|| before.shared_snapshot().clone());
            let wanted = wanted(&snapshot);
            self.resolved.retain(|name, _| wanted.binary_search_by(|w| w.name.cmp(name)).is_ok());
            let now = self.clock.now();
            let next = beside(|| Arc::new(Live::adopt(Some(&before), snapshot, &self.resolved, now)));
            self.live.store(next);
            self.retired.add(before, now);
            self.wanted.send_if_modified(|known| {
                let differs = *known != wanted;
                *known = wanted;
                differs
            });
        }
        // Whoever is told that it is loaded finds it in force.
        if let Some(report) = report {
            tell_loaded(self.live.load().snapshot(), &report);
            audience.reloaded(count(&report.diagnostics, Severity::Error) == 0);
            self.report.store(Arc::new(report));
        }
        if settled {
            self.settled.send_replace(true);
        }
    }

    fn reload(&mut self, reading: &Reading) -> (Arc<Snapshot>, ConfigReport) {
        let next = beside(|| Candidate::new(reading, &mut self.site, Some(&self.in_force)));
        tell(&self.report.load().diagnostics, &next.diagnostics, &reading.sources);
        let report = report(&next, self.clock);
        self.in_force = next.in_force;
        self.mesh = next.mesh;
        (Arc::new(next.snapshot), report)
    }

    fn look_again(&self, audience: &impl Audience) {
        let mut report = ConfigReport::clone(&self.report.load());
        report.read = self.clock.wall();
        let errors = count(&report.diagnostics, Severity::Error);
        self.report.store(Arc::new(report));
        audience.reloaded(errors == 0);
        tracing::info!(errors, "configuration read again, nothing has changed");
    }
}

/// Whether an object is broken in itself. What is wrong between objects (codes L03xx) may be right again when the other one
/// changes, and until then serves as Istio does: a missing subset is answered with 503.
fn breaks_its_object(diagnostic: &Diagnostic) -> bool {
    const BETWEEN_OBJECTS: [Code; 4] =
        [codes::UNKNOWN_HOST, codes::UNKNOWN_SUBSET, codes::UNKNOWN_PORT, codes::HOST_CONFLICT];
    diagnostic.severity == Severity::Error && !BETWEEN_OBJECTS.contains(&diagnostic.code)
}

/// Takes objects out as if loading had rejected them.
fn set_aside(loaded: &mut Loaded, broken: &BTreeSet<Arc<str>>) {
    let rejected = &mut loaded.rejected;
    let mut stays = |meta: &Meta| {
        let stays = !broken.contains(&meta.resource);
        if !stays {
            rejected.push(meta.id.clone());
        }
        stays
    };
    let r = &mut loaded.resources;
    r.virtual_services.retain(|object| stays(&object.meta));
    r.destination_rules.retain(|object| stays(&object.meta));
    r.service_entries.retain(|object| stays(&object.meta));
    r.workload_entries.retain(|object| stays(&object.meta));
    r.gateways.retain(|object| stays(&object.meta));
    r.sidecars.retain(|object| stays(&object.meta));
    r.services.retain(|object| stays(&object.meta));
    r.endpoints.retain(|object| stays(&object.meta));
    r.endpoint_slices.retain(|object| stays(&object.meta));
    r.pods.retain(|object| stays(&object.meta));
}

/// The names that clusters ask for. An IP address written in place of a name is its own answer, which DNS gives at once.
fn wanted(snapshot: &Snapshot) -> Vec<Wanted> {
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

/// The same for the same files, and different for others.
fn version(sources: &[Source]) -> Arc<str> {
    let mut hash = DefaultHasher::new();
    for source in sources {
        (&*source.name, &*source.text).hash(&mut hash);
    }
    format!("{:016x}", hash.finish()).into()
}

fn report(candidate: &Candidate, clock: Clock) -> ConfigReport {
    ConfigReport {
        diagnostics: candidate.diagnostics.clone(),
        kept: candidate.kept.iter().map(|id| id.to_string().into()).collect(),
        read: clock.wall(),
    }
}

fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
}

/// Logs what was not complained of before, all of a kind together, as people read a compiler's output.
fn tell(before: &[Diagnostic], now: &[Diagnostic], sources: &[Source]) {
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let new = now.iter().filter(|diagnostic| diagnostic.severity == severity && !before.contains(diagnostic));
        let new: Vec<Diagnostic> = new.cloned().collect();
        if new.is_empty() {
            continue;
        }
        let told = &new[..new.len().min(MOST_TOLD)];
        let mut text = render(told, sources, false);
        if new.len() > told.len() {
            text += &format!("and {} more of this kind: see /config_dump", new.len() - told.len());
        }
        match severity {
            Severity::Error => tracing::error!("{}", text.trim_end()),
            Severity::Warning => tracing::warn!("{}", text.trim_end()),
            Severity::Info => tracing::info!("{}", text.trim_end()),
        }
    }
}

/// Says what is in force now, and how it is.
fn tell_loaded(snapshot: &Snapshot, report: &ConfigReport) {
    tracing::info!(
        version = snapshot.version(),
        clusters = snapshot.clusters().len(),
        hosts = snapshot.hosts().len(),
        errors = count(&report.diagnostics, Severity::Error),
        warnings = count(&report.diagnostics, Severity::Warning),
        kept = report.kept.len(),
        "configuration loaded"
    );
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
