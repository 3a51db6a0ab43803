//! Objects of kinds that are not read: what is not done that they ask for, and what they tell of workloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::counted::counted;

use super::kubernetes::PROXY_USER;
use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resources::Labels;
use crate::source::Spot;
use crate::yaml::{Mark, Node, Value};

/// An object that is not read, as far as others can be held against it.
#[derive(Clone, Debug)]
pub(crate) struct UnreadObject {
    /// Its namespace.
    pub(crate) namespace: Arc<str>,
    /// `Deployment demo/web`.
    pub(crate) resource: Arc<str>,
    /// `galley.istio.io/analyze-suppress`.
    pub(crate) suppressed: Option<Arc<str>>,
    /// The labels of the pods that it makes.
    pub(crate) pods: Option<Labels>,
    /// Where it says that an application runs as the proxy's user.
    pub(crate) proxy_user: Vec<Spot>,
    /// The labels of the workloads that it is for, and where each key is written.
    pub(crate) selector: Vec<(Arc<str>, Arc<str>, Spot)>,
}

/// What is passed over without a word of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassedOver {
    /// How many there are of each kind.
    counts: BTreeMap<String, usize>,
    /// What there is to say if there is only one.
    only: Option<Diagnostic>,
}

impl PassedOver {
    pub(super) fn add(&mut self, kind: &str, told: Diagnostic) {
        *self.counts.entry(kind.to_owned()).or_default() += 1;
        self.only.get_or_insert(told);
    }

    /// Those of files before, and these.
    pub(super) fn and(mut self, behind: Self) -> Self {
        for (kind, count) in behind.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.only = self.only.or(behind.only);
        self
    }

    /// One complaint about all of them.
    pub(crate) fn summary(self) -> Option<Diagnostic> {
        let count: usize = self.counts.values().sum();
        let only = self.only?;
        if count == 1 {
            return Some(only);
        }
        let kinds: Vec<String> = self.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let message =
            format!("{} of kinds that are not read are passed over: {}", counted(count, "object"), kinds.join(", "));
        let spot = Spot::file(&only.primary.file);
        Some(Diagnostic::new(Severity::Info, codes::PASSED_OVER, &"".into(), &spot, message))
    }
}

/// What an object that is not read asks for and does not get, if that may matter to somebody. `group` is its API group.
pub(super) fn undone(node: &Node, group: &str, kind: &str) -> Option<(Code, String)> {
    let spec = node.get("spec");
    let word = |path: &[&str]| path.iter().try_fold(spec?, |node, key| node.get(key)).and_then(Node::raw);
    let unprotected = |what: &str| Some((codes::UNPROTECTED, format!("this {kind} is not enforced: {what}")));
    let unapplied = |what: &str| Some((codes::NOT_APPLIED, format!("this {kind} is not applied: {what}")));
    match (group, kind) {
        ("security.istio.io", "AuthorizationPolicy") => match word(&["action"]) {
            Some("AUDIT") => unapplied("no audit is written"),
            Some("CUSTOM") => unprotected("requests are served without asking its provider"),
            _ => unprotected("requests that this policy denies are served"),
        },
        ("security.istio.io", "PeerAuthentication") => match is_strict(spec) {
            true => unprotected("connections without mutual TLS are served"),
            false => unapplied("the mode of mutual TLS is not looked at"),
        },
        ("security.istio.io", "RequestAuthentication") => {
            unprotected("requests with forged or expired tokens are served")
        }
        ("rbac.istio.io", _) => unprotected("requests that it denies are served"),
        ("networking.istio.io", "EnvoyFilter") => unapplied("none of its patches is in force"),
        ("networking.istio.io", "ProxyConfig") => unapplied("its settings are the command line's here"),
        ("extensions.istio.io", "WasmPlugin") => unapplied("its module does not run"),
        ("telemetry.istio.io", "Telemetry") => unapplied("logs, metrics and traces are as the command line says"),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute") => {
            unapplied("nothing is routed by it; write a VirtualService")
        }
        ("gateway.networking.k8s.io", "BackendTLSPolicy") => unprotected("connections to its target are plain text"),
        ("gateway.networking.k8s.io", "Gateway" | "ListenerSet" | "XListenerSet") => {
            unapplied("nothing listens for it, for this proxy is a sidecar")
        }
        _ => None,
    }
}

/// Whether mutual TLS is demanded, of all ports or of one.
fn is_strict(spec: Option<&Node>) -> bool {
    let mode = |node: &Node| node.get("mode").and_then(Node::raw) == Some("STRICT");
    let ports = spec.and_then(|spec| spec.get("portLevelMtls")?.entries()).unwrap_or_default();
    spec.and_then(|spec| spec.get("mtls")).is_some_and(mode) || ports.iter().any(|(_, port)| mode(port))
}

/// What an object tells of workloads. `spot` makes a place of a mark.
pub(super) fn of(node: &Node, resource: Arc<str>, namespace: &str, spot: impl Fn(Mark) -> Spot) -> UnreadObject {
    let metadata = node.get("metadata");
    let suppressed = metadata.and_then(|metadata| metadata.get("annotations")?.get("galley.istio.io/analyze-suppress"));
    let spec = node.get("spec");
    let template = spec.and_then(|spec| {
        let job = spec.get("jobTemplate").and_then(|job| job.get("spec"));
        job.unwrap_or(spec).get("template")
    });
    let pod = template.and_then(|template| template.get("spec")).filter(|pod| pod.get("containers").is_some());
    let labels = template.and_then(|template| template.get("metadata")?.get("labels")).filter(|_| pod.is_some());
    // Other groups select other things, such as Services.
    let is_istio = node.get("apiVersion").and_then(Node::raw).is_some_and(|version| version.contains("istio.io/"));
    let selector = spec.filter(|_| is_istio).and_then(|spec| {
        let selector = spec.get("selector").and_then(|selector| selector.get("matchLabels"));
        selector.or_else(|| spec.get("workloadSelector")?.get("labels"))
    });
    let text = |node: &Node| node.raw().map(Arc::from);
    let pairs = |labels: &Node| {
        let entries = labels.entries().unwrap_or_default().iter();
        entries.filter_map(|(key, node)| Some((Arc::from(&*key.text), text(node)?, spot(key.mark)))).collect::<Vec<_>>()
    };
    UnreadObject {
        namespace: namespace.into(),
        resource,
        suppressed: suppressed.and_then(text),
        pods: labels.map(|labels| pairs(labels).into_iter().map(|(key, value, _)| (key, value)).collect()),
        proxy_user: pod.map(|pod| proxy_users(pod).map(&spot).collect()).unwrap_or_default(),
        selector: selector.map(pairs).unwrap_or_default(),
    }
}

/// Where a pod or a container of it says that it runs as the proxy's user.
fn proxy_users(pod: &Node) -> impl Iterator<Item = Mark> {
    let user = |node: &Node| {
        let user = node.get("securityContext")?.get("runAsUser")?;
        (user.raw() == Some(PROXY_USER)).then_some(user.mark)
    };
    let containers = ["containers", "initContainers"].into_iter().filter_map(|list| match &pod.get(list)?.value {
        Value::Seq(items) => Some(items),
        Value::Scalar { .. } | Value::Map(_) => None,
    });
    let is_proxy = |node: &&Node| matches!(node.get("name").and_then(Node::raw), Some("istio-proxy" | "leeboard"));
    let containers = containers.flatten().filter(move |node| !is_proxy(node));
    user(pod).into_iter().chain(containers.filter_map(user).collect::<Vec<_>>())
}
