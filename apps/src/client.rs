//! How the services call each other: a URL with a service's name, through `http_proxy` when there is one.
//!
//! Nothing here repeats, limits or times a call: that is the proxy's work.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::settings::ProxySettings;

/// A pool of connections to the proxy, or to the services themselves when no proxy is set.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// No answer came: the connection could not be made, or it died.
#[derive(Debug)]
pub struct CallError(String);

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CallError {}

impl Client {
    /// A client that sends absolute-form requests to the proxy, or plain ones when `proxy` is empty or exempts the host.
    pub fn new(proxy: &ProxySettings) -> Client {
        let matcher = Matcher::builder().http(proxy.http.clone()).no(proxy.no.clone()).build();
        let inner = legacy::Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build(Connector { matcher: Arc::new(matcher) });
        Client { inner }
    }

    /// `GET url` with the caller's routing headers.
    ///
    /// # Errors
    /// No answer came. An answer of any status is no error.
    pub async fn get(&self, url: &str, caller: &HeaderMap) -> Result<Response<Bytes>, CallError> {
        self.call(Method::GET, url, caller, Bytes::new()).await
    }

    /// Sends a request and reads the whole answer. A body that is not empty is sent as JSON.
    ///
    /// Of the `caller`'s headers those that [`routing_headers`] names go along.
    ///
    /// # Errors
    /// No answer came. An answer of any status is no error.
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        caller: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let failed = |error: &dyn std::error::Error| CallError(format!("{method} {url}: {}", whole_story(error)));
        let mut request = Request::builder().method(method.clone()).uri(url);
        if let Some(headers) = request.headers_mut() {
            headers.extend(routing_headers(caller));
            if !body.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;
        let response = self.inner.request(request).await.map_err(|error| failed(&error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

/// An error with its causes, for the cause is what helps (`Connection refused`).
fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}

/// The headers that a call takes from the request it is made for: tracing and routing (`x-request-id`, `x-canary`, …).
///
/// What a proxy wrote for this hop alone (`x-forwarded-*`, `x-envoy-*`) stays behind.
pub fn routing_headers(caller: &HeaderMap) -> HeaderMap {
    const TRACING: [&str; 4] = ["traceparent", "tracestate", "baggage", "b3"];
    const OF_ONE_HOP: [&str; 5] = ["x-forwarded-", "x-envoy-", "x-leeboard-", "x-app-", "x-real-"];
    let passes = |name: &str| {
        TRACING.contains(&name) || (name.starts_with("x-") && !OF_ONE_HOP.iter().any(|hop| name.starts_with(hop)))
    };
    caller.iter().filter(|(name, _)| passes(name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Makes `text` one segment of a path: what could end the segment or the path is percent-encoded.
pub fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// Connects to the proxy when one is set for the URL, else to the URL's own host.
#[derive(Clone)]
struct Connector {
    matcher: Arc<Matcher>,
}

impl tower::Service<Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let proxy = self.matcher.intercept(&url).map(|found| found.uri().clone());
        Box::pin(async move {
            let target = proxy.as_ref().unwrap_or(&url);
            let host = target.host().ok_or_else(|| io::Error::other(format!("no host in {target}")))?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, target.port_u16().unwrap_or(80))).await?;
            stream.set_nodelay(true)?;
            Ok(Wire { stream: TokioIo::new(stream), to_proxy: proxy.is_some() })
        })
    }
}

/// A TCP connection that knows whether a proxy is at its other end: then requests go out in absolute form.
struct Wire {
    stream: TokioIo<TcpStream>,
    to_proxy: bool,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.to_proxy)
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_and_tracing_headers_pass_and_hop_headers_stay() {
        let caller: HeaderMap = [
            ("x-request-id", true),
            ("x-canary", true),
            ("x-b3-traceid", true),
            ("traceparent", true),
            ("x-forwarded-for", false),
            ("x-envoy-attempt-count", false),
            ("x-leeboard-reason", false),
            ("content-length", false),
            ("cookie", false),
        ]
        .into_iter()
        .map(|(name, passes)| (http::HeaderName::from_static(name), HeaderValue::from(u16::from(passes))))
        .collect();
        let passed = routing_headers(&caller);
        assert_eq!(passed.len(), 4);
        assert!(passed.values().all(|value| value == "1"), "{passed:?}");
    }

    #[test]
    fn a_segment_cannot_leave_its_place_in_the_path() {
        for (text, segment) in [("1", "1"), ("a-b_c~", "a-b_c~"), ("../health", "%2E%2E%2Fhealth"), ("ü?", "%C3%BC%3F")]
        {
            assert_eq!(path_segment(text), segment);
        }
    }
}
