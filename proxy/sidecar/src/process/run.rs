//! `leeboard run` from start to end: read, compile, bind, resolve, serve, drain.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use leeboard_istio::compile::Site;
use leeboard_istio::resources::sidecar::OutboundTrafficPolicy;
use leeboard_policy::outlier::OutlierEvent;
use leeboard_policy::time::Time;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::settings::{OutboundPolicy, Settings};
use crate::admin::{AdminState, Controls, DrainListeners, Drained, Listening, Scope, server};
use crate::body::replay::ReplayMemory;
use crate::config::store::{ConfigObserver, FirstLoad, Store};
use crate::config::{dns, files};
use crate::dns::unreachable::UnreachableEndpoints;
use crate::dns::{on_demand, resolver};
use crate::downstream;
use crate::drain::application::Ports;
use crate::drain::{Drain, DrainPhase, Life, Pace, Side};
use crate::host::clock::Clock;
use crate::host::env::hostname;
use crate::host::exit::{COULD_NOT, DONE};
use crate::host::limits;
use crate::host::memory::give_back;
use crate::net::downstream_limits::DownstreamConnections;
use crate::net::own_addresses::OwnAddresses;
use crate::net::upstream_limits::UpstreamConnections;
use crate::net::write_batch;
use crate::telemetry::Telemetry;
use crate::telemetry::program_log::{LogLevel, ProgramLog};
use crate::worker::shared::{Shared, WorkerStart};

/// How long the start waits for DNS. What is not known by then is learnt while serving.
const FIRST_NAMES: Duration = Duration::from_secs(2);
/// Updates that may wait for the store. Discovery waits when there are more.
const UPDATES: usize = 1024;
/// How long the end waits for the workers' last records.
const LAST_RECORDS: Duration = Duration::from_secs(1);

impl ConfigObserver for Shared {
    fn outlier(&self, event: &OutlierEvent) {
        Shared::outlier(self, event);
    }

    fn reloaded(&self, good: bool) {
        self.telemetry.reloaded(good, self.clock.wall());
    }
}

/// Runs until the process is asked to end; the exit code.
pub(crate) fn run(settings: Settings, log: &ProgramLog, level: LogLevel) -> u8 {
    match try_run(settings, log, level) {
        Ok(()) => DONE,
        Err(complaint) => {
            log.say(complaint.trim_end());
            COULD_NOT
        }
    }
}

fn try_run(settings: Settings, log: &ProgramLog, level: LogLevel) -> Result<(), String> {
    let clock = Clock::start();
    let mut files =
        files::Files::new(settings.config.clone()).with_mesh(settings.mesh_config.clone()).within(settings.config_most);
    let reading = files.read().unwrap_or_default();
    let store = Store::open(reading, site(&settings), &first_load(&settings), clock)?;
    let read = clock.now();
    let resolver = resolver::Resolver::new(settings.dns, settings.dns_max_ttl)?;
    let sockets = Sockets::open(&settings)?;
    let (sink, format) = settings.log_of_requests(store.mesh());
    let telemetry = Telemetry::start(settings.worker.workload.clone(), &sink, format, Some(log.clone()))
        .map_err(|error| format!("error: access log: {error}"))?;
    let (names, questions) = on_demand::OnDemandNames::new(clock);
    let (unreachable, doubted) = UnreachableEndpoints::new(clock, names.clone());
    let descriptors = limits::descriptors();
    let downstream_connections =
        DownstreamConnections::new(settings.most_callers(descriptors), 1 + settings.inbound.len());
    let (most_open, most_for_caller) = settings.most_to_endpoints(descriptors);
    let shared = Arc::new(Shared {
        drain: Drain::new(settings.worker.workers),
        replay: ReplayMemory::new(settings.replay_memory),
        settings: settings.worker.clone(),
        clock,
        live: store.live(),
        telemetry,
        names: names.clone(),
        unreachable,
        pools: Arc::default(),
        own_addresses: sockets.own_addresses.clone(),
        downstream_connections,
        upstream_connections: UpstreamConnections::new(most_open),
        most_for_caller,
    });
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("error: cannot start a runtime: {error}"))?;
    runtime
        .block_on(async {
            let discovery = Discovery { files, store, resolver, names, questions, doubted };
            prepare(&shared, &settings, discovery, sockets.admin, sockets.listening, level).await?;
            let workers = start_workers(&shared, sockets.outbound, sockets.inbound)?;
            give_back(clock, read).await;
            shared.drain.started();
            tracing::info!(workers = shared.settings.workers, "ready");
            shared.drain.run(clock, pace(&settings), &ports(&settings)).await;
            Ok::<_, String>(workers)
        })?
        .end(&shared);
    Ok(())
}

/// Where configuration and addresses come from, ready to begin.
struct Discovery {
    files: files::Files,
    store: Store,
    resolver: resolver::Resolver,
    names: on_demand::OnDemandNames,
    questions: mpsc::Receiver<on_demand::Question>,
    doubted: mpsc::Receiver<IpAddr>,
}

/// Starts, on the background runtime, everything but traffic; and waits, for a while, for the addresses of names.
async fn prepare(
    shared: &Arc<Shared>,
    settings: &Settings,
    discovery: Discovery,
    admin: Vec<(Scope, TcpListener)>,
    listening: Vec<Listening>,
    level: LogLevel,
) -> Result<(), String> {
    let state = AdminState {
        live: shared.live.clone(),
        config: discovery.store.report(),
        telemetry: shared.telemetry.clone(),
        listening,
        workers: shared.settings.workers,
        started: shared.clock.wall(),
        names: (settings.admin_hosts.iter().cloned()).chain([hostname().to_owned()]).collect(),
        secrets: settings.redact.clone(),
        controls: Box::new(Process { shared: shared.clone(), log: level }),
    };
    server::start(admin, Arc::new(state)).map_err(|error| format!("error: admin server: {error}"))?;

    let (clock, reload) = (shared.clock, Arc::new(Notify::new()));
    let Discovery { files, store, resolver, names, questions, doubted } = discovery;
    let (updates, updated) = mpsc::channel(UPDATES);
    let mut settled = store.settled();
    tokio::spawn(dns::keep_fresh(resolver.clone(), clock, store.wanted(), doubted, updates.clone()));
    tokio::spawn(on_demand::answer(names, resolver, questions));
    tokio::spawn(files::watch(files, reload.clone(), updates));
    let observer = shared.clone();
    tokio::spawn(async move { store.run(updated, &*observer).await });
    listen_for_signals(shared, reload).map_err(|error| format!("error: signals: {error}"))?;

    if timeout(FIRST_NAMES, settled.wait_for(|settled| *settled)).await.is_err() {
        tracing::warn!("some names are not resolved yet; serving without their addresses");
    }
    Ok(())
}

fn pace(settings: &Settings) -> Pace {
    let inbound = !settings.inbound.is_empty();
    Pace { minimum: settings.min_drain_time, maximum: settings.drain_time, inbound }
}

fn ports(settings: &Settings) -> Ports {
    Ports(settings.inbound.iter().map(|port| port.app).collect())
}

fn first_load(settings: &Settings) -> FirstLoad {
    let mesh = settings.mesh_config.as_deref().map(files::name);
    FirstLoad { grace: settings.config_grace, strict: settings.strict_config, mesh }
}

fn site(settings: &Settings) -> Site {
    Site {
        workload: settings.worker.workload.clone(),
        inbound: settings.inbound.iter().map(|port| (port.listen, port.app)).collect(),
        unknown: settings.outbound_policy.map(|policy| match policy {
            OutboundPolicy::AllowAny => OutboundTrafficPolicy::AllowAny,
            OutboundPolicy::RegistryOnly => OutboundTrafficPolicy::RegistryOnly,
        }),
        ..Site::default()
    }
}

/// All listening sockets of the process.
struct Sockets {
    admin: Vec<(Scope, TcpListener)>,
    /// One for each worker, or none.
    outbound: Vec<TcpListener>,
    /// For each inbound port one for each worker.
    inbound: Vec<Vec<TcpListener>>,
    listening: Vec<Listening>,
    own_addresses: OwnAddresses,
}

impl Sockets {
    /// Binds everything, what people ask first: `/ready` can be asked before traffic can come.
    fn open(settings: &Settings) -> Result<Self, String> {
        let mut all = Self {
            admin: Vec::new(),
            outbound: Vec::new(),
            inbound: Vec::new(),
            listening: Vec::new(),
            own_addresses: OwnAddresses::default(),
        };
        let pages = [
            ("admin", Scope::Admin, settings.admin),
            ("status", Scope::Status, settings.status),
            ("metrics", Scope::Metrics, settings.metrics),
        ];
        for (kind, scope, address) in pages {
            let Some(address) = address else { continue };
            let socket = crate::net::listen::alone(address).map_err(|error| refused(kind, address, &error))?;
            let bound = socket.local_addr().unwrap_or(address);
            if scope == Scope::Admin {
                all.own_addresses.bar(Side::Outbound, bound);
                all.own_addresses.bar(Side::Inbound, bound);
            }
            all.tell(kind, kind, bound);
            all.admin.push((scope, socket));
        }
        if let Some(address) = settings.outbound {
            let (bound, sockets) = all.share("outbound", "outbound", address, settings.worker.workers)?;
            all.own_addresses.bar(Side::Outbound, bound);
            all.outbound = sockets;
        }
        for port in &settings.inbound {
            let name = format!("inbound|{}|", port.app.port());
            let (bound, sockets) = all.share("inbound", &name, port.listen, settings.worker.workers)?;
            all.own_addresses.bar(Side::Inbound, bound);
            all.inbound.push(sockets);
        }
        Ok(all)
    }

    fn share(
        &mut self,
        kind: &str,
        name: &str,
        at: SocketAddr,
        count: usize,
    ) -> Result<(SocketAddr, Vec<TcpListener>), String> {
        let (bound, sockets) = crate::net::listen::share(at, count).map_err(|error| refused(kind, at, &error))?;
        self.tell(kind, name, bound);
        Ok((bound, sockets))
    }

    fn tell(&mut self, kind: &str, name: &str, address: SocketAddr) {
        tracing::info!(%kind, %address, "listening");
        self.listening.push(Listening { name: name.into(), address });
    }
}

fn refused(kind: &str, address: SocketAddr, error: &io::Error) -> String {
    format!("error: cannot listen on {address} ({kind}): {error}")
}

/// The threads that carry traffic.
struct Workers {
    over: watch::Sender<bool>,
    gone: std::sync::mpsc::Receiver<()>,
}

impl Workers {
    /// Ends them: what they still carry is cut, and leaves its records. A thread that does not come to its end is left behind.
    fn end(self, shared: &Shared) {
        self.over.send_replace(true);
        // Each thread holds a sender until it is gone, and none sends.
        let _ = self.gone.recv_timeout(LAST_RECORDS);
        shared.telemetry.finish();
    }
}

/// Starts one thread for each worker, each with a runtime of its own.
fn start_workers(
    shared: &Arc<Shared>,
    outbound: Vec<TcpListener>,
    mut inbound: Vec<Vec<TcpListener>>,
) -> Result<Workers, String> {
    let (over, ending) = watch::channel(false);
    let (alive, gone) = std::sync::mpsc::channel();
    let mut outbound = outbound.into_iter();
    for index in 0..shared.settings.workers {
        let worker = WorkerStart {
            shared: shared.clone(),
            traffic: shared.drain.traffic(index),
            outbound: outbound.next(),
            inbound: inbound.iter_mut().filter_map(Vec::pop).collect(),
        };
        let mut ending = ending.clone();
        let presence = Presence { _alive: alive.clone(), shared: shared.clone(), over: ending.clone() };
        let work = move || {
            let _presence = presence;
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(async {
                    tokio::select! {
                        () = downstream::serve(worker) => {}
                        _ = ending.wait_for(|over| *over) => {}
                    }
                    write_batch::flush_now();
                }),
                Err(error) => tracing::error!(%error, "a worker has no runtime"),
            }
        };
        let thread = thread::Builder::new().name(format!("worker-{index}"));
        thread.spawn(work).map_err(|error| format!("error: cannot start a worker: {error}"))?;
    }
    Ok(Workers { over, gone })
}

/// That a worker's thread is there. When it ends before its time, the whole process must: half of the callers would hang.
struct Presence {
    _alive: std::sync::mpsc::Sender<()>,
    shared: Arc<Shared>,
    over: watch::Receiver<bool>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !*self.over.borrow() {
            tracing::error!("a worker has ended");
            self.shared.drain.ask();
        }
    }
}

/// SIGTERM and SIGINT drain, and end at once when repeated; SIGINT waits for what is in flight only. SIGHUP reloads.
fn listen_for_signals(shared: &Arc<Shared>, reload: Arc<Notify>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let shared = shared.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => shared.drain.ask(),
                _ = interrupt.recv() => shared.drain.interrupt(),
                _ = hang_up.recv() => reload.notify_one(),
            }
        }
    });
    Ok(())
}

/// What the admin pages may ask of the process.
struct Process {
    shared: Arc<Shared>,
    log: LogLevel,
}

impl Controls for Process {
    fn now(&self) -> Time {
        self.shared.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.shared.clock.wall()
    }

    fn life(&self) -> Life {
        self.shared.drain.life()
    }

    fn drain_listeners(&self, drain: DrainListeners) {
        let phase = if drain.graceful { DrainPhase::Closing } else { DrainPhase::Shut };
        self.shared.drain.advance(Side::Inbound, phase);
        if !drain.inbound_only {
            self.shared.drain.advance(Side::Outbound, phase);
        }
    }

    fn drain(&self) {
        self.shared.drain.announce();
    }

    fn drained(&self) -> Drained {
        let (safe, inbound) = (self.shared.drain.is_safe(), self.shared.drain.inbound());
        Drained { safe, requests: inbound.exchanges, connections: inbound.connections }
    }

    fn quit(&self) {
        self.shared.drain.ask();
    }

    fn log_level(&self) -> String {
        self.log.current()
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.log.set(level)
    }
}
