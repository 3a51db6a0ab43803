//! The binary as a process: what it prints, when it reloads, how it ends. Real files, sockets and signals.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A folder of its own for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leeboard-process-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running Leeboard. It is killed if the test ends before it does.
struct Leeboard {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Leeboard {
    fn command(config: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leeboard"));
        let off = ["--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--status", "off", "--metrics", "off"];
        command.arg("run").arg("--config").arg(config).args(off).args(more);
        command.stderr(Stdio::piped()).stdin(Stdio::null());
        command
    }

    fn start(config: &Path, more: &[&str]) -> Self {
        let mut child = Self::command(config, more).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads the log up to a line that contains a text; that line.
    fn heard(&mut self, text: &str) -> String {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended before '{text}':\n{before}");
            if line.contains(text) {
                return line;
            }
            before += &line;
        }
    }

    /// The address that a listener says it has.
    fn address(&mut self, kind: &str) -> SocketAddr {
        let line = self.heard(&format!("listening kind={kind} address="));
        line.trim_end().rsplit_once("address=").unwrap().1.parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Leeboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn route(status: u16) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: [web.test]
  http:
  - directResponse: {{status: {status}}}
"
    )
}

const SERVICE: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
";

/// The status line and headers of one answer, on a connection of its own.
fn ask(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    write!(stream, "{request}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The next connection on which something is asked. A Leeboard that leaves also connects to see whether somebody is there.
fn asking(app: &TcpListener) -> TcpStream {
    loop {
        let (stream, _) = app.accept().unwrap();
        if stream.peek(&mut [0]).unwrap() > 0 {
            return stream;
        }
    }
}

/// Answers the next request that comes on a connection, once it is there.
fn answer(stream: &mut TcpStream, text: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(text.as_bytes()).unwrap();
}

fn status(outbound: SocketAddr) -> u16 {
    let answer = ask(outbound, "GET / HTTP/1.1\r\nhost: web.test");
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn it_says_what_it_could_not_do_and_ends_with_2() {
    let folder = Folder::new();
    folder.write("good.yaml", SERVICE);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (config, more, says) in [
        (folder.0.join("nothing-here"), vec![], "cannot be read"),
        (folder.0.clone(), vec!["--outbound", &*taken], "cannot listen on"),
        (folder.0.clone(), vec!["--frobnicate"], "unexpected argument"),
        (folder.0.clone(), vec!["--log-level", "a=b=c"], "log level"),
        (folder.0.clone(), vec!["--access-log", "/nowhere/at/all"], "access log"),
    ] {
        let mut command = Leeboard::command(&config, &[]);
        // A flag that is given twice is refused, so the address of the test takes the other's place.
        if more.first() == Some(&"--outbound") {
            command = Command::new(env!("CARGO_BIN_EXE_leeboard"));
            command.arg("run").arg("--config").arg(&config).args(["--admin", "off", "--status", "off"]);
        }
        let output = command.args(&more).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {text}");
        assert!(text.contains(says), "{more:?}: {text}");
    }
}

#[test]
fn every_mistake_is_told_at_the_first_start() {
    let folder = Folder::new();
    folder.write("a.yaml", &route(9999));
    folder.write("b.yaml", &format!("{SERVICE}---{}", SERVICE.replace("web}", "other}").replace("80", "eighty")));
    let places = ["a.yaml:8:", "b.yaml:16:"];
    let output = Leeboard::command(&folder.0, &["--strict-config"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for place in places {
        assert!(text.contains(place), "{place} is not in:\n{text}");
    }
    // Without the flag it serves what is good, and tells the same.
    let mut leeboard = Leeboard::start(&folder.0, &[]);
    for place in places {
        leeboard.heard(place);
    }
    let outbound = leeboard.address("outbound");
    leeboard.heard("ready");
    assert_eq!(status(outbound), 503, "the service is there, and nobody listens at its endpoint");
}

#[test]
fn help_and_version_are_no_mistakes() {
    for (args, says) in
        [(&["version"][..], "leeboard "), (&["run", "--help"], "--outbound"), (&["--version"], "leeboard ")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_leeboard")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(says), "{args:?}");
    }
}

#[test]
fn check_tells_by_its_exit_code() {
    let folder = Folder::new();
    folder.write("routes.yaml", &route(200).replace("status", "sttus"));
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let mended = folder.0.to_str().unwrap().to_owned();
    for (paths, code, says) in [
        (&[shipped][..], 0, "all is well"),
        (&[shipped, "--deny", "warnings"], 0, "all is well"),
        (&[&mended, "--format", "json"], 1, "did you mean `status`?"),
        (&["/no/such/folder"], 2, "cannot be read"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_leeboard")).arg("check").args(paths).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{paths:?}: {said}");
        assert!(said.contains(says), "{paths:?}: {said}");
    }
}

#[test]
fn edits_take_effect_and_broken_ones_do_not() {
    let folder = Folder::new();
    folder.write("service.yaml", SERVICE);
    folder.write("route.yaml", &route(410));
    let mut leeboard = Leeboard::start(&folder.0, &[]);
    let outbound = leeboard.address("outbound");
    leeboard.heard("ready");
    assert_eq!(status(outbound), 410);

    folder.write("route.yaml", &route(418));
    leeboard.heard("configuration loaded");
    assert_eq!(status(outbound), 418);

    folder.write("route.yaml", &route(9999));
    assert!(leeboard.heard("error[").contains("ERROR"));
    assert!(leeboard.heard("configuration loaded").contains("errors=1 warnings=0 kept=1"));
    assert_eq!(status(outbound), 418);

    leeboard.signal("-HUP");
    assert!(leeboard.heard("nothing has changed").contains("errors=1"));

    folder.write("route.yaml", &route(410));
    assert!(leeboard.heard("configuration loaded").contains("errors=0 warnings=0 kept=0"));
    assert_eq!(status(outbound), 410);
}

#[test]
fn a_config_map_is_followed_through_its_swap() {
    let folder = Folder::new();
    folder.write("..1/route.yaml", &format!("{SERVICE}---{}", route(410)));
    symlink("..1", folder.0.join("..data")).unwrap();
    symlink("..data/route.yaml", folder.0.join("route.yaml")).unwrap();
    let mut leeboard = Leeboard::start(&folder.0, &[]);
    let outbound = leeboard.address("outbound");
    leeboard.heard("ready");
    for (round, code) in [(2, 418), (3, 404)] {
        folder.write(&format!("..{round}/route.yaml"), &format!("{SERVICE}---{}", route(code)));
        symlink(format!("..{round}"), folder.0.join("..data_tmp")).unwrap();
        fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
        fs::remove_dir_all(folder.0.join(format!("..{}", round - 1))).unwrap();
        leeboard.heard("configuration loaded");
        assert_eq!(status(outbound), code);
    }
}

#[test]
fn it_ends_by_itself_when_what_is_in_flight_has_finished() {
    let folder = Folder::new();
    folder.write("service.yaml", SERVICE);
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let inbound = format!("127.0.0.1:0={}", app.local_addr().unwrap());
    let drain = ["--inbound", &inbound, "--min-drain-time", "0", "--drain-time", "1m"];
    let mut leeboard = Leeboard::start(&folder.0, &drain);
    let admin = leeboard.address("admin");
    let inbound = leeboard.address("inbound");
    leeboard.heard("ready");
    assert!(ask(admin, "GET /ready HTTP/1.1\r\nhost: localhost").starts_with("HTTP/1.1 200"));

    let caller = thread::spawn(move || ask(inbound, "GET /slow HTTP/1.1\r\nhost: app"));
    let (mut request, _) = app.accept().unwrap();
    leeboard.signal("-TERM");
    leeboard.heard("draining");
    assert!(ask(admin, "GET /ready HTTP/1.1\r\nhost: localhost").starts_with("HTTP/1.1 503"));
    // New callers are still served, and told to leave.
    let late = thread::spawn(move || ask(inbound, "GET /late HTTP/1.1\r\nhost: app"));
    let mut second = asking(&app);
    for stream in [&mut second, &mut request] {
        answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
    for answer in [caller.join().unwrap(), late.join().unwrap()] {
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    }
    assert!(leeboard.heard("drained").contains("cut=0"));
    assert_eq!(leeboard.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new();
    folder.write("service.yaml", SERVICE);
    let mut leeboard = Leeboard::start(&folder.0, &["--min-drain-time", "1h", "--drain-time", "1h"]);
    leeboard.heard("ready");
    leeboard.signal("-TERM");
    leeboard.heard("draining");
    leeboard.signal("-INT");
    leeboard.heard("ending at once");
    assert_eq!(leeboard.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_does_not_wait_for_callers_to_learn_of_it() {
    let folder = Folder::new();
    folder.write("service.yaml", SERVICE);
    let inbound = ["--inbound", "127.0.0.1:0=127.0.0.1:9", "--min-drain-time", "1h", "--drain-time", "1h"];
    let mut leeboard = Leeboard::start(&folder.0, &inbound);
    leeboard.heard("ready");
    leeboard.signal("-INT");
    leeboard.heard("drained");
    assert_eq!(leeboard.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_name_is_resolved_before_it_is_ready() {
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = app.local_addr().unwrap().port();
    let folder = Folder::new();
    let service = SERVICE.replace("STATIC", "DNS").replace("{address: 127.0.0.1}", "{address: localhost}");
    folder.write("service.yaml", &service.replace("protocol: HTTP", &format!("protocol: HTTP, targetPort: {port}")));
    let mut leeboard = Leeboard::start(&folder.0, &[]);
    let outbound = leeboard.address("outbound");
    leeboard.heard("ready");
    let caller = thread::spawn(move || status(outbound));
    let (mut request, _) = app.accept().unwrap();
    answer(&mut request, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(caller.join().unwrap(), 204);
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let folder = Folder::new();
    folder.write("a.yaml", &format!("{SERVICE}---{}", route(418)));
    let help = Command::new(env!("CARGO_BIN_EXE_leeboard")).args(["run", "--help"]).env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let variables: Vec<&str> =
        help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap()).collect();
    assert!(variables.contains(&"LEEBOARD_INBOUND") && variables.len() > 20, "{variables:?}");
    let mut command = Leeboard::command(&folder.0, &[]);
    let child = command.env_clear().envs(variables.iter().map(|name| (name, ""))).spawn();
    let mut child = child.unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut leeboard = Leeboard { child, log };
    let outbound = leeboard.address("outbound");
    leeboard.heard(" ready");
    let answer = ask(outbound, "GET / HTTP/1.1\r\nhost: web.test");
    assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
}
