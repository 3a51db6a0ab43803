//! The place of measurement: cores, the upstream, a started peer, a run of load.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::certificate::Certificate;
use crate::peers::{HOST, Launch, Needs, PATH, Peer, Protocol, Rewrite, SERVICE_PORT, Site};
use crate::process::{Child, CommandLine, Scratch, pin, raise_open_files};
use crate::procfs;
use crate::role::load::{self, LoadArgs, LoadReport};
use crate::trouble::{Interrupt, Trouble};

/// A peer that does not answer by then is given up.
const READY_LIMIT: Duration = Duration::from_secs(20);
const READY_STEP: Duration = Duration::from_millis(2);
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// The machine is quiet when all cores together are busy for no more than this share of one, over this long.
const QUIET_SHARE: f64 = 0.1;
const QUIET_SPAN: Duration = Duration::from_millis(300);
/// Requests under way at once on one connection of HTTP/2.
const STREAMS: usize = 8;
/// Beside the connections of the load there are those of probes.
const SPARE: usize = 100;
/// How long a load may take beyond its own time.
const LOAD_GRACE: Duration = Duration::from_secs(15);

/// Which core does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
    pub(crate) load: usize,
    pub(crate) upstream: usize,
}

/// How much load, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// Requests per second of the open loop.
    pub(crate) rate: f64,
    /// Seconds of each measured window.
    pub(crate) seconds: f64,
    /// Seconds of load before each window.
    pub(crate) warmup: f64,
    /// Seconds to wait for a quiet machine before each measurement.
    pub(crate) patience: f64,
    /// Bytes of an answer's body.
    pub(crate) body: usize,
    /// Connections that are held open idle.
    pub(crate) idle: usize,
    /// Bytes of a large body.
    pub(crate) large: u64,
}

/// Everything that all peers share: the upstream runs as long as it.
pub(crate) struct Lab {
    pub(crate) plan: Plan,
    cores: Cores,
    interrupt: Interrupt,
    upstream_address: SocketAddr,
    upstream: Child,
    certificate: Certificate,
    scratch: Scratch,
}

/// A peer that answers.
pub(crate) struct Running {
    child: Option<Child>,
    address: SocketAddr,
    protocol: Protocol,
    /// Its own folder.
    dir: PathBuf,
    /// From the start of the process to its first good answer, in milliseconds.
    pub(crate) start_ms: f64,
    /// Resident memory right after that, in KiB.
    pub(crate) idle_rss_kib: Option<u64>,
}

/// One of the harness's own roles at work.
pub(crate) struct Work {
    child: Child,
    dir: PathBuf,
    limit: Duration,
}

impl Running {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Lab {
    /// Starts the upstream.
    pub(crate) fn open(plan: Plan, cores: Cores, interrupt: Interrupt) -> Result<Self, Trouble> {
        // What this process does meanwhile must not be done on the proxy's core.
        pin(&[cores.load])?;
        raise_open_files()?;
        let scratch = Scratch::new()?;
        let certificate = Certificate::make(scratch.path(), HOST)?;
        let args = ["upstream".to_owned(), "--body".into(), plan.body.to_string()];
        let command = CommandLine::new(&std::env::current_exe()?, args);
        let mut upstream = Child::start("upstream", &[cores.upstream], &command, scratch.path())?;
        let upstream_address = announced(&interrupt, &mut upstream, "upstream")?;
        Ok(Self { plan, cores, interrupt, upstream_address, upstream, certificate, scratch })
    }

    /// Where files may be put that go away with the lab.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Raised by Ctrl-C.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Waits until nothing else runs on the machine, as long as the plan has patience for.
    fn await_quiet(&self) -> Result<(), Trouble> {
        let patience = Duration::from_secs_f64(self.plan.patience);
        let mut before = None;
        self.interrupt.poll(QUIET_SPAN, patience, || {
            let now = (Instant::now(), procfs::machine_busy_seconds()?);
            Ok(before.replace(now).filter(|earlier| is_quiet(*earlier, now)))
        })?;
        Ok(())
    }

    /// Starts a peer afresh, on a machine as quiet as patience allows, and waits until it answers.
    pub(crate) fn start(&self, peer: &Peer, binary: &Path, needs: &Needs) -> Result<Running, Trouble> {
        self.await_quiet()?;
        let dir = self.fresh_folder(peer.name)?;
        let connections = needs.connections.max(self.plan.connections) + SPARE;
        let needs = &Needs { connections, ..needs.clone() };
        let site = Site { binary, dir: &dir, upstream: self.upstream_address, certificate: &self.certificate, needs };
        let launch = (peer.prepare)(&site)?;
        let both = [self.cores.proxy, self.cores.load];
        let cores = if needs.both_cores { &both[..] } else { &both[..1] };
        let begin = Instant::now();
        let (address, mut child) = match launch {
            Launch::Unable(reason) => return Err(Trouble::Unable(reason)),
            Launch::Nothing => (self.upstream_address, None),
            Launch::At(address, command) => {
                let child = Child::start(peer.name, cores, &command, &dir)?;
                (address, Some(child))
            }
            Launch::Announced(kind, command) => {
                let mut child = Child::start(peer.name, cores, &command, &dir)?;
                (announced(&self.interrupt, &mut child, kind)?, Some(child))
            }
        };
        let protocol = needs.protocol;
        let mut running = Running { child: None, address, protocol, dir, start_ms: 0.0, idle_rss_kib: None };
        self.await_answer(&running, child.as_mut())?;
        running.start_ms = begin.elapsed().as_secs_f64() * 1e3;
        if let Some(child) = &child {
            running.idle_rss_kib = Some(procfs::usage_of_tree(child.pid())?.rss_kib);
        }
        running.child = child;
        Ok(running)
    }

    /// The load that the plan has for a peer: a closed loop over HTTP/1.1, or as many requests at once over HTTP/2.
    pub(crate) fn load_args(&self, peer: &Running) -> LoadArgs {
        let Plan { connections, seconds, warmup, body, .. } = self.plan;
        let (connections, streams) = match peer.protocol {
            Protocol::Http1 | Protocol::Tls => (connections, 1),
            Protocol::Http2 => (connections.div_ceil(STREAMS), connections.min(STREAMS)),
        };
        LoadArgs {
            target: peer.address,
            host: format!("{HOST}:{SERVICE_PORT}"),
            path: PATH.into(),
            body,
            connections,
            protocol: peer.protocol,
            streams,
            grpc: false,
            fresh: false,
            sources: 1,
            mix: None,
            trust: (peer.protocol == Protocol::Tls).then(|| self.certificate.chain.clone()),
            rate: None,
            warmup,
            seconds,
            proxy: peer.child.as_ref().map(Child::pid),
            upstream: self.upstream.pid(),
        }
    }

    /// Makes the plan's load against a running peer: closed loop, or open loop at `rate`.
    pub(crate) fn load(&self, peer: &mut Running, rate: Option<f64>) -> Result<LoadReport, Trouble> {
        let args = LoadArgs { rate, ..self.load_args(peer) };
        self.run_load(peer, &args)
    }

    /// Makes the given load against a running peer.
    pub(crate) fn run_load(&self, peer: &mut Running, args: &LoadArgs) -> Result<LoadReport, Trouble> {
        self.run_role(peer, args.command_line(), args.seconds + args.warmup)
    }

    /// Runs one of the harness's own roles against a running peer, for about that many seconds, and reads its report.
    pub(crate) fn run_role<R: DeserializeOwned>(
        &self,
        peer: &mut Running,
        line: Vec<String>,
        seconds: f64,
    ) -> Result<R, Trouble> {
        self.finish(self.begin_role(line, seconds)?, peer)
    }

    /// Begins the given load.
    pub(crate) fn begin_load(&self, args: &LoadArgs) -> Result<Work, Trouble> {
        self.begin_role(args.command_line(), args.seconds + args.warmup)
    }

    fn begin_role(&self, line: Vec<String>, seconds: f64) -> Result<Work, Trouble> {
        let command = CommandLine::new(&std::env::current_exe()?, line);
        let dir = self.fresh_folder("load")?;
        let child = Child::start("load", &[self.cores.load], &command, &dir)?;
        Ok(Work { child, dir, limit: Duration::from_secs_f64(seconds) + LOAD_GRACE })
    }

    /// Waits for the end of a role and reads its report. The limit of its time counts from now.
    pub(crate) fn finish<R: DeserializeOwned>(&self, mut work: Work, peer: &mut Running) -> Result<R, Trouble> {
        // Few wake-ups: this process has no core of its own.
        let status = self
            .interrupt
            .poll(Duration::from_millis(100), work.limit, || {
                if let Some(child) = &mut peer.child
                    && let Some(status) = child.ended()?
                {
                    let complaint = child.complaint();
                    return Err(Trouble::Failed(format!("it ended under load ({status}): {complaint}")));
                }
                Ok(work.child.ended()?)
            })?
            .ok_or_else(|| Trouble::Failed("the load did not end in its time".into()))?;
        if !status.success() {
            return Err(Trouble::Failed(format!("load: {}", work.child.complaint())));
        }
        let text = fs::read_to_string(work.dir.join("load.stdout"))?;
        serde_json::from_str(&text).map_err(|error| Trouble::Failed(format!("load report: {error}")))
    }

    /// Writes another configuration for a running peer, which takes effect when it is renamed.
    pub(crate) fn rewrite(
        &self,
        peer: &Peer,
        running: &Running,
        binary: &Path,
        needs: &Needs,
    ) -> Result<Rewrite, Trouble> {
        let rewrite = peer.rewrite.ok_or(Trouble::Unable("it does not watch its configuration"))?;
        Ok(rewrite(&Site {
            binary,
            dir: &running.dir,
            upstream: self.upstream_address,
            certificate: &self.certificate,
            needs,
        })?)
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Trouble> {
        self.interrupt.poll(time.min(Duration::from_millis(100)), time, || Ok(None::<()>))?;
        Ok(())
    }

    fn fresh_folder(&self, name: &str) -> Result<PathBuf, Trouble> {
        let dir = self.scratch.path().join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    fn await_answer(&self, peer: &Running, mut child: Option<&mut Child>) -> Result<(), Trouble> {
        let args = self.load_args(peer);
        let mut last = "no answer".to_owned();
        let answered = self.interrupt.poll(READY_STEP, READY_LIMIT, || {
            if let Some(child) = child.as_deref_mut() {
                fail_if_ended(child)?;
            }
            match load::ask(&args, PROBE_LIMIT) {
                Ok(()) => Ok(Some(())),
                Err(error) => {
                    last = error.to_string();
                    Ok(None)
                }
            }
        })?;
        answered.ok_or_else(|| {
            let complaint = child.map(|child| child.complaint()).unwrap_or_default();
            Trouble::Failed(format!("not ready after {READY_LIMIT:?}: {last}; {complaint}"))
        })
    }
}

/// Whether the machine rested between two readings of its busy seconds.
fn is_quiet(earlier: (Instant, f64), later: (Instant, f64)) -> bool {
    let span = (later.0 - earlier.0).as_secs_f64();
    later.1 - earlier.1 <= QUIET_SHARE * span
}

/// The address that a child announces.
fn announced(interrupt: &Interrupt, child: &mut Child, kind: &str) -> Result<SocketAddr, Trouble> {
    let found = interrupt.poll(READY_STEP, READY_LIMIT, || {
        let address = child.announced(kind);
        if address.is_none() {
            fail_if_ended(child)?;
        }
        Ok(address)
    })?;
    found.ok_or_else(|| Trouble::Failed(format!("it did not announce its {kind} address: {}", child.complaint())))
}

fn fail_if_ended(child: &mut Child) -> Result<(), Trouble> {
    match child.ended()? {
        Some(status) => {
            let complaint = child.complaint();
            Err(Trouble::Failed(format!("it ended at start ({status}): {complaint}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_a_tenth_of_one_core() {
        let begin = Instant::now();
        let end = begin + Duration::from_secs(1);
        for (busy, quiet) in [(0.0, true), (0.09, true), (0.11, false), (2.0, false)] {
            assert_eq!(is_quiet((begin, 50.0), (end, 50.0 + busy)), quiet, "{busy}");
        }
    }
}
