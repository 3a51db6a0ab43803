//! Which replicas run, and on which ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use leeboard_apps::service::Service;

/// One replica of a service and the Leeboard beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica {
    /// Its name, such as `user-v1-a`.
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    pub(crate) version: &'static str,
    /// Its number: the last digits of its ports in [`Ports::fixed`].
    pub(crate) number: u16,
}

/// All replicas. The numbers are those that `config/services.yaml` uses in its endpoints.
pub(crate) const REPLICAS: [Replica; 10] = [
    replica("gateway", Service::Gateway, "v1", 80),
    replica("user-v1-a", Service::User, "v1", 0),
    replica("user-v1-b", Service::User, "v1", 1),
    replica("user-v2", Service::User, "v2", 2),
    replica("order", Service::Order, "v1", 10),
    replica("external-a", Service::External, "v1", 20),
    replica("external-b", Service::External, "v1", 21),
    replica("notification", Service::Notification, "v1", 30),
    replica("inventory", Service::Inventory, "v1", 40),
    replica("publisher", Service::Publisher, "v1", 50),
];

const fn replica(name: &'static str, service: Service, version: &'static str, number: u16) -> Replica {
    Replica { name, service, version, number }
}

/// Where a replica and its Leeboard listen, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) app: u16,
    pub(crate) inbound: u16,
    pub(crate) outbound: u16,
    pub(crate) admin: u16,
    pub(crate) metrics: u16,
    pub(crate) status: u16,
}

/// The first port that the kernel gives to outgoing connections on Linux, so that none below it is taken by chance.
const FIRST_EPHEMERAL: u16 = 32_768;
const FIRST_CANDIDATE: u16 = 10_240;

impl Ports {
    /// The ports of the demo that people type, by the replica's number.
    pub(crate) fn fixed(number: u16) -> Ports {
        Ports {
            outbound: 24_000 + number,
            inbound: 25_000 + number,
            app: 26_000 + number,
            admin: 27_000 + number,
            metrics: 28_000 + number,
            status: 29_000 + number,
        }
    }

    /// Ports for `replicas` replicas that are free now, looked for from a place that `luck` chooses.
    ///
    /// They are held until all are found, so that no two are the same.
    pub(crate) fn free(replicas: usize, luck: u64) -> Result<Vec<Ports>, String> {
        let span = u64::from(FIRST_EPHEMERAL - FIRST_CANDIDATE);
        let mut held = Vec::new();
        for step in 0..span {
            if held.len() == replicas * 6 {
                break;
            }
            let port = FIRST_CANDIDATE + u16::try_from((luck.wrapping_add(step)) % span).unwrap_or_default();
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                held.push((port, listener));
            }
        }
        if held.len() < replicas * 6 {
            return Err(format!("fewer than {} ports of 127.0.0.1 are free", replicas * 6));
        }
        let of = |ports: &[(u16, TcpListener)]| Ports {
            app: ports[0].0,
            inbound: ports[1].0,
            outbound: ports[2].0,
            admin: ports[3].0,
            metrics: ports[4].0,
            status: ports[5].0,
        };
        Ok(held.chunks_exact(6).map(of).collect())
    }

    /// The ports of this set that somebody listens on already.
    pub(crate) fn taken(&self) -> Vec<u16> {
        let all = [self.app, self.inbound, self.outbound, self.admin, self.metrics, self.status];
        all.into_iter().filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err()).collect()
    }
}

/// `127.0.0.1:port`.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_are_all_different_and_never_ephemeral() {
        // From the very end of the range, so that the search also has to begin again at its start.
        let ports = Ports::free(3, u64::from(FIRST_EPHEMERAL - FIRST_CANDIDATE) - 4).unwrap();
        let all: BTreeSet<u16> =
            ports.iter().flat_map(|p| [p.app, p.inbound, p.outbound, p.admin, p.metrics, p.status]).collect();
        assert_eq!((ports.len(), all.len()), (3, 18));
        assert!(all.iter().all(|port| (FIRST_CANDIDATE..FIRST_EPHEMERAL).contains(port)), "{all:?}");
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = Ports { app: port, inbound: 0, outbound: 0, admin: 0, metrics: 0, status: 0 };
        assert_eq!(ports.taken(), [port]);
    }
}
