//! The whole program on a configuration: until it is ready, what it holds, and a reload as a client sees it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::mesh::{FIRST_STATUS, Mesh, PROBE, probe};

/// Reloads per configuration.
const RELOADS: usize = 5;
/// How long the program is left alone until its memory is looked at.
const SETTLING: Duration = Duration::from_secs(6);
/// What takes longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// What was measured.
pub(crate) struct Figures {
    /// Milliseconds from the start of the process until it says that it is ready.
    pub(crate) ready: f64,
    /// Resident memory then, in 10^6 bytes.
    pub(crate) rss: f64,
    /// The most that it has been until then.
    pub(crate) peak: f64,
    /// Resident memory when what the start took has been given back.
    pub(crate) settled: f64,
    /// Milliseconds from a change of a file until a request sees it, in the median of the reloads.
    pub(crate) reload: f64,
    /// The longest that a client which asks all the time has waited for an answer meanwhile, in milliseconds.
    pub(crate) longest: f64,
    /// Resident memory when what the reloads took has been given back.
    pub(crate) rss_after: f64,
    /// The most that resident memory has been, reloads included.
    pub(crate) peak_after: f64,
}

/// Starts the program at `binary` on a configuration, and reloads it under load.
pub(crate) fn measure(binary: &Path, mesh: &Mesh) -> io::Result<Figures> {
    let folder = Folder::new()?;
    mesh.write(&folder.0)?;
    let began = Instant::now();
    let proxy = Proxy::start(binary, &folder.0)?;
    proxy.wait_for(" ready")?;
    let ready = began.elapsed().as_secs_f64() * 1e3;
    let (rss, peak) = (proxy.memory("VmRSS:")?, proxy.memory("VmHWM:")?);
    thread::sleep(SETTLING);
    let settled = proxy.memory("VmRSS:")?;
    let mut client = Client::connect(proxy.outbound)?;
    for _ in 0..1_000 {
        client.ask()?;
    }
    let (mut reloads, mut longest) = (Vec::new(), 0.0f64);
    for version in 1..=RELOADS {
        let (took, worst) = reload(&folder.0, version, &mut client)?;
        reloads.push(took);
        longest = longest.max(worst);
    }
    reloads.sort_by(f64::total_cmp);
    thread::sleep(SETTLING);
    let (rss_after, peak_after) = (proxy.memory("VmRSS:")?, proxy.memory("VmHWM:")?);
    Ok(Figures { ready, rss, peak, settled, reload: reloads[RELOADS / 2], longest, rss_after, peak_after })
}

/// Changes what the probe answers, and asks until the answer is the new one and for a while longer.
fn reload(folder: &Path, version: usize, client: &mut Client) -> io::Result<(f64, f64)> {
    let hidden = folder.join(".probe");
    fs::write(&hidden, probe(version))?;
    let began = Instant::now();
    fs::rename(hidden, folder.join("probe.yaml"))?;
    let (mut took, mut worst) = (None, 0.0f64);
    while took.is_none() || began.elapsed() < Duration::from_millis(1_500) {
        let asked = Instant::now();
        let status = client.ask()?;
        worst = worst.max(asked.elapsed().as_secs_f64() * 1e3);
        if usize::from(status) == FIRST_STATUS + version {
            took.get_or_insert(began.elapsed().as_secs_f64() * 1e3);
        }
        if began.elapsed() > LIMIT {
            return Err(io::Error::other("the reload is not seen"));
        }
    }
    Ok((took.unwrap_or_default(), worst))
}

/// A running proxy; dropping it ends it.
struct Proxy {
    child: Child,
    lines: Receiver<String>,
    outbound: SocketAddr,
}

impl Proxy {
    fn start(binary: &Path, folder: &Path) -> io::Result<Self> {
        let options = "--outbound 127.0.0.1:0 --admin off --status off --metrics off --workers 1 --access-log off \
                       --namespace shop --workload bench";
        let mut child = Command::new(binary)
            .args(["run", "--config"])
            .arg(folder)
            .args(options.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let errors = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut proxy = Self { child, lines, outbound: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = proxy.wait_for("outbound")?;
        let address = line.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
        proxy.outbound = address
            .filter_map(|word| word.parse().ok())
            .next_back()
            .ok_or_else(|| io::Error::other(format!("no address in: {line}")))?;
        Ok(proxy)
    }

    fn wait_for(&self, words: &str) -> io::Result<String> {
        loop {
            let line = self.lines.recv_timeout(LIMIT).map_err(|_| io::Error::other(format!("nothing said{words}")))?;
            if line.contains(words) {
                return Ok(line);
            }
        }
    }

    /// A size that the kernel tells of it, in 10^6 bytes.
    fn memory(&self, name: &str) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| io::Error::other(format!("no {name}")))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with one connection.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self { stream })
    }

    /// Asks the probe; its status. The answer has a length and comes in one piece or more.
    fn ask(&mut self) -> io::Result<u16> {
        write!(self.stream, "GET / HTTP/1.1\r\nhost: {PROBE}\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        while !answer.ends_with(b"\r\n\r\nok") {
            match self.stream.read(&mut piece)? {
                0 => return Err(io::Error::other("the proxy closed the connection")),
                read => answer.extend_from_slice(&piece[..read]),
            }
        }
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.ok_or_else(|| io::Error::other("an answer without status"))
    }
}

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("leeboard-compile-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
