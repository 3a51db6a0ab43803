//! The load generator: one thread, epoll, a closed loop (as fast as answers come) or an open loop (at a fixed rate).

pub(crate) mod bulk;
mod closed;
mod fleet;
mod http1;
mod http2;
pub(crate) mod idle;
mod open;
mod stream;

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::epoll::EpollEvent;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::peers::Protocol;
use crate::procfs::{self, Usage};
use fleet::{Fleet, News};
use http1::Http1Fleet;
use http2::Http2Fleet;

/// A run with more failed requests than this is given up.
const TOO_MANY_ERRORS: u64 = 1000;
/// How many events are taken from the kernel at once.
const MOST_EVENTS: usize = 1024;

/// What to send, how, and whose CPU to account.
#[derive(Args, Clone)]
pub(crate) struct LoadArgs {
    /// Where to connect.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// The `Host` header.
    #[arg(long)]
    pub(crate) host: String,
    /// The path.
    #[arg(long)]
    pub(crate) path: String,
    /// Bytes that every answer's body must have.
    #[arg(long)]
    pub(crate) body: usize,
    /// Keep-alive connections, all opened before the first request.
    #[arg(long)]
    pub(crate) connections: usize,
    /// What is spoken to the proxy.
    #[arg(long)]
    pub(crate) protocol: Protocol,
    /// Requests under way at once on one connection of HTTP/2.
    #[arg(long)]
    pub(crate) streams: usize,
    /// Each request on a connection of its own.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Addresses of the loopback that connections come from, in turns.
    #[arg(long, default_value_t = 1)]
    pub(crate) sources: usize,
    /// Requests to send in turns instead of always the same: a line for each, host, path and one header.
    #[arg(long)]
    pub(crate) mix: Option<PathBuf>,
    /// The certificate to trust, in a PEM file; with it, connections of HTTP/1.1 are made over TLS.
    #[arg(long)]
    pub(crate) trust: Option<PathBuf>,
    /// Calls in the shape of gRPC; `body` is then the length of the message.
    #[arg(long)]
    pub(crate) grpc: bool,
    /// Requests per second (open loop). Without it, each connection sends as soon as it is answered (closed loop).
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Seconds of load before the measured window.
    #[arg(long)]
    pub(crate) warmup: f64,
    /// Seconds of the measured window.
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Process whose tree is accounted as the proxy.
    #[arg(long)]
    pub(crate) proxy: Option<u32>,
    /// Process whose tree is accounted as the upstream.
    #[arg(long)]
    pub(crate) upstream: u32,
}

impl LoadArgs {
    /// The command line that is read as these arguments.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let Self {
            target, host, path, body, connections, protocol, streams, sources, warmup, seconds, upstream, ..
        } = self;
        let protocol = protocol.name();
        let line = format!(
            "load --target {target} --host {host} --path {path} --body {body} --connections {connections} \
             --protocol {protocol} --streams {streams} --sources {sources} --warmup {warmup} --seconds {seconds} --upstream {upstream}"
        );
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        for (flag, given) in [("--grpc", self.grpc), ("--fresh", self.fresh)] {
            words.extend(given.then(|| flag.to_owned()));
        }
        for (flag, value) in
            [("--rate", self.rate.map(|v| v.to_string())), ("--proxy", self.proxy.map(|v| v.to_string()))]
        {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        for (flag, path) in [("--mix", &self.mix), ("--trust", &self.trust)] {
            words.extend(path.iter().flat_map(|path| [flag.to_owned(), path.display().to_string()]));
        }
        words
    }
}

/// What one run of load saw in its window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Requests answered well within the window.
    pub(crate) answered: u64,
    /// Length of the window, in seconds.
    pub(crate) seconds: f64,
    /// Requests that got no answer, or a wrong one, from the first connection on.
    pub(crate) errors: u64,
    /// What the first of them saw.
    pub(crate) first_error: Option<String>,
    /// Requests of the open loop that were due and still unsent when the run was given up.
    pub(crate) unserved: u64,
    /// Latency in microseconds; in the open loop from the moment the request was due.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    /// CPU time in the window, in seconds.
    pub(crate) proxy_cpu: f64,
    pub(crate) upstream_cpu: f64,
    pub(crate) load_cpu: f64,
    /// CPU time of everything else on the machine in the window, in seconds.
    pub(crate) other_cpu: f64,
    /// Resident memory of the proxy at the end of the window, connections open, in KiB.
    pub(crate) proxy_rss_kib: u64,
}

/// Makes the load and prints the report as one line of JSON.
pub(super) fn run(args: &LoadArgs) -> io::Result<()> {
    let report = match args.protocol {
        Protocol::Http1 | Protocol::Tls => drive(args, Http1Fleet::open(args)?)?,
        Protocol::Http2 => drive(args, Http2Fleet::open(args)?)?,
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
}

fn drive(args: &LoadArgs, mut fleet: impl Fleet) -> io::Result<LoadReport> {
    let mut tally = Tally::new(args);
    match args.rate {
        Some(rate) => open::drive(args, rate, &mut fleet, &mut tally)?,
        None => closed::drive(args, &mut fleet, &mut tally)?,
    }
    tally.report()
}

/// Sends one request on a connection of its own; an error unless the answer comes within `limit` and is right.
pub(crate) fn ask(args: &LoadArgs, limit: Duration) -> io::Result<()> {
    let args = LoadArgs { connections: 1, streams: 1, ..args.clone() };
    match args.protocol {
        Protocol::Http1 | Protocol::Tls => ask_on(Http1Fleet::open(&args)?, limit),
        Protocol::Http2 => ask_on(Http2Fleet::open(&args)?, limit),
    }
}

fn ask_on(mut fleet: impl Fleet, limit: Duration) -> io::Result<()> {
    let failed = |fault: fleet::Fault| io::Error::other(fault.to_string());
    let begin = Instant::now();
    let mut news = Vec::new();
    fleet.send(0, begin).map_err(failed)?;
    while begin.elapsed() < limit {
        fleet.flush(&mut news)?;
        if news.is_empty() && fleet.epoll().wait(&mut [EpollEvent::empty()], 100_u16)? > 0 {
            fleet.receive(0, &mut news)?;
        }
        match news.pop() {
            Some(News::Answer { .. }) => return Ok(()),
            Some(News::Failed { fault, .. }) => return Err(failed(fault)),
            None => {}
        }
    }
    Err(io::Error::other("no answer"))
}

/// Counts and times of one run.
struct Tally<'a> {
    args: &'a LoadArgs,
    latency: Histogram,
    answered: u64,
    errors: u64,
    first_error: Option<String>,
    unserved: u64,
    from: Option<(Instant, Accounts)>,
    to: Option<(Instant, Accounts)>,
}

impl<'a> Tally<'a> {
    fn new(args: &'a LoadArgs) -> Self {
        Self {
            args,
            latency: Histogram::new(),
            answered: 0,
            errors: 0,
            first_error: None,
            unserved: 0,
            from: None,
            to: None,
        }
    }

    /// Takes the accounts that open the window. Answers count from now on.
    fn open_window(&mut self) -> io::Result<()> {
        let accounts = Accounts::of(self.args.proxy, self.args.upstream)?;
        self.from = Some((Instant::now(), accounts));
        Ok(())
    }

    /// Takes the accounts that close the window.
    fn close_window(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.to = Some((now, Accounts::of(self.args.proxy, self.args.upstream)?));
        Ok(())
    }

    fn window_is_open(&self) -> bool {
        self.from.is_some() && self.to.is_none()
    }

    fn answer(&mut self) {
        if self.window_is_open() {
            self.answered += 1;
        }
    }

    /// Counts a failed request; an error when there are too many to go on.
    fn error(&mut self, reason: String) -> io::Result<()> {
        self.errors += 1;
        let first = self.first_error.get_or_insert(reason);
        if self.errors > TOO_MANY_ERRORS {
            return Err(io::Error::other(format!("more than {TOO_MANY_ERRORS} failed requests; the first: {first}")));
        }
        Ok(())
    }

    fn report(self) -> io::Result<LoadReport> {
        let (Some((begin, before)), Some((end, after))) = (self.from, self.to) else {
            return Err(io::Error::other("the load ended before its window"));
        };
        let used = after.since(&before);
        Ok(LoadReport {
            answered: self.answered,
            seconds: (end - begin).as_secs_f64(),
            errors: self.errors,
            first_error: self.first_error,
            unserved: self.unserved,
            p50_us: self.latency.quantile_us(0.5),
            p99_us: self.latency.quantile_us(0.99),
            p999_us: self.latency.quantile_us(0.999),
            max_us: self.latency.quantile_us(1.0),
            proxy_cpu: used.proxy.cpu_seconds,
            upstream_cpu: used.upstream,
            load_cpu: used.load,
            other_cpu: used.others(),
            proxy_rss_kib: after.proxy.rss_kib,
        })
    }
}

/// CPU clocks at one moment, in seconds.
struct Accounts {
    proxy: Usage,
    upstream: f64,
    load: f64,
    machine: f64,
}

impl Accounts {
    fn of(proxy: Option<u32>, upstream: u32) -> io::Result<Self> {
        Ok(Self {
            proxy: proxy.map(procfs::usage_of_tree).transpose()?.unwrap_or_default(),
            upstream: procfs::usage_of_tree(upstream)?.cpu_seconds,
            load: procfs::usage_of_tree(std::process::id())?.cpu_seconds,
            machine: procfs::machine_busy_seconds()?,
        })
    }

    /// What was used since an earlier moment; memory is that of now.
    fn since(&self, before: &Self) -> Self {
        let proxy = Usage { cpu_seconds: self.proxy.cpu_seconds - before.proxy.cpu_seconds, ..self.proxy };
        Self {
            proxy,
            upstream: self.upstream - before.upstream,
            load: self.load - before.load,
            machine: self.machine - before.machine,
        }
    }

    /// What everything else on the machine used. Its clock is sampled and the processes' is exact, so the difference may come
    /// out below zero.
    fn others(&self) -> f64 {
        (self.machine - self.proxy.cpu_seconds - self.upstream - self.load).max(0.0)
    }
}

/// The bytes of every request, the same for every peer.
fn requests(args: &LoadArgs) -> io::Result<Vec<Vec<u8>>> {
    let Some(path) = &args.mix else {
        return Ok(vec![request(&args.host, &args.path, "")]);
    };
    let mut requests = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        let [host, path, header] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(io::Error::other(format!("not host, path and header: {line}")));
        };
        requests.push(request(host, path, &format!("{header}\r\n")));
    }
    if requests.is_empty() { Err(io::Error::other("the mix is empty")) } else { Ok(requests) }
}

fn request(host: &str, path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: leeboard-wire\r\nAccept: */*\r\n{more}\r\n")
        .into_bytes()
}

fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.max(0.0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Arguments for a short run against `target`.
    pub(super) fn arguments(target: SocketAddr, rate: Option<f64>) -> LoadArgs {
        LoadArgs {
            target,
            host: "bench".into(),
            path: "/".into(),
            body: 5,
            connections: 3,
            protocol: Protocol::Http1,
            streams: 1,
            grpc: false,
            fresh: false,
            sources: 1,
            mix: None,
            trust: None,
            rate,
            warmup: 0.0,
            seconds: 0.2,
            proxy: None,
            upstream: std::process::id(),
        }
    }

    #[test]
    fn a_command_line_is_read_as_what_it_says() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: LoadArgs,
        }
        let target = "127.0.0.1:1".parse().expect("an address");
        let plain = LoadArgs { mix: Some("/tmp/mix".into()), ..arguments(target, None) };
        let full = LoadArgs {
            rate: Some(0.5),
            proxy: Some(7),
            grpc: true,
            fresh: true,
            protocol: Protocol::Http2,
            ..plain.clone()
        };
        for args in [plain, full] {
            let line = args.command_line();
            let read = <Line as clap::Parser>::try_parse_from(&line).expect("a valid line").args;
            assert_eq!(read.command_line(), line);
            assert_eq!((read.rate, read.proxy, read.grpc, read.fresh), (args.rate, args.proxy, args.grpc, args.fresh));
        }
    }

    #[test]
    fn a_mix_is_one_request_a_line() {
        let path = std::env::temp_dir().join(format!("leeboard-wire-mix-{}", std::process::id()));
        let mut args = arguments("127.0.0.1:1".parse().expect("an address"), None);
        args.mix = Some(path.clone());
        for (text, count) in [("a:1 /x t:1\nb:1 /y t:2\n", Some(2)), ("a:1 /x\n", None), ("", None)] {
            fs::write(&path, text).expect("a writable folder");
            assert_eq!(requests(&args).ok().map(|requests| requests.len()), count, "{text}");
        }
        fs::remove_file(&path).expect("it is there");
        let expected = "GET /y HTTP/1.1\r\nHost: b:1\r\nUser-Agent: leeboard-wire\r\nAccept: */*\r\nt:2\r\n\r\n";
        assert_eq!(request("b:1", "/y", "t:2\r\n"), expected.as_bytes());
    }

    #[test]
    fn too_many_errors_end_the_run_and_name_the_first() {
        let args = arguments("127.0.0.1:1".parse().expect("an address"), None);
        let mut tally = Tally::new(&args);
        for n in 0..TOO_MANY_ERRORS {
            tally.error(format!("error {n}")).expect("not too many yet");
        }
        let error = tally.error("last".into()).expect_err("one too many");
        assert!(error.to_string().contains("error 0"), "{error}");
    }

    #[test]
    fn a_run_without_a_window_has_no_report() {
        let args = arguments("127.0.0.1:1".parse().expect("an address"), None);
        assert!(Tally::new(&args).report().is_err());
    }
}
