//! New configuration under load: how long until it serves, and what clients notice.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Figures, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share};
use crate::http1;
use crate::lab::{Lab, Running};
use crate::peers::{GENERATION, HOST, Layout, Needs, PATH, Peer, Rewrite, SERVICE_PORT};
use crate::role::load::{LoadArgs, LoadReport};
use crate::statistics::median;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "reload",
    about: "1,000 services of 10 routes and 2 subsets are rewritten on disk four times under an open loop of 2,000 requests/s",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("serves_ms", "serves after ms", 0, Table::Compared),
    metric("serves_most_ms", "at most ms", 0, Table::Shown),
    metric("cpu_ms", "CPU ms/reload", 0, Table::Compared),
    metric("calm_p999_us", "no reload: p99.9 µs", 0, Table::Compared),
    metric("p999_us", "reloads: p99.9 µs", 0, Table::Compared),
    metric("calm_max_us", "no reload: worst µs", 0, Table::Compared),
    metric("max_us", "reloads: worst µs", 0, Table::Compared),
    metric("rss_before_mib", "RSS before MiB", 1, Table::Shown),
    metric("rss_after_mib", "RSS after MiB", 1, Table::Shown),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "failed", 0.0),
    check("unserved", "unserved", 0.0),
];

/// How often the configuration is rewritten, and how far apart.
const EDITIONS: u64 = 4;
const GAP: Duration = Duration::from_millis(2500);
/// A new configuration that does not serve by then is given up.
const SERVES_LIMIT: Duration = Duration::from_secs(20);
/// How often it is asked for.
const STEP: Duration = Duration::from_millis(5);
const MOST_PER_SECOND: f64 = 2000.0;

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let edition = |number| Needs { layout: Layout::Services, generation: Some(number), ..Needs::default() };
    let mut running = lab.start(peer, binary, &edition(0))?;
    // Written ahead, so that making the text is no part of the load's time.
    let rewrites = (1..=EDITIONS)
        .map(|number| lab.rewrite(peer, &running, binary, &edition(number)))
        .collect::<Result<Vec<_>, Trouble>>()?;
    let length = GAP.as_secs_f64() * (EDITIONS + 1) as f64;
    let rate = Some(lab.plan.rate.min(MOST_PER_SECOND));
    let args = LoadArgs { rate, seconds: lab.plan.seconds.max(length), ..lab.load_args(&running) };
    let calm = lab.run_load(&mut running, &args)?;

    let work = lab.begin_load(&args)?;
    let begin = Instant::now() + Duration::from_secs_f64(args.warmup);
    let mut serves = Vec::new();
    for (rewrite, number) in rewrites.iter().zip(1..) {
        lab.wait((begin + GAP * number).saturating_duration_since(Instant::now()))?;
        serves.push(reload(lab, &running, rewrite, number.into())?.as_secs_f64() * 1e3);
    }
    if begin.elapsed().as_secs_f64() > args.seconds {
        return Err(Trouble::Failed(format!("{EDITIONS} reloads took longer than the load: {serves:.0?} ms")));
    }
    let reloaded: LoadReport = lab.finish(work, &mut running)?;
    Ok(tell(&calm, &reloaded, &serves))
}

/// Puts a configuration into place; how long until an answer shows it.
fn reload(lab: &Lab, running: &Running, rewrite: &Rewrite, number: u64) -> Result<Duration, Trouble> {
    let mut probe = Probe::open(running)?;
    let before = probe.ask()?;
    if before != number - 1 {
        return Err(Trouble::Failed(format!("configuration {before} serves, not {}", number - 1)));
    }
    let begin = Instant::now();
    fs::rename(&rewrite.from, &rewrite.to)?;
    let seen = lab.interrupt().poll(STEP, SERVES_LIMIT, || Ok((probe.ask()? == number).then(|| begin.elapsed())))?;
    seen.ok_or_else(|| Trouble::Failed(format!("configuration {number} does not serve after {SERVES_LIMIT:?}")))
}

/// A connection of its own that asks which configuration serves.
struct Probe(TcpStream);

impl Probe {
    fn open(running: &Running) -> io::Result<Self> {
        let stream = TcpStream::connect(running.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SERVES_LIMIT))?;
        Ok(Self(stream))
    }

    fn ask(&mut self) -> io::Result<u64> {
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: {HOST}:{SERVICE_PORT}\r\n\r\n");
        self.0.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.0.read(&mut chunk)? {
                0 => return Err(io::Error::other("the connection was closed")),
                count => bytes.extend_from_slice(&chunk[..count]),
            }
            if let Ok(Some(head)) = http1::head(&bytes)
                && bytes.len() >= head.length + head.body
            {
                return generation(&bytes[..head.length])
                    .ok_or_else(|| io::Error::other("no generation in the answer"));
            }
        }
    }
}

/// The configuration that an answer's head names.
fn generation(head: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(head).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(GENERATION).then(|| value.trim().parse().ok())?
    })
}

fn tell(calm: &LoadReport, reloaded: &LoadReport, serves: &[f64]) -> Figures {
    let mib = |kib: u64| kib as f64 / 1024.0;
    // What the same requests cost without reloads is taken off.
    let requests = calm.proxy_cpu / calm.answered.max(1) as f64 * reloaded.answered as f64;
    let mut figures = Figures::from([
        ("serves_most_ms", serves.iter().copied().fold(0.0, f64::max)),
        ("cpu_ms", 1e3 * (reloaded.proxy_cpu - requests).max(0.0) / serves.len().max(1) as f64),
        ("rss_before_mib", mib(calm.proxy_rss_kib)),
        ("rss_after_mib", mib(reloaded.proxy_rss_kib)),
        (OTHER, other_share(calm).max(other_share(reloaded))),
        ("errors", (calm.errors + reloaded.errors) as f64),
        ("unserved", (calm.unserved + reloaded.unserved) as f64),
    ]);
    let measured = [
        ("serves_ms", median(serves)),
        ("calm_p999_us", calm.p999_us),
        ("p999_us", reloaded.p999_us),
        ("calm_max_us", calm.max_us),
        ("max_us", reloaded.max_us),
    ];
    figures.extend(measured.into_iter().filter_map(|(key, value)| Some((key, value?))));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_of_an_answer() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nX-Generation: 12\r\n\r\n", Some(12)),
            ("HTTP/1.1 200 OK\r\ndate: x\r\nx-generation:3\r\n\r\n", Some(3)),
            ("HTTP/1.1 200 OK\r\nx-generation: no\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
        ] {
            assert_eq!(generation(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn a_reload_costs_what_the_requests_do_not() {
        let calm = LoadReport { answered: 1000, seconds: 1.0, proxy_cpu: 0.1, ..LoadReport::default() };
        let reloaded = LoadReport { answered: 2000, seconds: 1.0, proxy_cpu: 1.0, errors: 2, ..LoadReport::default() };
        let figures = tell(&calm, &reloaded, &[100.0, 300.0, 120.0, 80.0]);
        for (key, value) in [("serves_ms", 110.0), ("serves_most_ms", 300.0), ("cpu_ms", 200.0), ("errors", 2.0)] {
            assert!((figures[key] - value).abs() < 1e-9, "{key}: {}", figures[key]);
        }
    }
}
