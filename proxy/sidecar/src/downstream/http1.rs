//! An HTTP/1 connection from downstream: reads a request head, has the request served, writes the response, and
//! repeats.

mod unread_body;
mod writing;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, Version};
use leeboard_policy::verdict::BadRequest;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use self::unread_body::Rest;
use self::writing::ResponseWriter;
use super::DownstreamConnection;
use super::service::RequestService;
use super::socket::Downstream;
use crate::exchange::download::ResponseBody;
use crate::exchange::tunnel::Left;
use crate::http::http1::READ;
use crate::http::http1::read::{self, HeadError, HeadScanner, Length};
use crate::http::http1::request_body::{RequestBody, let_go, poll_read};
use crate::http::informational::InformationalResponses;
use crate::request::downstream::{DownstreamRequest, expects_leave};
use crate::request::upgrade;
use crate::worker::connection_state::CloseReason;

/// What an HTTP/2 connection begins with. RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a caller that goes on sending is listened to after its last answer, so that it reads that before it is cut off.
const LINGER: Duration = Duration::from_secs(1);

/// A caller's socket while heads are read from it.
pub(super) struct RequestReader {
    stream: Arc<TcpStream>,
    read: BytesMut,
    room: usize,
    /// How far the next head has been looked at.
    pieces: HeadScanner,
    /// How many requests have been served that had come behind another.
    together: u32,
}

/// How many requests that have come together are served before others have their turn.
const IN_A_ROW: u32 = 16;

/// What came instead of a head.
enum Instead {
    /// Nothing more: the connection is over.
    End,
    /// Something that is no head.
    Bad(BadRequest),
    /// Not enough, in the time that is allowed.
    Late,
}

/// What an answer has to know of its request.
#[derive(Clone, Copy)]
struct RequestTraits {
    to_head: bool,
    old: bool,
    keeps: bool,
}

impl RequestReader {
    /// A socket from which nothing has been read.
    pub(super) fn new(stream: Arc<TcpStream>) -> Self {
        Self { stream, read: BytesMut::new(), room: READ, pieces: HeadScanner::default(), together: 0 }
    }

    /// What has been read and not used.
    pub(super) fn take(&mut self) -> BytesMut {
        std::mem::take(&mut self.read)
    }

    /// Whether the first bytes are HTTP/2's; `None` when none came.
    pub(super) async fn protocol(&mut self, connection: &DownstreamConnection) -> Option<bool> {
        loop {
            let seen = self.read.len().min(PREFACE.len());
            if self.read[..seen] != PREFACE[..seen] {
                return Some(false);
            }
            if seen == PREFACE.len() {
                connection.conn_state.head_over();
                return Some(true);
            }
            match self.more(connection, true).await {
                Ok(()) => {}
                // What is there is a head that never ends, which is told where heads are read.
                Err(Instead::Late) => return Some(false),
                Err(_) if self.read.is_empty() => return None,
                Err(_) => return Some(false),
            }
        }
    }

    /// Reads the next head.
    async fn head(&mut self, connection: &DownstreamConnection) -> Result<read::Request, Instead> {
        let rules = connection.context.shared.settings.caller_heads();
        loop {
            match self.pieces.request(&mut self.read, &rules) {
                Ok(Some(request)) => {
                    let_go(&mut self.read);
                    connection.conn_state.head_over();
                    return Ok(request);
                }
                Ok(None) => {}
                Err(HeadError::TooLarge) => return Err(Instead::Bad(BadRequest::HeadTooLarge)),
                Err(_) => return Err(Instead::Bad(BadRequest::Malformed)),
            }
            self.more(connection, false).await?;
        }
    }

    /// Has others have their turn when many heads have come together.
    async fn give_way(&mut self) {
        self.together = if self.read.is_empty() { 0 } else { self.together + 1 };
        if self.together == IN_A_ROW {
            self.together = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Reads once, unless there is a cue to stop.
    async fn more(&mut self, connection: &DownstreamConnection, first: bool) -> Result<(), Instead> {
        let (context, conn_state) = (&connection.context, &connection.conn_state);
        let mut deadline = None;
        if !self.read.is_empty() {
            let now = context.clock.now();
            let since = conn_state.mid_head_since(now);
            deadline = context.shared.settings.header_timeout.map(|allowed| since + allowed);
            // Bytes that always come in time for a look keep the alarm from being looked at.
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(Instead::Late);
            }
        }
        let mut timer = deadline.map(|deadline| (context.timers.take(&context.clock, deadline), deadline));
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = poll_read(&*self.stream, cx, &mut self.read, &mut self.room) {
                return Poll::Ready(Ok(read));
            }
            if let Some((timer, deadline)) = &mut timer
                && timer.poll_until(&context.clock, *deadline, cx).is_ready()
            {
                return Poll::Ready(Err(Instead::Late));
            }
            match ready!(conn_state.poll_close(cx)) {
                // Who has just connected, or has already sent more than the runtime has heard of, believes to be served.
                CloseReason::Close if first => Poll::Pending,
                _ if unread(&self.stream) => Poll::Pending,
                CloseReason::Close => Poll::Ready(Err(Instead::End)),
                CloseReason::Idle => {
                    connection.closed("idle-timeout");
                    Poll::Ready(Err(Instead::End))
                }
            }
        });
        let read = read.await;
        if let Some((timer, _)) = timer {
            context.timers.put(timer);
        }
        match read? {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Instead::End),
        }
    }

    /// Listens to what nobody will answer, for a while.
    async fn linger(&mut self) {
        let stream = self.stream.clone();
        let mut rest = BytesMut::new();
        let silence = poll_fn(|cx| {
            loop {
                rest.clear();
                match ready!(poll_read(&*stream, cx, &mut rest, &mut self.room)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                }
            }
        });
        // Whether it ended by itself makes no difference.
        let _ = tokio::time::timeout(LINGER, silence).await;
    }
}

impl DownstreamConnection {
    /// Serves one request after another until either side has enough.
    pub(super) async fn http1(&self, mut reading: RequestReader) {
        let service = RequestService::new(self.context.clone(), self.entrance, self.caller);
        let informational =
            InformationalResponses::new(reading.stream.clone(), self.context.shared.settings.half_close);
        let mut writing = ResponseWriter::new(reading.stream.clone(), informational, self.context.clone());
        let heard_all = loop {
            match reading.head(self).await {
                Ok(request) => {
                    self.conn_state.begins();
                    let next = self.turn(&mut reading, &mut writing, &service, request).await;
                    self.conn_state.ends();
                    match next {
                        Next::Head => reading.give_way().await,
                        Next::End { heard_all } => break heard_all,
                        Next::Tunnel => return,
                    }
                }
                Err(Instead::End) => break true,
                Err(instead @ (Instead::Bad(_) | Instead::Late)) => {
                    let bad = if let Instead::Bad(bad) = instead { bad } else { BadRequest::HeadTimeout };
                    let answer = service.serve(DownstreamRequest::unreadable(bad, &reading.read)).await;
                    let asked = RequestTraits { to_head: false, old: false, keeps: false };
                    let _ = writing.answer(answer, asked, self).await;
                    break false;
                }
            }
        };
        // The caller may be gone; there is nobody else to tell.
        let _ = writing.flush().await;
        if writing.broken {
            return;
        }
        let mut downstream = Downstream::new(reading.stream.clone(), BytesMut::new());
        if downstream.shutdown().await.is_ok() && !heard_all {
            reading.linger().await;
        }
    }

    /// Serves one request.
    async fn turn(
        &self,
        reading: &mut RequestReader,
        writing: &mut ResponseWriter,
        service: &RequestService,
        request: read::Request,
    ) -> Next {
        // Whoever asks on before the answer has left is answered in turn, and what is said meanwhile is not put in front of it.
        if writing.queued.is_some() && writing.flush().await.is_err() {
            return Next::End { heard_all: true };
        }
        // What is behind a tunnel that was not opened may be what was meant to go through it.
        let followed_by_http =
            request.length.is_ok() && !upgrade::is_wanted(&request.method, request.version, &request.fields);
        let asked = RequestTraits {
            to_head: request.method == Method::HEAD,
            old: request.version == Version::HTTP_10,
            keeps: request.keeps && followed_by_http,
        };
        let body = request.length.ok().filter(|length| *length != Length::Exactly(0)).map(|length| {
            let expects = !asked.old && expects_leave(&request.fields);
            RequestBody::new(reading.stream.clone(), reading.take(), length, expects)
        });
        writing.informational.begin(!asked.old);
        let answering =
            service.serve(DownstreamRequest::of_head(request, body.clone(), Some(writing.informational.clone())));
        self.conn_state.awaits(Some(&writing.informational));
        let answer = writing.informational.until_left(answering, body.as_ref()).await;
        self.conn_state.awaits(None);
        let Some(mut answer) = answer else { return Next::End { heard_all: true } };
        writing.out.append(&mut writing.informational.take());
        if let ResponseBody::Tunnel(tunnel) = &mut answer.body {
            let Some(tunnel) = tunnel.take() else { return Next::End { heard_all: true } };
            writing.head(answer.status, &answer.fields, None);
            writing.out.extend_from_slice(b"\r\n");
            // A tunnel is opened only once all of a body has been passed on.
            let early = body.map_or_else(|| Some(reading.take()), |body| body.take_back());
            if writing.flush().await.is_ok() {
                let near = Downstream::tunnel(reading.stream.clone(), &self.conn_state);
                let idle = poll_fn(|cx| match self.conn_state.poll_close(cx) {
                    Poll::Ready(CloseReason::Idle) => Poll::Ready(()),
                    _ => Poll::Pending,
                });
                if Box::pin(tunnel.carry(near, early.unwrap_or_default().freeze(), idle)).await == Left::Idle {
                    self.closed("tunnel-idle-timeout");
                }
            }
            return Next::Tunnel;
        }
        let rest = match &body {
            Some(body) if asked.keeps && (writing.informational.gave_leave() || !body.is_awaiting_leave()) => {
                Rest::of(body, matches!(answer.body, ResponseBody::Own(..))).await
            }
            // A caller that was not told to send its body need not send what it has announced.
            Some(_) => Rest::Much,
            _ => Rest::None,
        };
        let asked = RequestTraits { keeps: asked.keeps && rest != Rest::Much, ..asked };
        let kept = writing.answer(answer, asked, self).await;
        let heard_all = match body {
            None => followed_by_http,
            Some(body) => {
                if rest == Rest::Little && kept == Ok(true) {
                    unread_body::skip(&body).await;
                }
                body.take_back().map(|behind| reading.read = behind).is_some() && followed_by_http
            }
        };
        match kept {
            Ok(true) if heard_all => Next::Head,
            Ok(_) => Next::End { heard_all },
            Err(()) => Next::End { heard_all: true },
        }
    }
}

/// Whether the kernel has something from the caller, other than the connection's end.
fn unread(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    SockRef::from(stream).peek(&mut byte).is_ok_and(|count| count > 0)
}

/// What follows a request.
enum Next {
    /// Another.
    Head,
    /// Nothing. Whether the caller may be sending still.
    End { heard_all: bool },
    /// What is no HTTP is over too.
    Tunnel,
}
