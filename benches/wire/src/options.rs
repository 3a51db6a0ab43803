//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::lab::{Cores, Plan};
use crate::peers::{self, PEERS, Peer, Places};
use crate::role::Role;

/// Compares Leeboard with other proxies on one machine, in one run.
#[derive(Parser)]
#[command(name = "leeboard-wire", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Command {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(long, default_value = "h1")]
    pub(crate) suite: String,
    /// How often each peer is measured; medians are taken over the rounds.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds of each measured window; a peer has two per round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds of load before each window.
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Seconds to wait, before each measurement, for the rest of the machine to be quiet; a disturbed measurement is then
    /// made again, twice at most.
    #[arg(long, default_value_t = 0.0)]
    patience: f64,
    /// Keep-alive connections of the load.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests per second of the open loop.
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Bytes of an answer's body.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Idle connections of the suite `conns`.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Bytes of the large bodies of the suite `bodies`.
    #[arg(long, default_value_t = 1 << 30)]
    large: u64,
    /// Peers to measure, in this order; those not installed are skipped.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    peers: Vec<String>,
    /// Cores of the proxy, of the load, and of the upstream if it has one of its own; by default the first two cores that this
    /// process may use.
    #[arg(long, value_delimiter = ',', value_name = "PROXY,LOAD[,UPSTREAM]")]
    cores: Vec<usize>,
    /// Writes the run as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The `leeboard` binary; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    leeboard: Option<PathBuf>,
    /// The `haproxy` binary; by default the one in PATH.
    #[arg(long, value_name = "PATH")]
    haproxy: Option<PathBuf>,
    /// The `nginx` binary; by default the one in PATH.
    #[arg(long, value_name = "PATH")]
    nginx: Option<PathBuf>,
    /// The `envoy` binary; by default the one in PATH.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
}

/// Load above these bounds measures the machine's limits, not a proxy's.
const MOST_CONNECTIONS: usize = 10_000;
const MOST_REQUESTS_PER_SECOND: f64 = 200_000.0;
const LONGEST_BODY: usize = 32 * 1024;
const LONGEST_WINDOW: f64 = 600.0;
const MOST_IDLE: usize = 20_000;
const LARGEST_BODY: u64 = 1 << 34;

impl Options {
    /// The peers asked for; all by default.
    pub(crate) fn peers(&self) -> Result<Vec<&'static Peer>, String> {
        if self.peers.is_empty() {
            return Ok(PEERS.iter().collect());
        }
        let names = || PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>();
        let find = |name: &String| {
            peers::find(name).ok_or_else(|| format!("there is no peer `{name}`; there are: {}", names().join(", ")))
        };
        self.peers.iter().map(find).collect()
    }

    /// How much load, within bounds.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let bounds = [
            ("--rounds", self.rounds as f64, 1.0, 1000.0),
            ("--seconds", self.seconds, 0.1, LONGEST_WINDOW),
            ("--warmup", self.warmup, 0.0, LONGEST_WINDOW),
            ("--patience", self.patience, 0.0, LONGEST_WINDOW),
            ("--connections", self.connections as f64, 1.0, MOST_CONNECTIONS as f64),
            ("--rate", self.rate, 1.0, MOST_REQUESTS_PER_SECOND),
            ("--body", self.body as f64, 0.0, LONGEST_BODY as f64),
            ("--idle", self.idle as f64, 1.0, MOST_IDLE as f64),
            ("--large", self.large as f64, 1.0, LARGEST_BODY as f64),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} must be between {least} and {most}, not {value}"));
            }
        }
        Ok(Plan {
            connections: self.connections,
            rate: self.rate,
            seconds: self.seconds,
            warmup: self.warmup,
            patience: self.patience,
            body: self.body,
            idle: self.idle,
            large: self.large,
        })
    }

    /// Who runs where.
    pub(crate) fn cores(&self) -> Result<Cores, String> {
        let cores = if self.cores.is_empty() { usable_cores()? } else { self.cores.clone() };
        match cores[..] {
            [only] => Ok(Cores { proxy: only, load: only, upstream: only }),
            [proxy, load] => Ok(Cores { proxy, load, upstream: load }),
            [proxy, load, upstream] => Ok(Cores { proxy, load, upstream }),
            _ => Err("--cores takes one to three core numbers".into()),
        }
    }

    /// Where programs are.
    pub(crate) fn places(&self) -> Places {
        Places {
            leeboard: self.leeboard.clone(),
            haproxy: self.haproxy.clone(),
            nginx: self.nginx.clone(),
            envoy: self.envoy.clone(),
        }
    }
}

/// The first two cores of this process's affinity; one if there is only one.
fn usable_cores() -> Result<Vec<usize>, String> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(|error| format!("affinity: {error}"))?;
    let is_allowed = |&core: &usize| allowed.is_set(core).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).take(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let words = ["leeboard-wire"].into_iter().chain(line.split_whitespace());
        Command::try_parse_from(words).expect("a valid line").options
    }

    #[test]
    fn defaults_are_all_peers_on_usable_cores() {
        let options = options("");
        assert_eq!(options.peers().expect("known").len(), PEERS.len());
        let cores = options.cores().expect("one or two");
        assert_eq!(cores.load, cores.upstream);
        assert_eq!(options.plan().expect("within bounds").connections, 32);
    }

    #[test]
    fn peers_keep_the_order_asked_for() {
        let wanted = options("--peers envoy,relay").peers().expect("known");
        assert_eq!(wanted.iter().map(|peer| peer.name).collect::<Vec<_>>(), ["envoy", "relay"]);
        let error = options("--peers relay,squid").peers().err().expect("unknown");
        assert!(error.starts_with("there is no peer `squid`; there are: direct, relay,"), "{error}");
    }

    #[test]
    fn load_is_bounded() {
        for line in ["--rounds 0", "--seconds 0", "--seconds nan", "--connections 10001", "--rate 0", "--body 40000"] {
            assert!(options(line).plan().is_err(), "{line}");
        }
    }

    #[test]
    fn cores_are_those_asked_for() {
        for (line, expected) in [("--cores 3", (3, 3, 3)), ("--cores 0,1", (0, 1, 1)), ("--cores 4,2,0", (4, 2, 0))] {
            let cores = options(line).cores().expect("one to three");
            assert_eq!((cores.proxy, cores.load, cores.upstream), expected, "{line}");
        }
        assert!(options("--cores 0,1,2,3").cores().is_err());
    }
}
