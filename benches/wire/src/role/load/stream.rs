//! How connections of HTTP/1.1 are made: from which address, and with TLS or without.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::LoadArgs;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Makes connections.
pub(super) struct Dialer {
    target: SocketAddr,
    sources: usize,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    /// To the target of the load; with TLS if there is a certificate to trust.
    pub(super) fn new(args: &LoadArgs) -> io::Result<Self> {
        let tls = match &args.trust {
            Some(path) => {
                let host = args.host.split(':').next().unwrap_or_default().to_owned();
                Some((client_config(path)?, ServerName::try_from(host).map_err(io::Error::other)?))
            }
            None => None,
        };
        Ok(Self { target: args.target, sources: args.sources, tls })
    }

    /// A connection that reads and writes without blocking, its handshake done.
    pub(super) fn dial(&self, index: usize) -> io::Result<Stream> {
        let mut stream = connect(self.target, self.sources, index)?;
        stream.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else {
            stream.set_nonblocking(true)?;
            return Ok(Stream::Plain(stream));
        };
        stream.set_read_timeout(Some(CONNECT_LIMIT))?;
        let mut tls = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        stream.set_nonblocking(true)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(tls, stream))))
    }
}

/// Connects from one of the loopback's addresses: each has ports of its own, which a closed connection blocks for a while.
fn connect(target: SocketAddr, sources: usize, index: usize) -> io::Result<TcpStream> {
    if sources <= 1 {
        return TcpStream::connect_timeout(&target, CONNECT_LIMIT);
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + (index % sources) as u32);
    // The port is chosen when both ends are known, so one that is blocked towards another target will do.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&target.into(), CONNECT_LIMIT)?;
    Ok(socket.into())
}

/// TLS 1.3 with full handshakes only, for a peer whose certificate is in the file.
fn client_config(trust: &Path) -> io::Result<Arc<ClientConfig>> {
    let certificate = CertificateDer::from_pem_slice(&fs::read(trust)?).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(bytes),
            Stream::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Plain(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.sock.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;
    use crate::certificate::Certificate;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_certificate_is_trusted_under_its_name_only() {
        let folder = std::env::temp_dir().join(format!("leeboard-wire-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a writable folder");
        let certificate = Certificate::make(&folder, "bench.test").expect("a certificate");
        let chain = vec![CertificateDer::from_pem_file(&certificate.chain).expect("PEM")];
        let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("PEM");
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        let server = Arc::new(server);
        for (host, trusted) in [("bench.test:8080", true), ("other.test:8080", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let mut args = arguments(listener.local_addr().expect("bound"), None);
            (args.host, args.trust) = (host.to_owned(), Some(certificate.chain.clone()));
            let config = Arc::clone(&server);
            let far = thread::spawn(move || {
                let mut stream = listener.accept().expect("a client").0;
                let mut tls = ServerConnection::new(config).expect("a configuration");
                // The client may refuse the certificate.
                while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
            });
            let dialed = Dialer::new(&args).expect("a certificate").dial(0);
            assert_eq!(dialed.is_ok(), trusted, "{host}");
            drop(dialed);
            far.join().expect("no panic");
        }
        fs::remove_dir_all(&folder).expect("it is there");
    }
}
