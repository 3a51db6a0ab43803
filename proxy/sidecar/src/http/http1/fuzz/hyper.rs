//! What hyper's server makes of the same bytes. It accepts more than the codec does, so it is asked about what the
//! codec accepted.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::{End, Heard, List, list_of};

/// A connection on which these bytes come, and on which nobody reads.
struct Wire(Vec<u8>, usize);

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let count = buf.remaining().min(self.0.len() - self.1);
        buf.put_slice(&self.0[self.1..self.1 + count]);
        self.1 += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as hyper has it: method and fields, and the body once it was whole.
struct Seen {
    method: String,
    fields: List,
    body: Option<(Vec<u8>, List)>,
}

fn seen(bytes: &[u8]) -> Vec<Seen> {
    let seen: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let noted = seen.clone();
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let noted = noted.clone();
        async move {
            let (head, body) = request.into_parts();
            let (method, fields) = (head.method.to_string(), list_of(&head.headers));
            noted.borrow_mut().push(Seen { method, fields, body: None });
            if let Ok(collected) = body.collect().await {
                let trailers = collected.trailers().map_or(Vec::new(), list_of);
                let body = (collected.to_bytes().to_vec(), trailers);
                if let Some(last) = noted.borrow_mut().last_mut() {
                    last.body = Some(body);
                }
            }
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without anything");
    let mut server = hyper::server::conn::http1::Builder::new();
    // What comes ends with the bytes, before anything is answered. What cannot be served is seen as far as it was served.
    let _ = runtime
        .block_on(server.half_close(true).max_buf_size(64 * 1024).serve_connection(Wire(bytes.to_vec(), 0), service));
    drop(runtime);
    seen.take()
}

/// Whether hyper has read the same as far as the codec has read.
pub(super) fn agrees(bytes: &[u8], (heard, end): &Heard) -> Result<(), String> {
    let seen = seen(bytes);
    for (at, said) in heard.iter().enumerate() {
        let whole = at + 1 < heard.len() || *end == End::Over;
        let Some(theirs) = seen.get(at) else {
            // What is refused behind its head may be refused before it. Hyper needs a target that the http crate can hold; here
            // targets are judged when a request is admitted.
            let target = said.start.split_once(' ').map_or("", |(_, target)| target);
            let refused = !whole || http::Uri::try_from(target).is_err();
            // It passes over a whole Connection of which a part is not ASCII, and so may not keep the connection.
            let ends =
                at > 0 && heard[at - 1].fields.iter().any(|(name, value)| is_connection(name) && !value.is_ascii());
            return if refused || ends { Ok(()) } else { Err(format!("request {at} is none")) };
        };
        if said.start.split(' ').next() != Some(&theirs.method) {
            return Err(format!("request {at} is {}", theirs.method));
        }
        let (ours, fields) = (sorted(&said.fields), sorted(&theirs.fields));
        if ours != fields {
            return Err(format!("request {at} has the fields {fields:?}"));
        }
        if theirs.method == "CONNECT" {
            // What follows is no body here.
            return Ok(());
        }
        let same = theirs
            .body
            .as_ref()
            .is_some_and(|(body, trailers)| *body == said.body && sorted(trailers) == sorted(&said.trailers));
        if whole && !same {
            return Err(format!("request {at} has the body {:?}", theirs.body));
        }
    }
    Ok(())
}

fn is_connection(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"connection")
}

fn sorted(list: &List) -> List {
    let mut list: List = list.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    list.sort();
    list
}
