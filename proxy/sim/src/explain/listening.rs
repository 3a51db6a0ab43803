//! The one who listens: what the policy gives as reasons, written down.

use leeboard_policy::cluster::HashKey;
use leeboard_policy::dice::Share;
use leeboard_policy::live::Live;
use leeboard_policy::narrate::{Choice, Narrator, PortFrom, Reason};
use leeboard_policy::origin::Origin;
use leeboard_policy::route::{Destination, FaultScope};

use super::{Explanation, words};
use crate::Message;

/// How a request came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Came {
    /// `outbound`, or `inbound` and where that listener is.
    pub listener: String,
    /// The host that is looked up, in lower case and without port; empty for inbound requests.
    pub host: String,
    /// At which port.
    pub port: u16,
    /// Where the port is known from: `connection`, `authority`, `default`; empty for inbound requests.
    pub port_from: &'static str,
    /// Whether an unknown host is sent where it asks to be; `None` for a known one.
    pub passes: Option<bool>,
}

/// A host or rule that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// By which of its domains, for a host.
    pub by: String,
    /// Where it is written.
    pub origin: Origin,
}

/// A rule that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Its place in its host's list, from 1.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub origin: Origin,
    /// Where an entry is written that leads to it by `delegate`, where whoever asks knows it.
    pub root: Option<Origin>,
    /// The first part of it that does not hold, as Istio writes it; `None` takes the rule.
    pub part: Option<String>,
    /// What that part must be.
    pub wanted: String,
    /// What it is; `None` when the request has none.
    pub is: Option<String>,
    /// Where that part is written, where whoever asks knows it.
    pub at: Option<Origin>,
    /// What holds of the rule that is taken: which part, what it must be, what it is.
    pub holds: Vec<(String, String, Option<String>)>,
}

/// A page's call, and what the rule makes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginTold {
    /// Whose page it is; `None` when the request names none.
    pub origin: Option<String>,
    /// The method that a preflight request asks leave for.
    pub preflight: Option<String>,
    /// Whether the page may call.
    pub allowed: bool,
    /// Whether the proxy answers it.
    pub answered: bool,
}

/// Faults that are injected, and what was drawn for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Drawn {
    /// `delay` or `abort`.
    pub what: &'static str,
    /// How long, or with which status.
    pub value: String,
    /// How many requests meet it, in per cent.
    pub percent: f64,
    /// What was drawn, in per cent; it comes true below. `None` when each attempt draws for itself.
    pub drawn: Option<f64>,
    /// Whether it comes true for the whole request.
    pub comes: bool,
    /// Whether each attempt draws for itself.
    pub of_attempt: bool,
}

/// The destinations of a rule, and the one that was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The clusters by name, with their weights.
    pub among: Vec<(String, u32)>,
    /// Which of them.
    pub place: usize,
    /// How.
    pub by: ChosenBy,
}

/// How a destination was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChosenBy {
    /// There is no other.
    Only,
    /// By a draw from 0 below the sum of the weights.
    Draw(u64, u64),
    /// By who the caller is.
    Key(String),
}

/// A mirror, and what was drawn for it.
#[derive(Clone, PartialEq, Debug)]
pub struct MirrorTold {
    /// The cluster.
    pub cluster: String,
    /// How many requests are copied, in per cent.
    pub percent: f64,
    /// What was drawn, in per cent; a copy is made below.
    pub drawn: f64,
    /// Whether a copy is made.
    pub copied: bool,
}

/// What has been told so far.
pub(super) struct Told<'a> {
    live: &'a Live,
    head: &'a Message,
    said: Explanation,
}

impl<'a> Told<'a> {
    pub(super) fn new(live: &'a Live, head: &'a Message) -> Self {
        Self { live, head, said: Explanation::default() }
    }

    pub(super) fn into_explanation(self) -> Explanation {
        self.said
    }

    fn destination(&mut self, place: usize, among: &[Destination], by: Choice<'_>) {
        let snapshot = self.live.snapshot();
        let of = |destination: &Destination| (words::target(&destination.cluster, snapshot), destination.weight);
        let by = match by {
            Choice::Only => ChosenBy::Only,
            Choice::Draw { point, total } => ChosenBy::Draw(point, total),
            Choice::Key(key) => ChosenBy::Key(words::hash_key(key)),
        };
        self.said.chosen = Some(Chosen { among: among.iter().map(of).collect(), place, by });
    }

    fn hash(&mut self, key: &HashKey, hash: Option<u64>) {
        self.said.hash = Some((words::hash_key(key), hash));
    }
}

impl Narrator for Told<'_> {
    fn hear(&mut self, reason: Reason<'_>) {
        let said = &mut self.said;
        match reason {
            Reason::Inbound(inbound) => said.came.listener = format!("inbound {}", inbound.listen),
            Reason::Outbound { host, port, from } => {
                let port_from = match from {
                    PortFrom::Connection => "connection",
                    PortFrom::Authority => "authority",
                    PortFrom::Default => "default",
                };
                said.came = Came { listener: "outbound".into(), host: host.into(), port, port_from, passes: None };
            }
            Reason::Host { host, domain } => {
                let (name, by) = (host.name.to_string(), domain.to_owned());
                said.host = Some(Found { name, by, origin: host.origin.clone() });
            }
            Reason::UnknownHost { passes } => said.came.passes = Some(passes),
            Reason::Rule { place, route, mismatch } => {
                let missed = mismatch.map(|mismatch| words::mismatch(mismatch, self.head));
                let (part, wanted, is) =
                    missed.map_or_else(Default::default, |(part, wanted, is)| (Some(part), wanted, is));
                let (name, origin) = (route.name.to_string(), route.origin.clone());
                let holds = match part {
                    None => words::held(&route.when, self.head),
                    Some(_) => Vec::new(),
                };
                said.tried.push(Tried {
                    place: place + 1,
                    name,
                    origin,
                    root: None,
                    part,
                    wanted,
                    is,
                    at: None,
                    holds,
                });
            }
            Reason::Fault { fault, share, drawn, scope } => {
                let (what, value) = words::injected_fault(fault);
                let comes = drawn.is_some_and(|drawn| drawn < share || share >= Share::ALL);
                let (percent, drawn) = (words::percent(share), drawn.map(words::percent));
                let of_attempt = scope == FaultScope::Attempt;
                said.faults.push(Drawn { what, value, percent, drawn, comes, of_attempt });
            }
            Reason::Origin { origin, preflight, allowed, answered } => {
                let (origin, preflight) = (origin.map(crate::text), preflight.map(crate::text));
                said.origin = Some(OriginTold { origin, preflight, allowed, answered });
            }
            Reason::Destination { place, among, by } => self.destination(place, among, by),
            Reason::Timeout { allowed, .. } => said.timeout = allowed,
            Reason::Hash { key, hash, .. } => self.hash(key, hash),
            Reason::Mirror { mirror, drawn, copied } => {
                let cluster = words::target(&mirror.cluster, self.live.snapshot());
                let (percent, drawn) = (words::percent(mirror.share), words::percent(drawn));
                said.mirrors.push(MirrorTold { cluster, percent, drawn, copied });
            }
        }
    }
}
