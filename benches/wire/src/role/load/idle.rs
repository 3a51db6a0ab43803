//! Idle connections: what thousands of them cost the proxy, and what it gives back when they are gone.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::epoll::{EpollEvent, EpollTimeout};
use serde::{Deserialize, Serialize};

use super::fleet::{Fleet, News};
use super::http1::Http1Fleet;
use super::{Accounts, LoadArgs, MOST_EVENTS};
use crate::procfs;

/// First requests under way at once, so that the proxy's connections to the upstream stay few.
const AT_ONCE: usize = 32;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(250);
/// Memory is back when it is no more than this share above the start.
const BACK: f64 = 0.1;

/// How many connections, and how long.
#[derive(Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Seconds that the connections rest before their memory is read.
    #[arg(long)]
    pub(crate) rest: f64,
    /// Seconds that the proxy gets to return the memory.
    #[arg(long)]
    pub(crate) release: f64,
}

/// Memory of the proxy at each stage, in KiB.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct IdleReport {
    /// Before the first connection.
    pub(crate) start_kib: u64,
    /// With every connection open, each having been answered once, and at rest.
    pub(crate) open_kib: u64,
    /// At the end, without connections.
    pub(crate) end_kib: u64,
    /// Seconds from the closing until memory was within 10 % of the start, if it was.
    pub(crate) back_seconds: Option<f64>,
    /// Requests that failed, and connections that the proxy closed while they rested.
    pub(crate) errors: u64,
    /// What the first failed request saw.
    pub(crate) first_error: Option<String>,
    /// CPU time of everything else on the machine, in seconds, until the connections had rested; and how long that was.
    pub(crate) other_cpu: f64,
    pub(crate) seconds: f64,
}

/// Opens, rests, closes, watches; prints the report as one line of JSON.
pub(crate) fn run(args: &IdleArgs) -> io::Result<()> {
    let proxy = args.load.proxy.ok_or_else(|| io::Error::other("idle connections need a proxy"))?;
    let memory = || procfs::usage_of_tree(proxy).map(|usage| usage.rss_kib);
    let mut report = IdleReport { start_kib: memory()?, ..IdleReport::default() };
    let before = Accounts::of(args.load.proxy, args.load.upstream)?;
    let begin = Instant::now();
    let mut fleet = Http1Fleet::open(&args.load)?;
    ask_each(&mut fleet, &mut report)?;
    thread::sleep(Duration::from_secs_f64(args.rest));
    report.open_kib = memory()?;
    report.other_cpu = Accounts::of(args.load.proxy, args.load.upstream)?.since(&before).others();
    report.seconds = begin.elapsed().as_secs_f64();
    // Nothing was asked, so whatever is there to be read is the end of a connection.
    let mut events = vec![EpollEvent::empty(); fleet.slots()];
    report.errors += fleet.epoll().wait(&mut events, EpollTimeout::ZERO)? as u64;
    drop(fleet);
    let closed = Instant::now();
    loop {
        report.end_kib = memory()?;
        if report.end_kib as f64 <= report.start_kib as f64 * (1.0 + BACK) {
            report.back_seconds = Some(closed.elapsed().as_secs_f64());
            break;
        }
        if closed.elapsed().as_secs_f64() >= args.release {
            break;
        }
        thread::sleep(STEP);
    }
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
}

/// One request on every connection.
fn ask_each(fleet: &mut impl Fleet, report: &mut IdleReport) -> io::Result<()> {
    let mut events = vec![EpollEvent::empty(); MOST_EVENTS];
    let mut news = Vec::new();
    let (mut next, mut under_way) = (0, 0);
    while next < fleet.slots() || under_way > 0 {
        while next < fleet.slots() && under_way < AT_ONCE {
            fleet.send(next, Instant::now()).map_err(|fault| io::Error::other(fault.to_string()))?;
            (next, under_way) = (next + 1, under_way + 1);
        }
        let ready = fleet.epoll().wait(&mut events, ANSWER_LIMIT.as_millis() as u16)?;
        if ready == 0 {
            return Err(io::Error::other(format!("{under_way} requests were not answered in {ANSWER_LIMIT:?}")));
        }
        for event in &events[..ready] {
            fleet.receive(event.data() as usize, &mut news)?;
        }
        for news in news.drain(..) {
            under_way -= 1;
            if let News::Failed { fault, .. } = news {
                report.errors += 1;
                report.first_error.get_or_insert(fault.to_string());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn each_connection_asks_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let args = LoadArgs { connections: 5, ..arguments(listener.local_addr().expect("bound"), None) };
        let server = thread::spawn(move || {
            let mut open = Vec::new();
            for number in 0..5 {
                let (mut stream, _) = listener.accept().expect("a client");
                let count = stream.read(&mut [0; 1024]).expect("a request");
                assert!(count > 0);
                let status = if number == 3 { "503 No" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nhello");
                stream.write_all(answer.as_bytes()).expect("loopback");
                open.push(stream);
            }
            // The failed one is replaced.
            open.push(listener.accept().expect("a client").0);
            (listener, open)
        });
        let mut fleet = Http1Fleet::open(&args).expect("loopback");
        let mut report = IdleReport::default();
        ask_each(&mut fleet, &mut report).expect("answered");
        let (_listener, open) = server.join().expect("no panic");
        assert_eq!(open.len(), 6);
        assert_eq!((report.errors, report.first_error.as_deref()), (1, Some("status 503")));
    }
}
