//! A configuration that is read and compiled as a proxy would do it, without a proxy and without a network.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use leeboard_istio::compile::{Site, compile};
use leeboard_istio::diagnostic::Severity;
use leeboard_istio::resources::{Kind, ObjectId, Resources};
use leeboard_istio::source::Source;
use leeboard_istio::{Loaded, load_in, render};
use leeboard_policy::cluster::{Address, Discovery, EndpointSpec};
use leeboard_policy::live::Live;
use leeboard_policy::snapshot::{Draft, Snapshot};
use leeboard_policy::time::Time;
use leeboard_sim::explain::{Explanation, Question, explain, stand_ins};

use crate::config::files::Files;
use crate::explain::sources::ConfigSources;

/// When everything is explained: at the beginning, when nothing has happened yet.
const NOW: Time = Time(0);

/// What becomes of clusters that have no endpoint in the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Endpoints {
    /// They have none.
    AsWritten,
    /// They have one, since in the cluster there may be some: it is the routes that count.
    StandIn,
}

/// What stands for endpoints of which none is known; of the block that RFC 2544 sets aside, beyond the addresses of names.
const STAND_IN: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 254);

/// A configuration that nothing runs on.
pub(crate) struct Offline {
    sources: Vec<Source>,
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
    pub(crate) fn open(
        paths: Vec<PathBuf>,
        mesh: Option<PathBuf>,
        site: Site,
        endpoints: Endpoints,
    ) -> Result<Self, String> {
        let reading = Files::new(paths).with_mesh(mesh).with_pipes().read().unwrap_or_default();
        let Loaded { resources, mut diagnostics, rejected, .. } = load_in(&reading.sources, &site.workload.namespace);
        let unread = !reading.complaints.is_empty();
        diagnostics.extend(reading.complaints);
        let broken = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let of_mesh = |id: &ObjectId| id.kind == Kind::MeshConfig;
        // What is asked for one answer takes the rest, as a start does; what is to be held to its tests does not.
        let is_left_out =
            endpoints == Endpoints::AsWritten && !unread && !rejected.is_empty() && !rejected.iter().any(of_mesh);
        let none = resources.is_empty();
        if broken && (!is_left_out || none) {
            diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
            return Err(render(&diagnostics, &reading.sources, false));
        }
        let (snapshot, _) = compile(&resources, &site);
        let snapshot = match endpoints {
            Endpoints::AsWritten => snapshot,
            Endpoints::StandIn => peopled(snapshot),
        };
        let (resolved, mut notes) = stand_ins(&snapshot);
        notes.extend(rejected.iter().map(|id| format!("{id} is broken and left out: `leeboard check` says why")));
        if endpoints == Endpoints::StandIn {
            notes.push(format!("{STAND_IN} stands for endpoints of which none is known here"));
        }
        let live = Live::adopt(None, snapshot.into(), &resolved, NOW);
        Ok(Self { sources: reading.sources, resources, site, live, notes })
    }

    /// Explains a request, with the place of every condition and setting.
    pub(crate) fn explain(&self, question: &Question) -> Explanation {
        let mut told = explain(&self.live, question, NOW);
        let texts = ConfigSources { resources: &self.resources, site: &self.site, sources: &self.sources };
        texts.complete(&mut told, self.live.snapshot());
        told.notes.clone_from(&self.notes);
        told
    }
}

/// Gives an endpoint to every cluster that has none.
fn peopled(snapshot: Snapshot) -> Snapshot {
    let mut draft = Draft::from(snapshot);
    for cluster in &mut draft.clusters {
        if let Discovery::Static(endpoints) = &mut cluster.discovery
            && endpoints.is_empty()
        {
            let address = Address::Socket((STAND_IN, cluster.service.port).into());
            endpoints.push(EndpointSpec { address, weight: 1, workload: Arc::default() });
        }
    }
    Snapshot::new(draft)
}
