//! Large bodies, one way or the other: as many connections as asked for, each carrying one body after another.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Accounts, seconds};
use crate::bytes::{self, Drain, FILLER, Spring};
use crate::{http1, procfs};

/// A body that stands still for so long has failed.
const STALL: Duration = Duration::from_secs(20);
const HEAD: usize = 16 * 1024;
/// The most bytes that are read and compared before the measurement.
const VERIFIED: u64 = 1024 * 1024;

/// What to carry, and for how long.
#[derive(Args, Clone)]
pub(crate) struct BulkArgs {
    /// Where to connect.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// The `Host` header.
    #[arg(long)]
    pub(crate) host: String,
    /// Bytes of each body.
    #[arg(long)]
    pub(crate) length: u64,
    /// To the upstream instead of from it.
    #[arg(long)]
    pub(crate) upload: bool,
    /// Bodies under way at once.
    #[arg(long)]
    pub(crate) connections: usize,
    /// No body is begun after these seconds, and one is carried at least.
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Process whose tree is accounted as the proxy.
    #[arg(long)]
    pub(crate) proxy: Option<u32>,
    /// Process whose tree is accounted as the upstream.
    #[arg(long)]
    pub(crate) upstream: u32,
}

impl BulkArgs {
    /// The command line that is read as these arguments.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let Self { target, host, length, connections, seconds, upstream, .. } = self;
        let mut line = format!(
            "bulk --target {target} --host {host} --length {length} --connections {connections} --seconds {seconds} \
             --upstream {upstream}"
        );
        if self.upload {
            line += " --upload";
        }
        if let Some(proxy) = self.proxy {
            line += &format!(" --proxy {proxy}");
        }
        line.split_whitespace().map(str::to_owned).collect()
    }
}

/// What was carried, and at what cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BulkReport {
    /// Bytes of whole bodies.
    pub(crate) bytes: u64,
    /// From the first body's beginning to the last one's end.
    pub(crate) seconds: f64,
    /// Bodies that were not carried, or not whole.
    pub(crate) errors: u64,
    /// What the first of them saw.
    pub(crate) first_error: Option<String>,
    /// CPU time, in seconds.
    pub(crate) proxy_cpu: f64,
    pub(crate) load_cpu: f64,
    pub(crate) upstream_cpu: f64,
    pub(crate) other_cpu: f64,
    /// Resident memory of the proxy before, and its peak meanwhile, in KiB.
    pub(crate) before_kib: u64,
    pub(crate) peak_kib: u64,
}

/// Carries, and prints the report as one line of JSON.
pub(crate) fn run(args: &BulkArgs) -> io::Result<()> {
    verify(args)?;
    if let Some(proxy) = args.proxy {
        procfs::reset_peak_of_tree(proxy)?;
    }
    let before = Accounts::of(args.proxy, args.upstream)?;
    let begin = Instant::now();
    let carriers: Vec<_> = (0..args.connections)
        .map(|_| {
            let args = args.clone();
            thread::spawn(move || carry_all(&args, begin))
        })
        .collect();
    let mut report = BulkReport { before_kib: before.proxy.rss_kib, ..BulkReport::default() };
    for carrier in carriers {
        let (bytes, error) = carrier.join().map_err(|_| io::Error::other("a carrier panicked"))?;
        report.bytes += bytes;
        if let Some(error) = error {
            report.errors += 1;
            report.first_error.get_or_insert(error.to_string());
        }
    }
    report.seconds = begin.elapsed().as_secs_f64();
    let after = Accounts::of(args.proxy, args.upstream)?;
    report.peak_kib = args.proxy.map(procfs::peak_of_tree).transpose()?.unwrap_or(0);
    let used = after.since(&before);
    (report.proxy_cpu, report.load_cpu) = (used.proxy.cpu_seconds, used.load);
    (report.upstream_cpu, report.other_cpu) = (used.upstream, used.others());
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
}

/// Carries one body after another; the bytes of whole ones, and what ended it early.
fn carry_all(args: &BulkArgs, begin: Instant) -> (u64, Option<io::Error>) {
    let mut carried = 0;
    let mut carrier = match Carrier::open(args) {
        Ok(carrier) => carrier,
        Err(error) => return (0, Some(error)),
    };
    loop {
        match if args.upload { carrier.upload(args) } else { carrier.download(args) } {
            Ok(()) => carried += args.length,
            Err(error) => return (carried, Some(error)),
        }
        if begin.elapsed() >= seconds(args.seconds) {
            return (carried, None);
        }
    }
}

struct Carrier {
    stream: TcpStream,
    spring: Spring,
    drain: Drain,
}

impl Carrier {
    fn open(args: &BulkArgs) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&args.target, STALL)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_write_timeout(Some(STALL))?;
        Ok(Self { stream, spring: Spring::new()?, drain: Drain::new() })
    }

    fn download(&mut self, args: &BulkArgs) -> io::Result<()> {
        let path = bytes::path(args.length);
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", args.host)?;
        let (body, begun) = self.answer()?;
        if body != args.length {
            return Err(io::Error::other(format!("a body of {body} bytes, not {}", args.length)));
        }
        self.discard(body - begun.len() as u64)
    }

    fn upload(&mut self, args: &BulkArgs) -> io::Result<()> {
        let (host, length) = (&args.host, args.length);
        write!(self.stream, "PUT /upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")?;
        let mut remaining = length;
        while remaining > 0 {
            remaining -= self.spring.send(&self.stream, remaining)?;
        }
        // The upstream answers when it has all of it.
        let (body, begun) = self.answer()?;
        self.discard(body - begun.len() as u64)
    }

    /// The length of a good answer's body, and what has arrived of it.
    fn answer(&mut self) -> io::Result<(u64, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut chunk = [0; HEAD];
        loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::Error::other("the connection was closed"));
            }
            bytes.extend_from_slice(&chunk[..count]);
            let head = http1::head(&bytes).map_err(|malformed| io::Error::other(format!("{malformed:?}")))?;
            let Some(head) = head else {
                continue;
            };
            let begun = bytes.split_off(head.length);
            return match http1::status(&bytes) {
                Some(200) if begun.len() <= head.body => Ok((head.body as u64, begun)),
                status => Err(io::Error::other(format!("status {status:?}"))),
            };
        }
    }

    fn discard(&mut self, mut remaining: u64) -> io::Result<()> {
        while remaining > 0 {
            match self.drain.take(&self.stream, remaining)? {
                0 => return Err(io::Error::other(format!("the connection was closed {remaining} bytes early"))),
                count => remaining -= count,
            }
        }
        Ok(())
    }
}

/// Reads one body as it is: later ones are only counted.
fn verify(args: &BulkArgs) -> io::Result<()> {
    let length = args.length.min(VERIFIED);
    let args = BulkArgs { length, ..args.clone() };
    let mut carrier = Carrier::open(&args)?;
    write!(carrier.stream, "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", bytes::path(length), args.host)?;
    let (body, begun) = carrier.answer()?;
    let mut rest = vec![0; body as usize - begun.len()];
    carrier.stream.read_exact(&mut rest)?;
    if body == length && begun.iter().chain(&rest).all(|&byte| byte == FILLER) {
        Ok(())
    } else {
        Err(io::Error::other("the body is not what the upstream sent"))
    }
}
