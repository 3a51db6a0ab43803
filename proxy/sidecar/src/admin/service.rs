//! Requests to the admin pages as a service: found in the table, answered, and never the end of the process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};

use super::table::PAGES;
use super::visitors::Visit;
use super::{AdminState, Scope};
use crate::telemetry::exposition::Classic;

/// What a page is asked.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Decoded parameters; one without a value has an empty one, and of several with a name the first counts.
    pub(super) query: BTreeMap<String, String>,
    /// Every value of the parameter `header`, in order.
    pub(super) headers: Vec<Vec<u8>>,
    pub(super) accept: String,
    /// Why nothing is answered.
    refused: Option<String>,
}

impl Ask {
    fn of<B>(request: &Request<B>, scope: Scope, names: &[String]) -> Self {
        let mut query = BTreeMap::new();
        let mut headers = Vec::new();
        for pair in request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name == "header" {
                headers.push(unescaped(value));
            }
            query.entry(decoded(name)).or_insert_with(|| decoded(value));
        }
        let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Self {
            method: request.method().clone(),
            query,
            headers,
            accept: accept.collect::<Vec<_>>().join(","),
            refused: Visit { scope, method: request.method(), uri: request.uri(), headers: request.headers() }
                .refused(names),
        }
    }

    /// Whether JSON is wanted.
    pub(super) fn json(&self) -> bool {
        self.query.get("format").is_some_and(|format| format == "json")
    }
}

/// A query's name or value without its escapes, as text.
fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&unescaped(text)).into_owned()
}

/// The same as bytes. A broken escape stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = (*first == b'%').then(|| after.get(..2)).flatten();
        let escape =
            escape.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match escape {
            Some(byte) => {
                bytes.push(byte);
                &after[2..]
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                after
            }
        };
    }
    bytes
}

/// What a page answers.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) content: Content,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// All at once.
    Whole(Option<Bytes>),
    /// Piece by piece, each made when it is asked for.
    Pieces(Classic),
}

impl Reply {
    pub(super) fn new(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Self {
        Self { status, content_type, content: Content::Whole(Some(text.into())) }
    }

    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, "text/plain; charset=utf-8", text)
    }

    pub(super) fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, ..Self::text(text) }
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self::new(StatusCode::OK, "application/json", format!("{value:#}\n"))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Content::Whole(whole) => whole.take(),
            Content::Pieces(pieces) => pieces.next().map(Bytes::from),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Content::Whole(whole) => http_body::SizeHint::with_exact(whole.as_ref().map_or(0, |w| w.len() as u64)),
            Content::Pieces(_) => http_body::SizeHint::default(),
        }
    }
}

/// The pages of a scope.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) state: Arc<AdminState>,
    pub(super) scope: Scope,
}

impl<B> tower::Service<Request<B>> for Pages {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Content>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ask = Ask::of(&request, self.scope, &self.state.names);
        let path = request.uri().path();
        // A page that panics is one page that does not answer.
        let reply = catch_unwind(AssertUnwindSafe(|| self.reply(path, &ask))).unwrap_or_else(|_| {
            tracing::error!(path, "an admin page panicked");
            (Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR, "this page is broken; the log says more\n"), None)
        });
        ready(Ok(response(reply)))
    }
}

impl Pages {
    /// An answer, and what is allowed when the method is not.
    fn reply(&self, path: &str, ask: &Ask) -> (Reply, Option<&'static str>) {
        if let Some(why) = &ask.refused {
            return (Reply::refusal(StatusCode::FORBIDDEN, format!("{why}\n")), None);
        }
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let Some(page) = PAGES.iter().find(|page| page.path == path && page.scopes.contains(&self.scope)) else {
            return (Reply::refusal(StatusCode::NOT_FOUND, self.overview()), None);
        };
        if !page.methods.allow(&ask.method) {
            let text = format!("{path} takes {}\n", page.methods.names());
            return (Reply::refusal(StatusCode::METHOD_NOT_ALLOWED, text), Some(page.methods.names()));
        }
        ((page.answer)(&self.state, ask), None)
    }

    fn overview(&self) -> String {
        let mut text = String::from("no such page; there are:\n");
        for page in PAGES.iter().filter(|page| page.scopes.contains(&self.scope)) {
            text += &format!("  {}: {}\n", page.path, page.about);
        }
        text
    }
}

fn response((reply, allow): (Reply, Option<&'static str>)) -> Response<Content> {
    let mut response = Response::new(reply.content);
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(allow) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
