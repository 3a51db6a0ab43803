//! The program itself: started on free ports with a folder of its own, watched by its log, and stopped at the end.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::message::{Message, Wire};
use crate::patience::{DEADLINE, soon, until};

/// A running Leeboard. Dropping it kills the process.
pub(crate) struct Leeboard {
    child: Child,
    config: TempDir,
    log: Lines,
    access: Lines,
    ears: Arc<Ears>,
    ports: BTreeMap<String, SocketAddr>,
}

/// Whether anybody reads what a process writes, and what is held open after that.
#[derive(Default)]
struct Ears {
    deaf: AtomicBool,
    covered: Mutex<Vec<Box<dyn Read + Send>>>,
}

/// Lines that a process has written so far.
type Lines = watch::Receiver<Vec<String>>;

impl Leeboard {
    /// Starts one with a configuration.
    pub(crate) async fn start(config: &str) -> Self {
        Self::with(config, &[]).await
    }

    /// Starts one with a configuration and flags of its own, and waits until it is ready.
    pub(crate) async fn with(config: &str, flags: &[&str]) -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_leeboard")), config, flags).await
    }

    /// Starts one that may have so many descriptors.
    pub(crate) async fn with_descriptors(most: usize, config: &str, flags: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        let limited = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_leeboard")]);
        Self::launch(shell, config, flags).await
    }

    async fn launch(mut command: Command, config: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder for the configuration");
        std::fs::write(folder.path().join("config.yaml"), config).expect("the folder can be written to");
        // A flag that a test gives itself goes before the usual one.
        let usual = [("--outbound", "127.0.0.1:0"), ("--admin", "127.0.0.1:0"), ("--status", "127.0.0.1:0")];
        let usual = usual.into_iter().filter(|(flag, _)| !flags.contains(flag));
        let mut child = command
            .env_clear()
            .env("LEEBOARD_WORKERS", "1")
            .env("LEEBOARD_MIN_DRAIN_TIME", "0s")
            .env("LEEBOARD_ACCESS_LOG", "-")
            .env("LEEBOARD_ACCESS_LOG_FORMAT", "json")
            .args(["run", "--metrics", "off"])
            .args(usual.flat_map(|(flag, value)| [flag, value]))
            .arg("--config")
            .arg(folder.path())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let ears = Arc::<Ears>::default();
        let log = lines(child.stderr.take().expect("stderr is piped"), ears.clone());
        let access = lines(child.stdout.take().expect("stdout is piped"), ears.clone());
        let mut leeboard = Self { child, config: folder, log, access, ears, ports: BTreeMap::new() };
        leeboard.logged(" ready").await;
        let listening: Vec<String> =
            leeboard.log.borrow().iter().filter(|line| line.contains(" listening ")).cloned().collect();
        for line in listening {
            let address = word(&line, "address=").parse().expect("the log tells an address");
            leeboard.ports.insert(word(&line, "kind=").to_owned(), address);
        }
        leeboard
    }

    /// Where it listens: `outbound`, `inbound`, `admin`, `status`.
    pub(crate) fn port(&self, kind: &str) -> SocketAddr {
        self.ports[kind]
    }

    /// A new connection to its outbound listener.
    pub(crate) async fn dial(&self) -> Wire {
        Wire::to(self.port("outbound")).await
    }

    /// Sends one request on a connection of its own, and reads the answer.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        self.ask_at("outbound", request).await
    }

    /// The same at another listener.
    pub(crate) async fn ask_at(&self, kind: &str, request: impl AsRef<[u8]>) -> Message {
        let mut wire = Wire::to(self.port(kind)).await;
        wire.send(request).await.expect("the request is taken");
        soon("an answer", wire.response()).await.expect("an answer and not the connection's end")
    }

    /// An admin page.
    pub(crate) async fn page(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.ask_at("admin", request).await.text()
    }

    /// The sum of a metric's samples that have all of these labels, written `name="value"`; `None` when there are none.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let page = self.page("/stats/prometheus").await;
        let samples = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|sum, value| sum + value)
    }

    /// Waits until a metric has a value.
    pub(crate) async fn metric_becomes(&self, name: &str, labels: &[&str], value: f64) {
        let becomes = until("a metric", || async { self.metric(name, labels).await == Some(value) });
        if tokio::time::timeout(DEADLINE / 2, becomes).await.is_err() {
            let page = self.page("/stats/prometheus").await;
            let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(name)).collect();
            panic!("{name}{labels:?} never becomes {value}: {lines:#?}");
        }
    }

    /// What `/clusters` says of a cluster.
    pub(crate) async fn cluster(&self, name: &str) -> Json {
        let page: Json = serde_json::from_str(&self.page("/clusters?format=json").await).expect("the page is JSON");
        let all = page["cluster_statuses"].as_array().expect("an array of clusters");
        all.iter().find(|cluster| cluster["name"] == name).unwrap_or_else(|| panic!("no {name} in {page}")).clone()
    }

    /// Waits until the cluster has given back all its places.
    pub(crate) async fn at_rest(&self, cluster: &str) {
        until(&format!("{cluster} has nothing in flight"), || async {
            let status = self.cluster(cluster).await;
            let limits = status["leeboard"]["limits"].as_array().expect("an array of limits").clone();
            limits.iter().filter(|limit| limit["limit"] != "connections").all(|limit| limit["taken"] == 0)
                && self.metric("leeboard_upstream_requests_active", &[&format!("cluster=\"{cluster}\"")]).await
                    == Some(0.0)
        })
        .await;
    }

    /// Waits for a line of its log that has this in it.
    pub(crate) async fn logged(&mut self, text: &str) {
        let (what, mut log) = (format!("{text:?} in the log"), self.log.clone());
        let found = log.wait_for(|lines| lines.iter().any(|line| line.contains(text)));
        soon(&what, found).await.expect("the program lives");
    }

    /// Waits for the access log's record of a path.
    pub(crate) async fn record(&self, path: &str) -> Json {
        self.records(path, 1).await.remove(0)
    }

    /// Waits for so many records of a path.
    pub(crate) async fn records(&self, path: &str, count: usize) -> Vec<Json> {
        let mut access = self.access.clone();
        let of_path = |lines: &Vec<String>| -> Vec<Json> {
            let parsed = lines.iter().map(|line| serde_json::from_str::<Json>(line).expect("a record is JSON"));
            parsed.filter(|record| record["path"] == path).collect()
        };
        let what = format!("{count} records of {path}");
        let lines = soon(&what, access.wait_for(|lines| of_path(lines).len() >= count)).await;
        of_path(&lines.expect("the program lives"))
    }

    /// Waits for the record that has this value in a field.
    pub(crate) async fn record_of(&self, field: &str, value: &str) -> Json {
        let mut access = self.access.clone();
        let found = |lines: &Vec<String>| {
            let parsed = lines.iter().rev().filter(|line| line.contains(value));
            let mut parsed = parsed.map(|line| serde_json::from_str::<Json>(line).expect("a record is JSON"));
            parsed.find(|record| record[field] == value)
        };
        let lines = soon("a record", access.wait_for(|lines| found(lines).is_some())).await;
        found(&lines.expect("the program lives")).expect("it was found")
    }

    /// Waits for so many records of whatever path; they are in the order in which their exchanges ended.
    pub(crate) async fn all_records(&self, count: usize) -> Vec<Json> {
        let mut access = self.access.clone();
        let lines = soon("the records", access.wait_for(|lines| lines.len() >= count)).await;
        let lines = lines.expect("the program lives");
        lines.iter().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    /// Replaces its configuration the way editors do: a new file takes the old one's name.
    pub(crate) fn edit(&self, config: &str) {
        let draft = self.folder().join(".draft");
        std::fs::write(&draft, config).expect("the folder can be written to");
        std::fs::rename(&draft, self.folder().join("config.yaml")).expect("a file can be renamed");
    }

    /// From here on nobody reads what it writes on standard output and standard error, and both pipes are full.
    pub(crate) async fn deafen(&self) {
        self.ears.deaf.store(true, Ordering::SeqCst);
        let mut pipes = [1, 2].map(|number| {
            let path = format!("/proc/{}/fd/{number}", self.child.id());
            let flags = nix::libc::O_NONBLOCK;
            OpenOptions::new().append(true).custom_flags(flags).open(path).expect("a pipe can be opened once more")
        });
        // Each reader is woken by a last line.
        for pipe in &mut pipes {
            pipe.write_all(b"\n").expect("the pipe has room");
        }
        until("nobody reads", || async { self.ears.covered.lock().unwrap().len() == pipes.len() }).await;
        for pipe in &mut pipes {
            while pipe.write(&[b'.'; 512]).is_ok() {}
            while pipe.write(b".").is_ok() {}
        }
    }

    /// Its folder of configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.config.path()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("the process is there");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().expect("the process can be waited for");
            let over = status.is_some();
            async move { over }
        })
        .await;
        status.expect("it has ended")
    }
}

impl Drop for Leeboard {
    fn drop(&mut self) {
        // It may have ended by itself, as it should in some tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.log.borrow().iter().chain(self.access.borrow().iter()) {
                eprintln!("leeboard: {line}");
            }
        }
    }
}

fn word<'l>(line: &'l str, name: &str) -> &'l str {
    let after = line.split(name).nth(1).unwrap_or_default();
    after.split(' ').next().unwrap_or_default().trim_matches('"')
}

/// Reads lines on a thread of their own until the process closes its end, or nobody shall read any more.
fn lines(source: impl Read + Send + 'static, ears: Arc<Ears>) -> Lines {
    let (sender, receiver) = watch::channel(Vec::new());
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        for line in source.by_ref().lines().map_while(Result::ok) {
            sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
            if ears.deaf.load(Ordering::SeqCst) {
                return ears.covered.lock().unwrap().push(Box::new(source));
            }
        }
    });
    receiver
}
