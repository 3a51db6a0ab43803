//! What is compared: one row per peer, one file per proxy.

mod bare;
mod catalogue;
mod envoy;
mod haproxy;
mod leeboard;
mod nginx;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::certificate::Certificate;
use crate::process::CommandLine;
pub(crate) use catalogue::{GENERATION, Layout};

/// The service that the load asks for: what a proxy routes by.
pub(crate) const HOST: &str = "bench.default.svc.cluster.local";
/// The service's port, part of the `Host` header. Nothing listens on it.
pub(crate) const SERVICE_PORT: u16 = 8080;
/// The path that the load asks for. It reaches the last of the ten rules.
pub(crate) const PATH: &str = "/api/v1/items/42";

/// One thing to measure.
pub(crate) struct Peer {
    /// Its name on the command line and in the tables.
    pub(crate) name: &'static str,
    /// What it is and how it is set up.
    pub(crate) about: &'static str,
    /// How to get it when it is missing.
    pub(crate) get: &'static str,
    /// Finds its program.
    pub(crate) locate: fn(&Places) -> Option<PathBuf>,
    /// The arguments that make the program print its version; empty when it has none of its own.
    pub(crate) version: &'static [&'static str],
    /// Writes its configuration and says how to start it.
    pub(crate) prepare: fn(&Site<'_>) -> io::Result<Launch>,
    /// Writes a configuration that is to replace the one it runs with, if it watches for that.
    pub(crate) rewrite: Option<fn(&Site<'_>) -> io::Result<Rewrite>>,
}

/// A configuration that is written, and takes effect when it is renamed.
pub(crate) struct Rewrite {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

/// All peers, in the order of the tables.
pub(crate) const PEERS: &[Peer] = &[
    bare::DIRECT,
    bare::RELAY,
    leeboard::PLAIN,
    leeboard::MESH,
    leeboard::LOGGING,
    haproxy::PEER,
    nginx::PEER,
    envoy::PEER,
    envoy::LOGGING,
];

/// Where the command line says that programs are; the others are looked for.
#[derive(Default)]
pub(crate) struct Places {
    pub(crate) leeboard: Option<PathBuf>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
    pub(crate) envoy: Option<PathBuf>,
}

/// What is spoken to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1, to the upstream too.
    Http1,
    /// HTTP/2 without TLS and without an upgrade, to the upstream too where the peer can.
    Http2,
    /// HTTP/1.1 over TLS 1.3, in the clear to the upstream.
    Tls,
}

impl Protocol {
    /// Its name on the load's command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Tls => "tls",
        }
    }
}

/// What a suite needs of every peer, beyond HTTP/1.1 for one service.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// What clients speak.
    pub(crate) protocol: Protocol,
    /// Threads that carry traffic.
    pub(crate) workers: usize,
    /// Whether the proxy may use the load's core beside its own.
    pub(crate) both_cores: bool,
    /// Connections of clients that are open at once.
    pub(crate) connections: usize,
    /// How much configuration.
    pub(crate) layout: Layout,
    /// Which edition of it: a header of every answer says so.
    pub(crate) generation: Option<u64>,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            workers: 1,
            both_cores: false,
            connections: 4000,
            layout: Layout::Own,
            generation: None,
        }
    }
}

/// What a peer is told when it is set up.
pub(crate) struct Site<'a> {
    /// Its program.
    pub(crate) binary: &'a Path,
    /// An empty folder of its own.
    pub(crate) dir: &'a Path,
    /// The one endpoint of the service.
    pub(crate) upstream: SocketAddr,
    /// What it shows if it terminates TLS.
    pub(crate) certificate: &'a Certificate,
    /// What the suite is about.
    pub(crate) needs: &'a Needs,
}

/// How a peer runs.
pub(crate) enum Launch {
    /// No process at all: the load goes to the upstream.
    Nothing,
    /// A process that was told its address.
    At(SocketAddr, CommandLine),
    /// A process that announces `listening kind=… address=…` on its standard error.
    Announced(&'static str, CommandLine),
    /// The peer cannot do what the suite needs, and why.
    Unable(&'static str),
}

/// The peer of that name.
pub(crate) fn find(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// The version that a program prints, or an empty string.
pub(crate) fn version(peer: &Peer, binary: &Path) -> String {
    if peer.version.is_empty() {
        return String::new();
    }
    let Ok(output) = Command::new(binary).args(peer.version).output() else {
        return String::new();
    };
    if !output.status.success() {
        return String::new();
    }
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(|line| line.rsplit("  version: ").next().unwrap_or(line).to_owned())
        .unwrap_or_default()
}

/// Why peers that only forward have no part in suites about routes.
const ONLY_FORWARDS: &str = "it only forwards here, and has no routes to compare";

/// A port that is free now. Only for peers that cannot choose one themselves.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The given path if it is a program, else the first of that name in `PATH` or the system's folders.
fn program(given: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
    if let Some(path) = given {
        return std::path::absolute(path).ok().filter(|path| executable(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn peers_have_names_of_their_own() {
        let names: BTreeSet<_> = PEERS.iter().map(|peer| peer.name).collect();
        assert_eq!(names.len(), PEERS.len());
        assert_eq!(find("relay").map(|peer| peer.name), Some("relay"));
        assert!(find("squid").is_none());
    }

    #[test]
    fn a_given_path_is_not_searched_for() {
        let nowhere = PathBuf::from("/nonexistent/sh");
        assert_eq!(program(Some(&nowhere), "sh"), None);
        assert!(program(None, "sh").is_some());
        assert_eq!(program(None, "no-such-program-anywhere"), None);
    }
}
