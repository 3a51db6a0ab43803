//! Tests of the compiler, through the text that people write.

mod delegates;
mod endpoints;
mod gateways;
mod hosts;
mod inbound;
mod locality;
mod mesh;
mod owners;
mod policies;
mod references;
mod sidecars;
mod transports;
mod written;

mod resolution;
mod rules;

use std::sync::Arc;

use leeboard_policy::cluster::{Cluster, Discovery, Workload};
use leeboard_policy::route::{Action, Forward, Match, Route, Target};
use leeboard_policy::snapshot::{Snapshot, VirtualHost};

use super::{Site, compile};
use crate::diagnostic::Diagnostic;
use crate::load;
use crate::source::Source;

/// A compiled configuration.
struct World {
    snapshot: Snapshot,
    diagnostics: Vec<Diagnostic>,
}

/// An Istio object: `name` or `name.namespace` (default `demo`), with a spec in YAML's flow style.
fn object(kind: &str, name: &str, spec: &str) -> String {
    let (name, namespace) = name.split_once('.').unwrap_or((name, "demo"));
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

/// As [`object`], with a creation time: day `day` of a month.
fn object_of_day(day: u32, kind: &str, name: &str, spec: &str) -> String {
    object(kind, name, spec)
        .replace("}\nspec:", &format!(", creationTimestamp: \"2026-01-{day:02}T00:00:00Z\"}}\nspec:"))
}

/// A core Kubernetes object without `spec`: the rest is in block style.
fn core(kind: &str, name: &str, rest: &str) -> String {
    let (name, namespace) = name.split_once('.').unwrap_or((name, "demo"));
    format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n{rest}\n---\n")
}

/// A Kubernetes Service of one HTTP port.
fn service(name: &str, port: u16) -> String {
    core("Service", name, &format!("spec: {{clusterIP: 10.0.0.1, ports: [{{name: http, port: {port}}}]}}"))
}

/// A workload of namespace `demo` that is called `order`.
fn site() -> Site {
    let labels = [("app", "order"), ("version", "v1")].map(|(k, v)| (Arc::from(k), Arc::from(v)));
    let workload =
        Workload { name: "order".into(), namespace: "demo".into(), labels: labels.into(), ..Workload::default() };
    Site { workload, ..Site::default() }
}

fn site_in(namespace: &str) -> Site {
    let mut site = site();
    site.workload.namespace = namespace.into();
    site
}

/// Compiles text that has no mistakes for the workload in `demo`.
fn world(text: &str) -> World {
    world_at(text, &site())
}

/// Compiles text that has no mistakes.
fn world_at(text: &str, site: &Site) -> World {
    let loaded = load(&[Source::new("test.yaml", text)]);
    assert_eq!(loaded.errors(), 0, "{:#?}", loaded.diagnostics);
    let (snapshot, diagnostics) = compile(&loaded.resources, site);
    World { snapshot, diagnostics }
}

impl World {
    /// The virtual host that a name leads to.
    fn host(&self, name: &str, port: u16) -> Option<&VirtualHost> {
        self.snapshot.host(port, name)
    }

    /// The rules of a name: each as [`brief`].
    fn routes(&self, name: &str, port: u16) -> Vec<String> {
        self.host(name, port).map_or_else(Vec::new, |host| host.routes.iter().map(|route| self.brief(route)).collect())
    }

    /// The first rule of a name.
    fn first(&self, name: &str, port: u16) -> &Route {
        &self.host(name, port).expect("the host is routed").routes[0]
    }

    /// What the first rule of a name forwards.
    fn forward(&self, name: &str, port: u16) -> &Forward {
        match &self.first(name, port).action {
            Action::Forward(forward) => forward,
            other => panic!("{other:?} is no forward"),
        }
    }

    fn when(&self, name: &str, port: u16) -> &Match {
        &self.first(name, port).when
    }

    fn cluster(&self, name: &str) -> &Cluster {
        self.snapshot.cluster(self.snapshot.cluster_named(name).expect("there is such a cluster"))
    }

    /// A rule's name and destinations, as `name -> cluster*weight`; a cluster that does not exist has `!` before it.
    fn brief(&self, route: &Route) -> String {
        let to = match &route.action {
            Action::Forward(forward) => {
                let all = forward.destinations.iter();
                all.map(|to| format!("{}*{}", self.target(&to.cluster), to.weight)).collect::<Vec<_>>().join(" ")
            }
            Action::Redirect(redirect) => format!("redirect {}", redirect.status),
            Action::Direct(direct) => format!("direct {}", direct.status),
        };
        format!("{} -> {to}", route.name)
    }

    fn target(&self, target: &Target) -> String {
        match target {
            Target::Cluster(id) => self.snapshot.cluster(*id).name.to_string(),
            Target::Unknown(name) => format!("!{name}"),
        }
    }

    /// The endpoints of a cluster, as addresses, or names and ports.
    fn endpoints(&self, cluster: &str) -> Vec<String> {
        match &self.cluster(cluster).discovery {
            Discovery::Static(all) => all.iter().map(|spec| spec.address.to_string()).collect(),
            Discovery::Dns(all) => all.iter().map(|spec| format!("dns {}:{}", spec.name, spec.port)).collect(),
            Discovery::DnsFirst(spec) => vec![format!("first {}:{}", spec.name, spec.port)],
            Discovery::Original => vec!["original".into()],
        }
    }

    /// Complaints, as `severity code line message`.
    fn complaints(&self) -> Vec<String> {
        let told = self.diagnostics.iter();
        told.map(|d| format!("{} {} {}: {}", d.severity.name(), d.code, d.primary.line, d.message)).collect()
    }
}
