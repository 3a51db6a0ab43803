//! A page: who may ask for it, what it is asked, and what it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame};

use super::access::AccessCheck;
use super::{AdminState, Scope};
use crate::telemetry::exposition::Classic;

/// A page.
pub(super) struct Page {
    pub(super) path: &'static str,
    pub(super) methods: Methods,
    pub(super) scopes: &'static [Scope],
    pub(super) about: &'static str,
    pub(super) answer: fn(&AdminState, &PageRequest) -> PageResponse,
}

/// What a page may be asked by. HEAD goes where GET goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Methods {
    /// It shows something.
    Get,
    /// It changes something.
    Post,
    /// It shows, and changes when it is posted to.
    Both,
}

impl Methods {
    pub(super) fn allow(self, method: &Method) -> bool {
        let reads = method == Method::GET || method == Method::HEAD;
        match self {
            Methods::Get => reads,
            Methods::Post => method == Method::POST,
            Methods::Both => reads || method == Method::POST,
        }
    }

    /// The `allow` header of a 405.
    pub(super) fn names(self) -> &'static str {
        match self {
            Methods::Get => "GET, HEAD",
            Methods::Post => "POST",
            Methods::Both => "GET, HEAD, POST",
        }
    }
}

/// What a page is asked.
pub(super) struct PageRequest {
    pub(super) method: Method,
    /// Decoded parameters; one without a value has an empty one, and of several with a name the first counts.
    pub(super) query: BTreeMap<String, String>,
    /// Every value of the parameter `header`, in order.
    pub(super) headers: Vec<Vec<u8>>,
    pub(super) accept: String,
    /// All pages.
    pub(super) pages: &'static [Page],
    /// Why nothing is answered.
    pub(super) refused: Option<String>,
}

impl PageRequest {
    /// Reads a request.
    pub(super) fn of<B>(request: &Request<B>, scope: Scope, names: &[String], pages: &'static [Page]) -> Self {
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
            pages,
            accept: accept.collect::<Vec<_>>().join(","),
            refused: AccessCheck { scope, method: request.method(), uri: request.uri(), headers: request.headers() }
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
pub(super) struct PageResponse {
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

impl PageResponse {
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
