//! Names to addresses: kept fresh for the configuration's own names, and asked for on demand for the caller's.
//!
//! Envoy: STRICT_DNS with `respect_dns_ttl`. An answer without addresses empties the set; a failure keeps the old one and
//! is repeated with growing pauses. Better than Envoy: inside a cluster no answer is believed for long, and an address that
//! cannot be connected to has its names asked for again at once.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use leeboard_policy::time::{Span, Time};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::store::Update;

/// No answer is asked for again sooner, whatever its TTL.
const SHORTEST: Span = Span::from_secs(1);
/// No answer is kept for longer, whatever its TTL.
const LONGEST: Span = Span::from_secs(300);
/// The same for names inside a cluster, where addresses come and go with pods: kubeadm's DNS gives half a minute, and docker's
/// ten. It is the TTL that CoreDNS gives by itself.
const LONGEST_INSIDE: Span = Span::from_secs(5);
/// The pause between two questions about a name whose addresses are doubted. While the answers bring nothing new it doubles, up
/// to [`SHORTEST`].
const FIRST_AGAIN: Span = Span::from_millis(125);
/// All who are refused by an address at the same moment do not ask at the same moment, but within this time.
const JITTER: Span = Span::from_millis(100);
/// How long an answer from the hosts file is kept, so that an edit of the file is noticed.
const HOSTS_TTL: Span = Span::from_secs(10);
/// How long an answer without addresses is kept, when it does not say.
const EMPTY_TTL: Span = Span::from_secs(5);
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Span = Span::from_millis(500);
/// The longest pause between failures. Istio: `dnsRefreshRate`.
const LONGEST_PAUSE: Span = Span::from_secs(60);
/// The most names of callers that are remembered, and the most that are being asked for at once.
const MOST_REMEMBERED: usize = 1024;
const MOST_ASKED: usize = 128;

/// The addresses of a name, and how long they may be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// In the order that the server gave them; none when the name has none.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long they may be believed, within our own bounds.
    pub(crate) ttl: Span,
}

/// Asks the hosts file and then DNS.
#[derive(Clone)]
pub(crate) struct Resolver {
    dns: TokioResolver,
    max_ttl: Option<Span>,
}

impl Resolver {
    /// Asks the given server, or else those of `/etc/resolv.conf`. No answer is believed for longer than `max_ttl`; without
    /// it, for a few seconds inside a cluster and for some minutes outside.
    ///
    /// # Errors
    /// When no resolver can be made of it.
    pub(crate) fn new(server: Option<SocketAddr>, max_ttl: Option<Span>) -> Result<Self, String> {
        let (config, mut options) = match server {
            Some(server) => (only(server), ResolverOpts::default()),
            None => system_conf::read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(%error, "/etc/resolv.conf cannot be read: only the hosts file is");
                (ResolverConfig::default(), ResolverOpts::default())
            }),
        };
        // Answers are remembered here, by their TTL, and the hosts file is read here, so that edits of it are seen.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        if server.is_some() {
            options.timeout = Duration::from_secs(2);
        }
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let dns = builder.with_options(options).build().map_err(|error| error.to_string())?;
        Ok(Self { dns, max_ttl })
    }

    /// The addresses of a name: IPv4 when there are any, else IPv6. Envoy: `V4_PREFERRED`.
    ///
    /// # Errors
    /// When no server has given an answer.
    pub(crate) async fn ask(&self, name: &str) -> Result<Answer, String> {
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return Ok(Answer { addresses: vec![address], ttl: LONGEST });
        }
        let parsed: Name = name.parse().map_err(|_| format!("'{name}' is not a name"))?;
        if let Some(addresses) = in_hosts_file(&parsed) {
            return Ok(Answer { addresses, ttl: HOSTS_TTL });
        }
        let mut answer = self.ask_for(&parsed, RecordType::A).await?;
        if answer.addresses.is_empty() {
            answer = self.ask_for(&parsed, RecordType::AAAA).await?;
        }
        answer.ttl = answer.ttl.clamp(SHORTEST, self.longest(name));
        Ok(answer)
    }

    /// How long an answer about a name is believed at most.
    fn longest(&self, name: &str) -> Span {
        let usual = if is_inside(name) { LONGEST_INSIDE } else { LONGEST };
        self.max_ttl.unwrap_or(usual).max(SHORTEST)
    }

    async fn ask_for(&self, name: &Name, kind: RecordType) -> Result<Answer, String> {
        match self.dns.lookup(name.clone(), kind).await {
            Ok(lookup) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                Ok(Answer { addresses, ttl: Span::from_secs(ttl.into()) })
            }
            Err(error) => match empty(&error) {
                Some(ttl) => Ok(Answer { addresses: Vec::new(), ttl }),
                None => Err(error.to_string()),
            },
        }
    }
}

/// How long to believe that a name has no addresses, when that is what the server said. Envoy: `ENODATA` and `ENOTFOUND`
/// are answers; anything else is a failure.
fn empty(error: &NetError) -> Option<Span> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else { return None };
    let known = matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    known.then(|| none.negative_ttl.map_or(EMPTY_TTL, |ttl| Span::from_secs(ttl.into())))
}

/// Whether a name is a Service's, or one that only a search list completes.
fn is_inside(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.contains('.') || name.split('.').any(|label| label.eq_ignore_ascii_case("svc"))
}

fn only(server: SocketAddr) -> ResolverConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    ResolverConfig::from_name_servers(vec![config])
}

fn in_hosts_file(name: &Name) -> Option<Vec<IpAddr>> {
    let hosts = Hosts::from_system().ok()?;
    let of = |kind| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), kind))?;
        let addresses: Vec<_> = found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        Some(addresses).filter(|addresses| !addresses.is_empty())
    };
    of(RecordType::A).or_else(|| of(RecordType::AAAA))
}

/// A name that the configuration needs addresses of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Wanted {
    /// The name.
    pub(crate) name: Arc<str>,
    /// Whether the first address is not like the others, so that their order is news. Envoy: LOGICAL_DNS.
    pub(crate) ordered: bool,
}

/// When a name is asked for again, and what is known of it.
#[derive(Debug)]
struct Kept {
    ordered: bool,
    due: Time,
    /// When it was last asked for.
    asked: Option<Time>,
    asking: bool,
    heard: bool,
    failures: u32,
    told: Option<Vec<IpAddr>>,
    /// When one of its addresses was doubted that no answer has named since.
    doubted: Option<Time>,
    /// How many answers in a row about what was doubted have brought nothing new.
    vain: u32,
}

impl Kept {
    fn new(ordered: bool, now: Time) -> Self {
        Self {
            ordered,
            due: now,
            asked: None,
            asking: false,
            heard: false,
            failures: 0,
            told: None,
            doubted: None,
            vain: 0,
        }
    }

    /// Asks sooner than planned, but not all at once with others, and not again and again.
    fn hurry(&mut self, now: Time, jitter: Span) {
        let pause = FIRST_AGAIN.times(1 << self.vain.min(16)).min(SHORTEST);
        let soonest = self.asked.map_or(now, |asked| asked + pause);
        self.due = self.due.min((now + jitter).max(soonest));
    }
}

/// Keeps the names that the configuration asks for resolved, and tells the store when their addresses change, or when an
/// answer names again what was `doubted`.
///
/// `wanted` is the set of names, changed by the store with each snapshot. Once every name of the first set has been answered,
/// or has failed, the store is told that too.
pub(crate) async fn keep_fresh(
    resolver: Resolver,
    clock: Clock,
    mut wanted: watch::Receiver<Vec<Wanted>>,
    mut doubted: mpsc::Receiver<IpAddr>,
    updates: mpsc::Sender<Update>,
) {
    let luck = RandomState::new();
    let mut names: BTreeMap<Arc<str>, Kept> = BTreeMap::new();
    let mut asked = JoinSet::new();
    want(&mut names, &wanted.borrow_and_update(), clock.now());
    let mut settled = false;
    loop {
        if !settled && names.values().all(|kept| kept.heard) {
            settled = true;
            if updates.send(Update::Settled).await.is_err() {
                return;
            }
        }
        ask_due(&mut names, &mut asked, &resolver, clock.now());
        let next = names.values().filter(|kept| !kept.asking).map(|kept| kept.due).min();
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                want(&mut names, &wanted.borrow_and_update(), clock.now());
            }
            Some(Ok((name, answer))) = asked.join_next(), if !asked.is_empty() => {
                let Some(update) = hear(&mut names, &name, answer, clock.now()) else { continue };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            Some(address) = doubted.recv() => {
                let now = clock.now();
                let jitter = Span(luck.hash_one(now.0) % JITTER.0);
                for update in doubt(&mut names, address, now, jitter) {
                    if updates.send(update).await.is_err() {
                        return;
                    }
                }
            }
            () = clock.until(next.unwrap_or(Time(u64::MAX))), if asked.len() < MOST_ASKED => {}
        }
    }
}

/// Takes up new names and drops those that nobody wants any more.
fn want(names: &mut BTreeMap<Arc<str>, Kept>, wanted: &[Wanted], now: Time) {
    let mut known = std::mem::take(names);
    for Wanted { name, ordered } in wanted {
        let new = || Kept::new(*ordered, now);
        let kept = known.remove(name).filter(|kept| kept.ordered == *ordered);
        names.insert(name.clone(), kept.unwrap_or_else(new));
    }
}

/// Has the names of an address asked for again. Where the first address is not like the others, the doubted one is put last.
fn doubt(names: &mut BTreeMap<Arc<str>, Kept>, address: IpAddr, now: Time, jitter: Span) -> Vec<Update> {
    let mut news = Vec::new();
    for (name, kept) in names.iter_mut() {
        let Some(told) = &mut kept.told else { continue };
        let Some(place) = told.iter().position(|known| *known == address) else { continue };
        if kept.ordered && place == 0 && told.len() > 1 {
            told.rotate_left(1);
            let asked = kept.asked.unwrap_or(Time(0));
            news.push(Update::Resolved { name: name.clone(), addresses: told.clone(), asked });
        }
        kept.doubted = Some(now);
        if !kept.asking {
            kept.hurry(now, jitter);
        }
    }
    news
}

type Asked = JoinSet<(Arc<str>, Result<Answer, String>)>;

fn ask_due(names: &mut BTreeMap<Arc<str>, Kept>, asked: &mut Asked, resolver: &Resolver, now: Time) {
    for (name, kept) in names.iter_mut().filter(|(_, kept)| !kept.asking && kept.due <= now) {
        if asked.len() >= MOST_ASKED {
            return;
        }
        kept.asking = true;
        kept.asked = Some(now);
        let (name, resolver) = (name.clone(), resolver.clone());
        asked.spawn(async move {
            let answer = resolver.ask(&name).await;
            (name, answer)
        });
    }
}

/// Notes an answer; what of it is news.
fn hear(
    names: &mut BTreeMap<Arc<str>, Kept>,
    name: &Arc<str>,
    answer: Result<Answer, String>,
    now: Time,
) -> Option<Update> {
    let kept = names.get_mut(name)?;
    kept.asking = false;
    let first = !std::mem::replace(&mut kept.heard, true);
    match answer {
        Ok(mut answer) => {
            if !kept.ordered {
                answer.addresses.sort();
            }
            if kept.failures > 0 {
                tracing::info!(%name, "resolved again");
            }
            kept.failures = 0;
            kept.due = now + answer.ttl;
            let asked = kept.asked.unwrap_or(now);
            let mut news = kept.told.as_ref() != Some(&answer.addresses);
            kept.vain = if kept.doubted.is_some() && !news { kept.vain.saturating_add(1) } else { 0 };
            kept.told = Some(answer.addresses.clone());
            match kept.doubted {
                // The question was on its way already.
                Some(doubted) if doubted > asked => kept.hurry(now, Span(0)),
                Some(_) => {
                    kept.doubted = None;
                    news = true;
                }
                None => {}
            }
            news.then(|| Update::Resolved { name: name.clone(), addresses: answer.addresses, asked })
        }
        Err(error) => {
            let pause = FIRST_PAUSE.times(1 << kept.failures.min(16)).min(LONGEST_PAUSE);
            if kept.failures == 0 {
                tracing::warn!(%name, %error, "cannot be resolved; what was known of it stays");
            }
            kept.failures = kept.failures.saturating_add(1);
            kept.due = now + pause;
            first.then(|| Update::Unresolved { name: name.clone() })
        }
    }
}

/// The addresses of names that callers ask for and no configuration knows.
///
/// Workers ask; the answers come from a task on the background runtime, so that no worker ever runs a resolver.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    clock: Clock,
    known: Arc<Mutex<BTreeMap<Arc<str>, Remembered>>>,
    questions: mpsc::Sender<Question>,
}

/// Addresses, and until when they may be believed.
type Remembered = (Time, Arc<[IpAddr]>);

/// A name, and where its addresses are waited for.
pub(crate) type Question = (Arc<str>, oneshot::Sender<Result<Arc<[IpAddr]>, String>>);

impl Names {
    /// The place to ask, and what [`answer`] answers from.
    pub(crate) fn new(clock: Clock) -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(MOST_ASKED);
        (Self { clock, known: Arc::default(), questions }, asked)
    }

    /// The addresses of a name; none when it has none.
    ///
    /// # Errors
    /// When no server answers, or too many names are being asked for already.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, String> {
        if let Some((until, addresses)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && *until > self.clock.now()
        {
            return Ok(addresses.clone());
        }
        let (reply, answer) = oneshot::channel();
        self.questions.try_send((name.into(), reply)).map_err(|_| "too many names are being resolved".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the resolver has ended".to_owned()))
    }

    /// An address could not be connected to: it goes behind the others of its names, which are asked for again soon.
    pub(super) fn doubt(&self, address: IpAddr) {
        let soon = self.clock.now() + SHORTEST;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (until, addresses) in known.values_mut() {
            let Some(place) = addresses.iter().position(|known| *known == address) else { continue };
            *until = (*until).min(soon);
            if place + 1 < addresses.len() {
                let mut others: Vec<IpAddr> = addresses.to_vec();
                others[place..].rotate_left(1);
                *addresses = others.into();
            }
        }
    }

    fn remember(&self, name: &Arc<str>, answer: &Answer) -> Arc<[IpAddr]> {
        let addresses: Arc<[IpAddr]> = answer.addresses.as_slice().into();
        let now = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() < MOST_REMEMBERED {
            known.insert(name.clone(), (now + answer.ttl, addresses.clone()));
        }
        addresses
    }
}

/// Answers what workers ask. A name that is being asked for already is not asked for twice.
pub(crate) async fn answer(names: Names, resolver: Resolver, mut questions: mpsc::Receiver<Question>) {
    let mut waiting: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
    let mut asked: Asked = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv(), if asked.len() < MOST_ASKED => {
                let Some((name, reply)) = question else { return };
                let others = waiting.entry(name.clone()).or_default();
                others.push(reply);
                if others.len() == 1 {
                    let resolver = resolver.clone();
                    asked.spawn(async move {
                        let answer = resolver.ask(&name).await;
                        (name, answer)
                    });
                }
            }
            Some(Ok((name, answer))) = asked.join_next(), if !asked.is_empty() => {
                let answer = answer.map(|answer| names.remember(&name, &answer));
                for reply in waiting.remove(&name).into_iter().flatten() {
                    // The worker that asked may have given up.
                    let _ = reply.send(answer.clone());
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
