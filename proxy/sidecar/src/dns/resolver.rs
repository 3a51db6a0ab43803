//! Resolves a name by the hosts file and DNS, and says for how long the answer may be used.
//!
//! Better than Envoy: an answer about a name inside the cluster is used for a few seconds at most.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use leeboard_policy::time::Span;
use tokio::task::JoinSet;

/// No answer is asked for again sooner, whatever its TTL.
pub(crate) const SHORTEST: Span = Span::from_secs(1);
/// No answer is kept for longer, whatever its TTL.
const LONGEST: Span = Span::from_secs(300);
/// The same for names inside a cluster, where addresses come and go with pods: kubeadm's DNS gives half a minute, and docker's
/// ten. It is the TTL that CoreDNS gives by itself.
const LONGEST_INSIDE: Span = Span::from_secs(5);
/// How long an answer from the hosts file is kept, so that an edit of the file is noticed.
const HOSTS_TTL: Span = Span::from_secs(10);
/// How long an answer without addresses is kept, when it does not say.
const EMPTY_TTL: Span = Span::from_secs(5);
/// The most names that are being asked for at once.
pub(crate) const MOST_ASKED: usize = 128;

/// The addresses of a name, and how long they may be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DnsAnswer {
    /// In the order that the server gave them; none when the name has none.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long they may be believed, within our own bounds.
    pub(crate) ttl: Span,
}

/// Names that are being asked for.
pub(crate) type PendingLookups = JoinSet<(Arc<str>, Result<DnsAnswer, String>)>;

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
    pub(crate) async fn ask(&self, name: &str) -> Result<DnsAnswer, String> {
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return Ok(DnsAnswer { addresses: vec![address], ttl: LONGEST });
        }
        let parsed: Name = name.parse().map_err(|_| format!("'{name}' is not a name"))?;
        if let Some(addresses) = in_hosts_file(&parsed) {
            return Ok(DnsAnswer { addresses, ttl: HOSTS_TTL });
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

    async fn ask_for(&self, name: &Name, kind: RecordType) -> Result<DnsAnswer, String> {
        match self.dns.lookup(name.clone(), kind).await {
            Ok(lookup) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                Ok(DnsAnswer { addresses, ttl: Span::from_secs(ttl.into()) })
            }
            Err(error) => match empty(&error) {
                Some(ttl) => Ok(DnsAnswer { addresses: Vec::new(), ttl }),
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
