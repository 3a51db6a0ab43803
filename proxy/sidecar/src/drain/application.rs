//! Whether the application still listens while the process drains.
//!
//! An application that has stopped listening takes no new requests. A proxy that goes on accepting for it can only
//! answer 503. A refused connection tells every caller that nobody has its request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How often the application is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long it may take to answer; then it is there, for only who is gone refuses.
const PATIENCE: Duration = Duration::from_millis(250);

/// What stands behind the inbound listeners.
pub(crate) trait Application {
    /// For each of its ports whether it refuses connections.
    async fn refuses(&self) -> Vec<bool>;
}

/// The application's ports, in the order of the listeners.
pub(crate) struct Ports(pub(crate) Vec<SocketAddr>);

impl Application for Ports {
    async fn refuses(&self) -> Vec<bool> {
        let mut refuses = Vec::with_capacity(self.0.len());
        for port in &self.0 {
            let met = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(port)).await;
            refuses.push(matches!(met, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
        }
        refuses
    }
}

/// Looks from time to time, and tells what is found.
pub(super) async fn look(application: &impl Application, tell: impl Fn(&[bool])) -> Infallible {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        tell(&application.refuses().await);
    }
}
