//! HAProxy: one thread, keep-alive on both sides, connections to the upstream shared.

use std::fs;
use std::io;

use super::{Launch, Layout, Needs, ONLY_FORWARDS, Peer, Protocol, Site, free_address, program};
use crate::process::CommandLine;

pub(super) const PEER: Peer = Peer {
    name: "haproxy",
    about: "HTTP mode, one thread, http-reuse always, no mesh features",
    get: "apt-get install haproxy",
    locate: |places| program(places.haproxy.as_ref(), "haproxy"),
    version: &["-v"],
    prepare,
    rewrite: None,
};

fn prepare(site: &Site<'_>) -> io::Result<Launch> {
    if site.needs.layout != Layout::Own {
        return Ok(Launch::Unable(ONLY_FORWARDS));
    }
    let address = free_address()?;
    let (upstream, Needs { workers, connections, .. }) = (site.upstream, site.needs);
    let (client, server) = match site.needs.protocol {
        Protocol::Http1 => (String::new(), ""),
        Protocol::Http2 => (" proto h2".into(), " proto h2"),
        Protocol::Tls => {
            let pem = site.certificate.both.display();
            (format!(" ssl crt {pem} alpn http/1.1 ssl-min-ver TLSv1.3"), "")
        }
    };
    let config = format!(
        "\
global
    nbthread {workers}
    maxconn {connections}
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend entry
    bind {address}{client}
    default_backend service
backend service
    server one {upstream}{server}
"
    );
    let path = site.dir.join("haproxy.cfg");
    fs::write(&path, config)?;
    let args = ["-db".into(), "-f".into(), path.into_os_string()];
    Ok(Launch::At(address, CommandLine::new(site.binary, args)))
}
