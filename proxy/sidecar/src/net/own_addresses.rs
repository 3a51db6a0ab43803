//! The addresses at which this process listens, so that no request is sent back into it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::drain::Side;

/// The addresses at which this process listens, as they are bound.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct OwnAddresses {
    /// What nothing that the application sends may lead to: a request would come back to where it came from, or reach the pages
    /// that change the process.
    outbound: Vec<SocketAddr>,
    /// The same for what is sent to the application.
    inbound: Vec<SocketAddr>,
}

impl OwnAddresses {
    /// A listener that nothing may be sent to from this side.
    pub(crate) fn bar(&mut self, from: Side, listener: SocketAddr) {
        match from {
            Side::Outbound => self.outbound.push(listener),
            Side::Inbound => self.inbound.push(listener),
        }
    }

    /// Whether what is sent to an address from this side would arrive at one of these listeners.
    pub(crate) fn leads_back(&self, from: Side, address: SocketAddr) -> bool {
        let barred = match from {
            Side::Outbound => &self.outbound,
            Side::Inbound => &self.inbound,
        };
        barred.iter().any(|listener| listener.port() == address.port() && reaches(address.ip(), listener.ip()))
    }
}

/// Whether a connection to one address arrives at a socket that is bound to the other.
fn reaches(to: IpAddr, bound: IpAddr) -> bool {
    let (to, bound) = (to.to_canonical(), bound.to_canonical());
    match (to.is_unspecified(), bound.is_unspecified()) {
        // The kernel takes "any" for the loopback.
        (true, any) => any || bound.is_loopback(),
        (false, true) => is_own(to),
        (false, false) => to == bound,
    }
}

/// Whether an address is one of this machine's: only then can a socket be bound to it.
fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_listener_leads_back_to_it() {
        #[rustfmt::skip]
        let table = [
            ("127.0.0.1:15001", "127.0.0.1:15001", true),
            ("127.0.0.1:15001", "0.0.0.0:15001", true),
            ("127.0.0.1:15001", "[::]:15001", true),
            ("127.0.0.1:15001", "[::ffff:127.0.0.1]:15001", true),
            ("127.0.0.1:15001", "[::ffff:0.0.0.0]:15001", true),
            ("0.0.0.0:15001", "127.9.9.9:15001", true),
            ("[::]:15001", "127.0.0.1:15001", true),
            ("[::]:15001", "[::1]:15001", true),
            ("127.0.0.1:15001", "127.0.0.1:15002", false),
            ("0.0.0.0:15001", "192.0.2.1:15001", false),
            ("127.0.0.1:15001", "192.0.2.1:15001", false),
        ];
        for (bound, to, expected) in table {
            let mut own_addresses = OwnAddresses::default();
            own_addresses.bar(Side::Outbound, bound.parse().unwrap());
            assert_eq!(own_addresses.leads_back(Side::Outbound, to.parse().unwrap()), expected, "{to} at {bound}");
            assert!(!own_addresses.leads_back(Side::Inbound, to.parse().unwrap()), "{to} at {bound}");
        }
    }

    #[test]
    fn any_address_of_the_machine_leads_to_a_listener_at_all_of_them() {
        // A datagram socket that is connected has the machine's own address towards there; nothing is sent.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let Ok(()) = socket.connect("192.0.2.1:9") else { return };
        let own = SocketAddr::new(socket.local_addr().unwrap().ip(), 15001);
        let mut own_addresses = OwnAddresses::default();
        own_addresses.bar(Side::Outbound, "0.0.0.0:15001".parse().unwrap());
        assert!(own_addresses.leads_back(Side::Outbound, own), "{own}");
    }
}
