//! The two ends of the scale: no proxy at all, and a relay that only copies bytes.

use super::{Launch, Layout, Needs, ONLY_FORWARDS, Peer, Protocol};
use crate::process::{CommandLine, open_files};

const NO_TLS: &str = "it does not terminate TLS";

pub(super) const DIRECT: Peer = Peer {
    name: "direct",
    about: "no proxy: what load and upstream do by themselves",
    get: "it is built in",
    locate: |_| std::env::current_exe().ok(),
    version: &[],
    prepare: |site| match *site.needs {
        Needs { protocol: Protocol::Tls, .. } => Ok(Launch::Unable(NO_TLS)),
        Needs { layout: Layout::Own, workers: 1, .. } => Ok(Launch::Nothing),
        Needs { layout: Layout::Own, .. } => Ok(Launch::Unable("there is no proxy that could have workers")),
        _ => Ok(Launch::Unable(ONLY_FORWARDS)),
    },
    rewrite: None,
};

pub(super) const RELAY: Peer = Peer {
    name: "relay",
    about: "bare TCP relay of the harness: the floor of any proxy process",
    get: "it is built in",
    locate: |_| std::env::current_exe().ok(),
    version: &[],
    prepare: |site| {
        if site.needs.protocol == Protocol::Tls {
            return Ok(Launch::Unable(NO_TLS));
        }
        if site.needs.workers > 1 {
            return Ok(Launch::Unable("it has one thread"));
        }
        if site.needs.layout != Layout::Own {
            return Ok(Launch::Unable(ONLY_FORWARDS));
        }
        if open_files()? < 2 * site.needs.connections as u64 {
            return Ok(Launch::Unable("it has two sockets for each connection, and the limit of open files is lower"));
        }
        let args = ["relay".to_owned(), "--to".into(), site.upstream.to_string()];
        Ok(Launch::Announced("relay", CommandLine::new(site.binary, args)))
    },
    rewrite: None,
};
