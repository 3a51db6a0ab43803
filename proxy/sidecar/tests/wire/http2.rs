//! HTTP/2 without TLS: callers and endpoints by the h2 crate, and frames by hand where a decent server would not do.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::patience::soon;

/// An endpoint that speaks HTTP/2 with prior knowledge. Dropping it closes everything.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Server {
    /// An endpoint that serves each stream by this; streams are numbered from 1.
    pub(crate) async fn start<F>(
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>, usize) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (connections, streams) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (accepted, asked) = (connections.clone(), streams.clone());
        let listener = tokio::spawn(async move {
            let mut held = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                held.spawn(hold(stream, serve.clone(), asked.clone()));
            }
        });
        Self { address, connections, streams, listener }
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many streams there were.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn hold<F>(
    stream: TcpStream,
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>, usize) -> F,
    asked: Arc<AtomicUsize>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    // A head whose body came 40 ms later could meet a test's deadline in between.
    stream.set_nodelay(true).expect("a TCP socket");
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut streams = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(serve(request, respond, asked.fetch_add(1, Ordering::SeqCst) + 1));
    }
}

/// A caller that speaks HTTP/2 with prior knowledge.
pub(crate) async fn call(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the listener is there");
    stream.set_nodelay(true).expect("a TCP socket");
    // One stream that nobody reads leaves room for the others.
    let shaken = h2::client::Builder::new().initial_connection_window_size(1 << 20).handshake(stream);
    let (sender, connection) = shaken.await.expect("a client's preface");
    tokio::spawn(async move {
        // It ends with an error when a test ends before it.
        let _ = connection.await;
    });
    sender
}

/// A request for the service that most tests have.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://shop.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("the test's request is one")
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

/// Sends a request with a body, if there is one, and reads the answer.
pub(crate) async fn ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<&str>,
) -> Result<Whole, h2::Error> {
    let mut sender = soon("room for a stream", sender.clone().ready()).await?;
    let (response, mut up) = sender.send_request(request, body.is_none())?;
    if let Some(body) = body {
        up.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
    }
    let response = soon("the head", response).await?;
    soon("the body", whole(response)).await
}

async fn whole(response: Response<RecvStream>) -> Result<Whole, h2::Error> {
    let (parts, mut down) = response.into_parts();
    let body = drain(&mut down).await?;
    let trailers = down.trailers().await?.unwrap_or_default();
    Ok(Whole { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

/// Reads a body to its end.
pub(crate) async fn drain(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        // Only the receiver of data can be told so, and it is.
        let _ = body.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// Sends a message and goes on.
pub(crate) fn send(stream: &mut SendStream<Bytes>, data: impl Into<Bytes>) {
    stream.send_data(data.into(), false).expect("the stream is open");
}

/// Answers with a body and trailers.
pub(crate) fn finish(mut respond: SendResponse<Bytes>, body: &str, trailers: &[(&'static str, &str)]) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut stream = respond.send_response(head, false).expect("the stream is open");
    send(&mut stream, body.to_owned());
    let fields = trailers.iter().map(|(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).expect("a value"))
    });
    stream.send_trailers(fields.collect()).expect("the stream is open");
}

/// Frames by hand. RFC 9113 §4.1.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// SETTINGS without any setting.
pub(crate) fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[])
}

/// GOAWAY: the last stream that was looked at, and an error code.
pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// RST_STREAM with an error code.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}
