//! What a service port speaks, told by its appProtocol, its name or its number.

use leeboard_policy::cluster;

/// What a service port speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PortProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC, which is HTTP/2.
    Grpc,
    /// gRPC-Web; the caller may speak HTTP/1.1.
    GrpcWeb,
    /// An HTTP proxy.
    HttpProxy,
    /// TLS, routed by its server name.
    Tls,
    /// Anything else over TCP.
    Tcp,
    /// Datagrams, which are not routed.
    Udp,
    /// Not declared: found out from the first bytes of each connection.
    Auto,
}

impl PortProtocol {
    /// Istio: UDP transport, then `appProtocol` (and then the name is not looked at), then the name up to its first `-`;
    /// ports of protocols in which the server speaks first are TCP rather than detected.
    pub(crate) fn of_service_port(transport: &str, app_protocol: Option<&str>, name: &str, number: u16) -> Self {
        if transport.eq_ignore_ascii_case("udp") {
            return Self::Udp;
        }
        let declared = match app_protocol.filter(|p| !p.is_empty()) {
            Some("kubernetes.io/h2c") => Self::Http2,
            Some("kubernetes.io/ws") => Self::Http,
            Some("kubernetes.io/wss") => Self::Tls,
            Some(other) => Self::of_name(other),
            None => Self::of_name(name),
        };
        declared.or_server_first(number)
    }

    /// The protocol of a ServiceEntry's port: the same words, in a field of their own.
    pub(crate) fn of_word(protocol: &str, number: u16) -> Self {
        Self::of_name(protocol).or_server_first(number)
    }

    fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name.starts_with("grpc-web") {
            return Self::GrpcWeb;
        }
        match name.split('-').next().unwrap_or_default() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "http_proxy" => Self::HttpProxy,
            "https" | "tls" => Self::Tls,
            "tcp" | "mongo" | "redis" | "mysql" => Self::Tcp,
            "udp" => Self::Udp,
            _ => Self::Auto,
        }
    }

    fn or_server_first(self, number: u16) -> Self {
        if self == Self::Auto && matches!(number, 25 | 53 | 3306 | 27017) { Self::Tcp } else { self }
    }

    /// Whether requests to the port are routed by `http` rules.
    pub(crate) fn is_routed(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy | Self::Auto)
    }

    /// Whether the port carries gRPC.
    pub(crate) fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    /// What is spoken to the port's endpoints unless a DestinationRule says otherwise.
    pub(crate) fn upstream(self) -> cluster::Protocol {
        match self {
            Self::Http2 | Self::Grpc | Self::GrpcWeb => cluster::Protocol::Http2,
            Self::Http | Self::HttpProxy | Self::Tls | Self::Tcp | Self::Udp => cluster::Protocol::Http1,
            Self::Auto => cluster::Protocol::Client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PortProtocol::{self, *};

    #[test]
    fn protocol_of_a_port() {
        for (transport, app, name, number, expected) in [
            ("TCP", None, "http", 80, Http),
            ("TCP", None, "HTTP-web", 80, Http),
            ("TCP", None, "httpfoo", 80, Auto),
            ("TCP", None, "http2-x", 80, Http2),
            ("TCP", None, "grpc", 80, Grpc),
            ("TCP", None, "grpc-web-x", 80, GrpcWeb),
            ("TCP", None, "https", 443, Tls),
            ("TCP", None, "tls-x", 443, Tls),
            ("TCP", None, "mysql", 3306, Tcp),
            ("TCP", None, "redis", 6379, Tcp),
            ("TCP", None, "", 8080, Auto),
            ("TCP", None, "db", 3306, Tcp),
            ("TCP", None, "smtp", 25, Tcp),
            ("TCP", None, "http-db", 3306, Http),
            ("TCP", Some("http"), "tcp", 80, Http),
            ("TCP", Some("http-x"), "tcp", 80, Http),
            ("TCP", Some("example.com/own"), "http", 80, Auto),
            ("TCP", Some(""), "http", 80, Http),
            ("TCP", Some("kubernetes.io/h2c"), "", 80, Http2),
            ("TCP", Some("kubernetes.io/ws"), "", 80, Http),
            ("TCP", Some("kubernetes.io/wss"), "", 80, Tls),
            ("UDP", Some("http"), "http", 80, Udp),
        ] {
            let protocol = PortProtocol::of_service_port(transport, app, name, number);
            assert_eq!(protocol, expected, "{transport} {app:?} {name} {number}");
        }
    }
}
