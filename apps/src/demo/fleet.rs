//! All replicas and their Leeboards as running processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::StatusCode;
use leeboard_apps::service::Service;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::configuration::FILES;
use crate::metrics::Metrics;
use crate::process::{Process, Program};
use crate::topology::{Ports, REPLICAS, Replica, local};
use crate::traffic::Ask;

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(8);
const GLANCE: Duration = Duration::from_millis(25);

/// Where the fleet's programs and files are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The folder with the binaries `leeboard` and `leeboard-apps`.
    pub(crate) binaries: PathBuf,
    /// The folder with the configuration.
    pub(crate) config: PathBuf,
    /// The folder for databases and logs.
    pub(crate) work: PathBuf,
}

/// The replicas, each an app and its Leeboard.
#[derive(Debug)]
pub(crate) struct Fleet {
    places: Places,
    /// The share of calls that `external-service` fails from its start, in percent.
    external_fails: u32,
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    replica: Replica,
    ports: Ports,
    app: Option<Process>,
    leeboard: Option<Process>,
}

impl Fleet {
    /// A fleet of which nothing runs yet. `ports` are in the order of [`REPLICAS`].
    pub(crate) fn new(places: Places, ports: Vec<Ports>, external_fails: u32) -> Fleet {
        let pair = |(replica, ports): (&Replica, Ports)| Pair { replica: *replica, ports, app: None, leeboard: None };
        Fleet { places, external_fails, pairs: REPLICAS.iter().zip(ports).map(pair).collect() }
    }

    /// Starts everything and waits until all of it is ready.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        for at in 0..self.pairs.len() {
            self.start_pair(at)?;
        }
        let deadline = Instant::now() + START_PATIENCE;
        for at in 0..self.pairs.len() {
            self.await_ready(at, deadline).await?;
        }
        Ok(())
    }

    /// Starts what does not run of one replica.
    fn start_pair(&mut self, at: usize) -> Result<(), String> {
        let (app, leeboard) = (self.app_program(&self.pairs[at]), self.leeboard_program(&self.pairs[at]));
        let work = &self.places.work;
        let pair = &mut self.pairs[at];
        for (place, program) in [(&mut pair.leeboard, leeboard), (&mut pair.app, app)] {
            if place.is_none() {
                *place = Some(Process::start(&program, work)?);
            }
        }
        Ok(())
    }

    fn app_program(&self, pair: &Pair) -> Program {
        let Pair { replica, ports, .. } = pair;
        // Replicas of a service share its database.
        let database = self.places.work.join(format!("{}.db", replica.service.name()));
        let mut environment = vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", ports.app.to_string()),
            ("SERVICE_VERSION", replica.version.to_owned()),
            ("SERVICE_INSTANCE", replica.name.to_owned()),
            ("DATABASE_URL", format!("sqlite:{}", database.display())),
            ("http_proxy", format!("http://{}", local(ports.outbound))),
        ];
        if replica.service == Service::External {
            environment.push(("FAIL_PERCENT", self.external_fails.to_string()));
        }
        Program {
            name: replica.name.to_owned(),
            path: self.places.binaries.join("leeboard-apps"),
            arguments: vec![replica.service.name().into()],
            environment,
        }
    }

    fn leeboard_program(&self, pair: &Pair) -> Program {
        let Pair { replica, ports, .. } = pair;
        let service = replica.service.name();
        let mut arguments: Vec<OsString> = vec!["run".into()];
        for file in FILES {
            arguments.extend(["--config".into(), self.places.config.join(file).into_os_string()]);
        }
        let access_log = self.places.work.join(format!("{}.access.log", replica.name));
        for (flag, value) in [
            ("--outbound", local(ports.outbound).to_string()),
            ("--inbound", format!("{}={}", local(ports.inbound), local(ports.app))),
            ("--admin", local(ports.admin).to_string()),
            ("--status", local(ports.status).to_string()),
            ("--metrics", local(ports.metrics).to_string()),
            ("--workers", "1".to_owned()),
            ("--namespace", "demo".to_owned()),
            ("--labels", format!("app={service},version={}", replica.version)),
            ("--workload", format!("{service}-{}", replica.version)),
            ("--access-log", access_log.display().to_string()),
            // Its app has ended before it is told to: nothing is left to wait for.
            ("--min-drain-time", "0s".to_owned()),
            ("--drain-time", "3s".to_owned()),
        ] {
            arguments.extend([flag.into(), value.into()]);
        }
        Program {
            name: format!("{}.leeboard", replica.name),
            path: self.places.binaries.join("leeboard"),
            arguments,
            environment: Vec::new(),
        }
    }

    async fn await_ready(&mut self, at: usize, deadline: Instant) -> Result<(), String> {
        let pair = &mut self.pairs[at];
        let app = Ask::get(format!("http://{}/health", local(pair.ports.app)));
        let leeboard = Ask::get(format!("http://{}/healthz/ready", local(pair.ports.status)));
        for (process, ask) in [(&mut pair.app, app), (&mut pair.leeboard, leeboard)] {
            let Some(process) = process else { continue };
            while !ask.once().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                if let Some(status) = process.ended() {
                    return Err(format!("{} ended at once ({status}):\n{}", process.name, process.last_words(20)));
                }
                if Instant::now() > deadline {
                    return Err(format!("{} does not become ready:\n{}", process.name, process.last_words(20)));
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
        Ok(())
    }

    /// Takes notice of processes that have ended; gives their names and how they ended.
    pub(crate) fn bury(&mut self) -> Vec<String> {
        let mut buried = Vec::new();
        for pair in &mut self.pairs {
            for place in [&mut pair.app, &mut pair.leeboard] {
                if let Some(status) = place.as_mut().and_then(Process::ended)
                    && let Some(process) = place.take()
                {
                    buried.push(format!("{} ended ({status})", process.name));
                }
            }
        }
        buried
    }

    /// Starts again what was buried, without waiting for it; gives the names of the replicas.
    pub(crate) fn revive(&mut self) -> Result<Vec<&'static str>, String> {
        let mut revived = Vec::new();
        for at in 0..self.pairs.len() {
            let pair = &self.pairs[at];
            if pair.app.is_none() || pair.leeboard.is_none() {
                revived.push(pair.replica.name);
                self.start_pair(at)?;
            }
        }
        Ok(revived)
    }

    /// Kills a replica and its Leeboard without a warning, as when a machine is lost.
    pub(crate) async fn kill(&mut self, name: &str) {
        for pair in self.pairs.iter_mut().filter(|pair| pair.replica.name == name) {
            for process in [&mut pair.leeboard, &mut pair.app].into_iter().flatten() {
                process.signal(Signal::SIGKILL);
            }
            for place in [&mut pair.leeboard, &mut pair.app] {
                if let Some(mut process) = place.take() {
                    process.wait(STOP_PATIENCE).await;
                }
            }
        }
    }

    /// Starts a replica that was killed and waits until it is ready.
    pub(crate) async fn restart(&mut self, name: &str) -> Result<(), String> {
        for at in 0..self.pairs.len() {
            if self.pairs[at].replica.name == name {
                self.start_pair(at)?;
                self.await_ready(at, Instant::now() + START_PATIENCE).await?;
            }
        }
        Ok(())
    }

    /// Stops everything, the apps before their Leeboards, and reaps it. Gives the number of processes that ended, and
    /// the names of those that had to be killed.
    pub(crate) async fn stop(&mut self) -> (usize, Vec<String>) {
        let (mut ended, mut killed) = (0, Vec::new());
        let apps: Vec<Process> = self.pairs.iter_mut().filter_map(|pair| pair.app.take()).collect();
        let leeboards: Vec<Process> = self.pairs.iter_mut().filter_map(|pair| pair.leeboard.take()).collect();
        for mut processes in [apps, leeboards] {
            for process in &mut processes {
                process.signal(Signal::SIGTERM);
            }
            let deadline = Instant::now() + STOP_PATIENCE;
            for process in &mut processes {
                ended += 1;
                if !process.wait(deadline.saturating_duration_since(Instant::now())).await {
                    killed.push(process.name.clone());
                }
            }
        }
        (ended, killed)
    }

    /// The ports of a replica.
    ///
    /// # Panics
    /// No replica has this name.
    pub(crate) fn ports(&self, name: &str) -> Ports {
        let found = self.pairs.iter().find(|pair| pair.replica.name == name);
        found.expect("the callers write the names of REPLICAS").ports
    }

    /// Each replica with its ports and the process ids of its app and its Leeboard.
    pub(crate) fn roll(&self) -> Vec<(Replica, Ports, Option<u32>, Option<u32>)> {
        let id = |process: &Option<Process>| process.as_ref().and_then(Process::id);
        self.pairs.iter().map(|pair| (pair.replica, pair.ports, id(&pair.app), id(&pair.leeboard))).collect()
    }

    /// A call that enters through the gateway's Leeboard.
    pub(crate) fn gateway(&self, path: &str) -> Ask {
        Ask::get(format!("http://{}{path}", local(self.ports("gateway").inbound)))
    }

    /// Tells a replica how to behave, straight at its own port; gives its answer.
    pub(crate) async fn behave(&self, name: &str, plan: Value) -> Result<Value, String> {
        let url = format!("http://{}/behaviour", local(self.ports(name).app));
        let answer = Ask::get(url).sending(http::Method::PUT, &plan).once().await?;
        serde_json::from_slice(answer.body()).map_err(|error| format!("{name}: {error}"))
    }

    /// How many calls a replica's app got with this method since it was last told how to behave.
    pub(crate) async fn seen(&self, name: &str, method: &str) -> Result<u64, String> {
        let answer = Ask::get(format!("http://{}/behaviour", local(self.ports(name).app))).once().await?;
        let report: Value = serde_json::from_slice(answer.body()).map_err(|error| format!("{name}: {error}"))?;
        Ok(report["seen"][method].as_u64().unwrap_or_default())
    }

    /// The metrics of one replica's Leeboard.
    pub(crate) async fn metrics(&self, name: &str) -> Result<Metrics, String> {
        let mut metrics = Metrics::default();
        let url = format!("http://{}/stats/prometheus", local(self.ports(name).metrics));
        let answer = Ask::get(url).once().await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{name}: /stats/prometheus answers {}", answer.status()));
        }
        metrics.read(&String::from_utf8_lossy(answer.body()));
        Ok(metrics)
    }

    /// The metrics of each Leeboard that answers, with the name of its replica.
    pub(crate) async fn each_metrics(&self) -> Vec<(&'static str, Metrics)> {
        let mut each = Vec::new();
        for pair in &self.pairs {
            if let Ok(metrics) = self.metrics(pair.replica.name).await {
                each.push((pair.replica.name, metrics));
            }
        }
        each
    }

    /// What a replica's Leeboard says of the endpoint at this port of 127.0.0.1, in its `/clusters?format=json`.
    pub(crate) async fn endpoint(&self, name: &str, port: u16) -> Result<Value, String> {
        let url = format!("http://{}/clusters?format=json", local(self.ports(name).admin));
        let answer = Ask::get(url).once().await?;
        let page: Value = serde_json::from_slice(answer.body()).map_err(|error| format!("{name}: {error}"))?;
        let clusters = page["cluster_statuses"].as_array().into_iter().flatten();
        let mut hosts = clusters.flat_map(|cluster| cluster["host_statuses"].as_array().into_iter().flatten());
        let found = hosts.find(|host| host["address"]["socket_address"]["port_value"] == port);
        found.cloned().ok_or_else(|| format!("{name}: /clusters knows no endpoint at port {port}"))
    }

    /// The name of the replica behind an endpoint's address, or the address itself.
    pub(crate) fn name_of(&self, endpoint: &str) -> String {
        let found = self.pairs.iter().find(|pair| local(pair.ports.inbound).to_string() == endpoint);
        found.map_or_else(|| endpoint.to_owned(), |pair| pair.replica.name.to_owned())
    }

    /// The folder with the programs.
    pub(crate) fn binaries(&self) -> &Path {
        &self.places.binaries
    }

    /// The folder with the logs.
    pub(crate) fn work(&self) -> &Path {
        &self.places.work
    }

    /// The folder with the configuration.
    pub(crate) fn config(&self) -> &Path {
        &self.places.config
    }
}
