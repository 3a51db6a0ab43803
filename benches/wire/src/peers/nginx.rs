//! nginx: one process, keep-alive on both sides.

use std::ffi::OsString;
use std::fs;
use std::io;

use super::{Launch, Layout, ONLY_FORWARDS, Peer, Protocol, Site, free_address, program};
use crate::grpc;
use crate::process::CommandLine;

pub(super) const PEER: Peer = Peer {
    name: "nginx",
    about: "one process, keep-alive upstream (HTTP/2 only for gRPC), access log off, no mesh features",
    get: "apt-get install nginx-light",
    locate: |places| program(places.nginx.as_ref(), "nginx"),
    version: &["-v"],
    prepare,
    rewrite: None,
};

fn prepare(site: &Site<'_>) -> io::Result<Launch> {
    if site.needs.layout != Layout::Own {
        return Ok(Launch::Unable(ONLY_FORWARDS));
    }
    let address = free_address()?;
    let (upstream, workers) = (site.upstream, site.needs.workers);
    // Beside those of clients there are the upstream's.
    let connections = 2 * site.needs.connections;
    let (more, listen) = match site.needs.protocol {
        Protocol::Http1 => (String::new(), ""),
        Protocol::Tls => {
            let (chain, key) = (site.certificate.chain.display(), site.certificate.key.display());
            (format!("ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;"), " ssl")
        }
        // It speaks HTTP/2 to an upstream only for gRPC.
        Protocol::Http2 => (format!("location {} {{ grpc_pass grpc://service; }}", grpc::PATH), " http2"),
    };
    let master = if workers == 1 { "off" } else { "on" };
    let config = format!(
        "\
daemon off;
master_process {master};
worker_processes {workers};
error_log stderr error;
pid nginx.pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream service {{
        server {upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address}{listen};
        {more}
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"
    );
    let path = site.dir.join("nginx.conf");
    fs::write(&path, config)?;
    // A prefix ends with a slash; the log of before the configuration is read would else be the system's.
    let mut prefix = site.dir.as_os_str().to_os_string();
    prefix.push("/");
    let args: [OsString; 6] = ["-e".into(), "stderr".into(), "-p".into(), prefix, "-c".into(), path.into_os_string()];
    Ok(Launch::At(address, CommandLine::new(site.binary, args)))
}
