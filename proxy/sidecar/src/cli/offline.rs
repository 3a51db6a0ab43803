//! A configuration as a proxy would have it that is not running: read, compiled, and without a network.

use std::path::PathBuf;

use leeboard_istio::compile::{Site, compile, provenance};
use leeboard_istio::diagnostic::Severity;
use leeboard_istio::resources::Resources;
use leeboard_istio::{Loaded, load_in, render};
use leeboard_policy::live::Live;
use leeboard_policy::time::Time;
use leeboard_sim::explain::{Explanation, Question, Setting, explain, stand_ins};

use crate::discovery::files::Files;

/// When everything is explained: at the beginning, when nothing has happened yet.
const NOW: Time = Time(0);

/// A configuration that nothing runs on.
pub(crate) struct Offline {
    resources: Resources,
    site: Site,
    /// Its clusters, all at rest.
    pub(crate) live: Live,
    /// Which addresses stand in for names.
    notes: Vec<String>,
}

impl Offline {
    /// Reads files and folders, and a file with settings of the mesh.
    ///
    /// # Errors
    /// All complaints as text for people, when a proxy would not start on it.
    pub(crate) fn open(paths: Vec<PathBuf>, mesh: Option<PathBuf>, site: Site) -> Result<Self, String> {
        let reading = Files::new(paths).with_mesh(mesh).read().unwrap_or_default();
        let Loaded { resources, mut diagnostics, .. } = load_in(&reading.sources, &site.workload.namespace);
        diagnostics.extend(reading.complaints);
        if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
            return Err(render(&diagnostics, &reading.sources, false));
        }
        let (snapshot, _) = compile(&resources, &site);
        let (resolved, notes) = stand_ins(&snapshot);
        let live = Live::adopt(None, snapshot.into(), &resolved, NOW);
        Ok(Self { resources, site, live, notes })
    }

    /// Explains a request, with the place of every setting.
    pub(crate) fn explain(&self, question: &Question) -> Explanation {
        let mut told = explain(&self.live, question, NOW);
        let snapshot = self.live.snapshot();
        let id = told.cluster.as_ref().and_then(|cluster| snapshot.cluster_named(&cluster.name));
        let blocks = id.map(|id| provenance(&self.resources, &self.site, snapshot.cluster(id))).unwrap_or_default();
        let setting = |p: leeboard_istio::compile::Provenance| Setting {
            block: p.block.to_owned(),
            part: p.part,
            origin: p.origin,
        };
        told.settings = blocks.into_iter().map(setting).collect();
        told.notes.clone_from(&self.notes);
        told
    }
}
