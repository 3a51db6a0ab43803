//! The configuration in force. One task writes it. Everybody else reads the latest [`Live`] or [`ConfigReport`].
//!
//! A broken object never replaces a good one: its last good version stays in force, and the log, the report and the
//! metrics say so. A route whose destination does not exist yet waits for it. A configuration with new DNS names comes
//! into force when they have been resolved once.

mod candidate;
mod changes;
mod report;
mod retired;
mod warming;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use leeboard_istio::compile::Site;
use leeboard_istio::diagnostic::{Diagnostic, Severity};
use leeboard_istio::render;
use leeboard_istio::resources::{Kind, MeshConfig};
use leeboard_policy::live::{Live, Resolved};
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::{Span, Time};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::candidate::ConfigReport;
use self::candidate::{Before, Candidate, InForce, breaks_its_object};
use self::changes::changes;
use self::report::{count, tell, tell_left_out, tell_loaded};
use self::retired::Retired;
use self::warming::{Warming, either, wanted};
use super::update::{LoadedFiles, Update, Wanted};
use crate::host::background;
use crate::host::clock::Clock;

/// The most updates that are taken together.
const BATCH: usize = 1024;

/// What hears of changes to endpoints and configuration: whoever counts and logs.
pub(crate) trait ConfigObserver {
    /// An endpoint was set aside or has returned.
    fn outlier(&self, event: &leeboard_policy::outlier::OutlierEvent);
    /// The configuration was read, with or without errors.
    fn reloaded(&self, good: bool);
}

/// The configuration in force, and what is needed to make the next one.
pub(crate) struct Store {
    clock: Clock,
    site: Site,
    grace: Span,
    in_force: Arc<InForce>,
    /// When objects in it have waited for long enough.
    due: Option<Time>,
    mesh: Option<Arc<MeshConfig>>,
    resolved: Resolved,
    live: Arc<ArcSwap<Live>>,
    retired: Retired,
    report: Arc<ArcSwap<ConfigReport>>,
    wanted: watch::Sender<Vec<Wanted>>,
    settled: watch::Sender<bool>,
    under_way: Option<RunningLoad>,
    next: NextLoad,
    coming: Option<PendingSnapshot>,
    warming: Warming,
}

/// A configuration that is being read.
struct RunningLoad {
    /// Whether somebody has to be told that it was read: the files differ, and not only the time.
    news: bool,
    /// When, for people.
    read: SystemTime,
    candidate: oneshot::Receiver<Candidate>,
}

/// What is to be done when a reading is over.
#[derive(Default)]
struct NextLoad {
    reading: Option<LoadedFiles>,
    look_again: bool,
}

/// A configuration that comes into force when its names have been asked for.
struct PendingSnapshot {
    news: bool,
    snapshot: Arc<Snapshot>,
    report: ConfigReport,
}

/// How the first configuration is taken.
#[derive(Clone, Default, Debug)]
pub(crate) struct FirstLoad {
    /// How long later configurations wait for missing destinations.
    pub(crate) grace: Span,
    /// Any error ends it.
    pub(crate) strict: bool,
    /// The file with settings of the mesh.
    pub(crate) mesh: Option<Arc<str>>,
}

impl FirstLoad {
    /// Whether nothing can be done without what is broken: settings of the mesh mean something for every request, and may be
    /// what forbids it.
    fn needs(&self, broken: &Diagnostic) -> bool {
        broken.resource.starts_with(Kind::MeshConfig.name()) || self.mesh.as_ref() == Some(&broken.primary.file)
    }
}

impl Store {
    /// Reads the first configuration. Broken objects are left out of it: as long as they stay broken a pod that starts anew is
    /// no worse than its neighbours that run on, and what is left out is told.
    ///
    /// # Errors
    /// When nothing in it can be used, when what is broken is more than an object ([`FirstLoad`]): all complaints, as text
    /// for people.
    pub(crate) fn open(reading: LoadedFiles, site: Site, first_load: &FirstLoad, clock: Clock) -> Result<Self, String> {
        let first = Candidate::new(reading, site.clone(), None);
        let sources = &first.in_force.reading.sources;
        let mut broken = first.diagnostics.iter().filter(|diagnostic| breaks_its_object(diagnostic)).peekable();
        if broken.peek().is_some() {
            if first_load.strict
                || first.in_force.objects.count() == 0
                || broken.any(|diagnostic| first_load.needs(diagnostic))
            {
                return Err(render(&first.diagnostics, sources, false));
            }
            tell_left_out(&first);
        }
        tell(&[], &first.diagnostics, sources);
        let resolved = Resolved::new();
        let report = first.report(clock.wall());
        let live = Live::adopt(None, Arc::new(first.snapshot), &resolved, clock.now());
        tell_loaded(live.snapshot(), &report);
        Ok(Self {
            clock,
            site,
            grace: first_load.grace,
            in_force: first.in_force,
            due: None,
            mesh: first.mesh,
            resolved,
            wanted: watch::Sender::new(wanted(live.snapshot())),
            live: Arc::new(ArcSwap::from_pointee(live)),
            report: Arc::new(ArcSwap::from_pointee(report)),
            settled: watch::Sender::new(false),
            retired: Retired::new(clock.now()),
            under_way: None,
            next: NextLoad::default(),
            coming: None,
            warming: Warming::default(),
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

    /// Applies updates as they come, lets ejected endpoints return when it is time, and applies what has waited for long
    /// enough, until nobody can say any more.
    pub(crate) async fn run(mut self, mut updates: mpsc::Receiver<Update>, observer: &impl ConfigObserver) {
        let mut batch = Vec::new();
        loop {
            let never = Time(u64::MAX);
            let sweep = self.live.load().next_sweep().unwrap_or(never);
            let due = self.due().unwrap_or(never);
            tokio::select! {
                count = updates.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.apply(batch.drain(..), observer);
                }
                read = finished(&mut self.under_way) => self.take(read, observer),
                () = self.clock.until(due) => self.wait_no_longer(observer),
                () = self.clock.until(self.retired.due()) => {
                    self.retired.step(self.clock.now());
                }
                () = self.clock.until(sweep) => {
                    for event in self.live.load().sweep(self.clock.now()) {
                        observer.outlier(&event);
                    }
                }
            }
        }
    }

    /// Applies updates together, in order; files are read in the background, one reading after the other.
    fn apply(&mut self, updates: impl IntoIterator<Item = Update>, observer: &impl ConfigObserver) {
        let (mut moved, mut settled) = (false, false);
        let mut named = Vec::new();
        for update in updates {
            match update {
                Update::Files(reading) => self.next = NextLoad { reading: Some(reading), look_again: false },
                Update::Unchanged => self.next.look_again = true,
                Update::Resolved { name, addresses, asked } => {
                    self.warming.heard(&name);
                    named.push((addresses.clone(), asked));
                    moved |= self.resolved.insert(name, addresses.clone()) != Some(addresses);
                }
                Update::Unresolved { name } => self.warming.heard(&name),
                Update::Settled => settled = true,
            }
        }
        if !self.arrive(observer) && moved {
            self.adopt(None);
        }
        for (addresses, asked) in named {
            self.live.load().trust(&addresses, asked);
        }
        self.go_on(observer);
        if settled {
            self.settled.send_replace(true);
        }
    }

    /// Begins the next reading, if none is under way.
    fn go_on(&mut self, observer: &impl ConfigObserver) {
        if self.under_way.is_some() {
            return;
        }
        if let Some(reading) = self.next.reading.take() {
            self.begin(reading, true);
        } else if std::mem::take(&mut self.next.look_again) {
            self.look_again(observer);
        }
    }

    fn begin(&mut self, reading: LoadedFiles, news: bool) {
        let (in_force, site) = (self.in_force.clone(), self.site.clone());
        let (now, grace) = (self.clock.now(), self.grace);
        let read = if news { self.clock.wall() } else { self.report.load().read };
        let work = move || Candidate::new(reading, site, Some(&Before { in_force: &in_force, now, grace }));
        self.due = None;
        self.under_way = Some(RunningLoad { news, read, candidate: background::start(work) });
    }

    /// Takes up what was read. It comes into force at once, unless it has names that nobody has asked for.
    fn take(&mut self, (news, read, candidate): Finished, observer: &impl ConfigObserver) {
        match candidate {
            None => tracing::error!("the configuration could not be read: what was in force stays"),
            Some(next) => {
                let in_force = self.report.load();
                let before = self.coming.as_ref().map_or(&**in_force, |coming| &coming.report);
                tell(&before.diagnostics, &next.diagnostics, &next.in_force.reading.sources);
                if let Some(changes) = changes(&self.in_force.objects, &next.in_force.objects) {
                    tracing::info!("configuration read again: {changes}");
                }
                let report = next.report(read);
                self.due = next.in_force.due();
                self.in_force = next.in_force;
                self.mesh = next.mesh;
                let (wanted, now_wanted) = (wanted(&next.snapshot), wanted(self.live.load().snapshot()));
                self.warming.begin(&wanted, &now_wanted, self.clock.now());
                self.want(either(&now_wanted, &wanted));
                let news = news || self.coming.as_ref().is_some_and(|coming| coming.news);
                self.coming = Some(PendingSnapshot { news, snapshot: Arc::new(next.snapshot), report });
            }
        }
        self.arrive(observer);
        self.go_on(observer);
    }

    /// Lets a configuration come into force that waits for nothing any more; whether there was one.
    fn arrive(&mut self, observer: &impl ConfigObserver) -> bool {
        if self.warming.due().is_some_and(|due| due > self.clock.now()) {
            return false;
        }
        let Some(PendingSnapshot { news, snapshot, report }) = self.coming.take() else { return false };
        for name in self.warming.unheard() {
            tracing::warn!(%name, "is not resolved yet; serving without its addresses");
        }
        self.warming = Warming::default();
        self.adopt(Some(snapshot));
        // Whoever is told that it is loaded finds it in force.
        tell_loaded(self.live.load().snapshot(), &report);
        if news {
            observer.reloaded(count(&report.diagnostics, Severity::Error) == 0);
        }
        self.report.store(Arc::new(report));
        true
    }

    /// Puts a configuration into force, or the one that is with other addresses.
    fn adopt(&mut self, snapshot: Option<Arc<Snapshot>>) {
        let before = self.live.load_full();
        let snapshot = snapshot.unwrap_or_else(|| before.shared_snapshot().clone());
        if self.coming.is_none() {
            self.want(wanted(&snapshot));
        }
        let now = self.clock.now();
        let next = background::run(|| Arc::new(Live::adopt(Some(&before), snapshot, &self.resolved, now)));
        self.live.store(next);
        self.retired.add(before, now);
    }

    /// Has these names asked for, and forgets the addresses of others.
    fn want(&mut self, names: Vec<Wanted>) {
        self.resolved.retain(|name, _| names.binary_search_by(|wanted| wanted.name.cmp(name)).is_ok());
        self.wanted.send_if_modified(|known| {
            let differs = *known != names;
            *known = names;
            differs
        });
    }

    /// When something has waited for long enough.
    fn due(&self) -> Option<Time> {
        let warm = self.coming.as_ref().and_then(|_| self.warming.due());
        warm.into_iter().chain(self.due).min()
    }

    /// Applies what has waited for long enough.
    fn wait_no_longer(&mut self, observer: &impl ConfigObserver) {
        self.arrive(observer);
        if self.due.is_some_and(|due| due <= self.clock.now()) {
            for object in &self.report.load().waiting {
                tracing::warn!(%object, "has waited for long enough: it is applied as it is written");
            }
            self.begin(self.in_force.reading.clone(), false);
        }
    }

    fn look_again(&self, observer: &impl ConfigObserver) {
        let mut report = ConfigReport::clone(&self.report.load());
        report.read = self.clock.wall();
        let errors = count(&report.diagnostics, Severity::Error);
        self.report.store(Arc::new(report));
        observer.reloaded(errors == 0);
        tracing::info!(errors, "configuration read again, nothing has changed");
    }
}

/// Whether a reading is news, when it was, and what came of it: nothing, if it panicked.
type Finished = (bool, SystemTime, Option<Candidate>);

/// Waits for the reading that is under way, if any.
async fn finished(under_way: &mut Option<RunningLoad>) -> Finished {
    let Some(RunningLoad { news, read, candidate }) = under_way else { return std::future::pending().await };
    let candidate = candidate.await.ok();
    let done = (*news, *read, candidate);
    *under_way = None;
    done
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
