//! Endpoints that do what a script says, also what no decent server would.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::message::{Message, Wire, response};
use crate::patience::{soon, until};

/// One thing that an endpoint does after it has read a request. When all are done it waits for the next request.
#[derive(Clone)]
pub(crate) enum Deed {
    /// Writes bytes.
    Send(Vec<u8>),
    /// Takes its time: it is slow on purpose.
    Pause(Duration),
    /// Waits until the test lets it go on.
    Wait(Gate),
    /// Does nothing more until the caller goes.
    Hang,
    /// Ends the connection with RST.
    Reset,
    /// Ends the connection with FIN.
    Close,
}

/// A whole response, as a deed.
pub(crate) fn say(status: u16, body: &str) -> Vec<Deed> {
    vec![Deed::Send(response(status, body))]
}

/// Something that an endpoint waits at.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed one.
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everyone through from now on.
    pub(crate) fn open(&self) {
        self.0.add_permits(1 << 20);
    }

    /// Lets one through.
    pub(crate) fn pass(&self) {
        self.0.add_permits(1);
    }

    /// Waits to be let through.
    pub(crate) async fn wait(&self) {
        self.0.acquire().await.expect("a gate is never taken away").forget();
    }
}

/// A request that an endpoint has read.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// What was asked.
    pub(crate) message: Message,
    /// Which request it is of all at this endpoint, from 1.
    pub(crate) number: usize,
    /// Which connection it came on, from 1.
    pub(crate) connection: usize,
}

/// An endpoint. Dropping it closes its listener and all its connections.
pub(crate) struct Endpoint {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Endpoint {
    /// An endpoint that does for each request what the script says.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Vec<Deed> + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, noted) = (Arc::new(script), seen.clone());
        Self::listen(seen, move |wire, connection| {
            let (script, noted) = (script.clone(), noted.clone());
            async move {
                serve(wire, connection, &*script, &noted).await;
            }
        })
        .await
    }

    /// An endpoint that answers everything with 200 and its name.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |_| say(200, name)).await
    }

    /// An endpoint whose connections are held by hand; they are numbered from 1.
    pub(crate) async fn raw<F>(hold: impl Fn(Wire, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listen(Arc::default(), hold).await
    }

    async fn listen<F>(seen: Arc<Mutex<Vec<Asked>>>, hold: impl Fn(Wire, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = socket.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let listener = tokio::spawn(async move {
            let mut held = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                stream.set_nodelay(true).expect("a TCP socket");
                held.spawn(hold(Wire::new(stream), count.fetch_add(1, Ordering::SeqCst) + 1));
            }
        });
        Self { address, seen, connections, listener }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("no script panicked").clone()
    }

    /// How many requests there were.
    pub(crate) fn hits(&self) -> usize {
        self.seen.lock().expect("no script panicked").len()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have been read.
    pub(crate) async fn reached(&self, hits: usize) {
        until(&format!("request {hits} at an endpoint"), || async { self.hits() >= hits }).await;
    }

    /// Stops listening and cuts its connections.
    pub(crate) async fn stop(&mut self) {
        self.listener.abort();
        let _ = soon("the end of an endpoint", &mut self.listener).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(
    mut wire: Wire,
    connection: usize,
    script: &(dyn Fn(&Asked) -> Vec<Deed> + Send + Sync),
    seen: &Mutex<Vec<Asked>>,
) {
    while let Some(message) = wire.request().await {
        let deeds = {
            let mut seen = seen.lock().expect("no script panicked");
            let asked = Asked { message, number: seen.len() + 1, connection };
            seen.push(asked.clone());
            script(&asked)
        };
        for deed in deeds {
            match deed {
                Deed::Send(bytes) => {
                    if wire.send(bytes).await.is_err() {
                        return;
                    }
                }
                Deed::Pause(time) => pause(time).await,
                Deed::Wait(gate) => gate.wait().await,
                Deed::Hang => return wire.end().await,
                Deed::Reset => return wire.reset(),
                Deed::Close => return,
            }
        }
    }
}

/// A server that takes its time is what is tested; nothing waits for anything here.
async fn pause(time: Duration) {
    let never = std::future::pending::<()>();
    let _ = tokio::time::timeout(time, never).await;
}
