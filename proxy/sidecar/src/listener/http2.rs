//! An HTTP/2 connection of a caller: its driver takes requests off it, and each is served by a task of its own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower::Service;

use super::Conversation;
use super::rim::{Answering, Isolating, Rim, rim};
use super::talk::Downstream;
use crate::bell::Bell;
use crate::drain::Manner;
use crate::exchange::Answer;
use crate::exchange::arrival::Arrival;
use crate::fields::{Name, Names};
use crate::hops::without_hops;
use crate::http2::outgoing::Outgoing;
use crate::http2::{CONNECTION_WINDOW, MOST_MISTAKES, STREAM_WINDOW};
use crate::lane::Lane;

/// Envoy: the most streams at a time on a caller's connection.
const MAX_STREAMS: u32 = 1024;
/// The most that each stream of a connection holds for a caller that does not read.
const SEND_BUFFER: usize = 400 * 1024;

impl Conversation {
    /// Serves streams until the connection ends.
    pub(super) async fn http2(&self, downstream: Downstream) {
        let settings = &self.lane.shared.settings;
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(MAX_STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
            .max_local_error_reset_streams(Some(MOST_MISTAKES))
            .max_send_buffer_size(SEND_BUFFER);
        // Each is two kilobytes, for which a future keeps room in every place that they pass through.
        let shaken = Box::pin(async move { builder.handshake(downstream).await.map(Box::new) }).await;
        let ended = match shaken {
            Ok(connection) => self.streams(connection).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(caller = %self.caller.remote, %error, "a caller's connection ended");
        }
    }

    async fn streams(&self, mut connection: Box<Connection<Downstream, Bytes>>) -> Result<(), h2::Error> {
        let mut rim = rim(self.lane.clone(), self.entrance, self.caller);
        let mut stance = self.lane.shared.drain.watch();
        let mut leave = pin!(async move {
            // An error means that the process is ending, which ends this as well.
            let _ = stance.wait_for(|stance| matches!(stance.of(self.side), Manner::Leaving | Manner::Closing)).await;
        });
        let (mut bell, mut leaving) = (None, false);
        poll_fn(|cx| {
            loop {
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => begin(&self.lane, &mut rim, request, respond),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending if leaving => return Poll::Pending,
                    Poll::Pending => {
                        std::task::ready!(Bell::of(&mut bell, cx.waker()).poll(leave.as_mut()));
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                }
            }
        })
        .await
    }
}

fn begin(lane: &Rc<Lane>, rim: &mut Rim, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let answering = rim.call(Arrival::of_stream(request));
    tokio::task::spawn_local(serve(lane.clone(), answering, respond));
}

/// Serves one request, unless its caller resets the stream. Dropping what is under way is all that has to be done then.
async fn serve(lane: Rc<Lane>, mut answering: Isolating<Answering>, mut respond: SendResponse<Bytes>) {
    let answer = poll_fn(|cx| match Pin::new(&mut answering).poll(cx) {
        Poll::Ready(Ok(answer)) => Poll::Ready(Some(answer)),
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    });
    let Some(Answer { status, fields, body }) = answer.await else { return };
    drop(answering);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let over = body.is_end_stream();
    let length = if over || fields.has(Name::ContentLength) { None } else { body.size_hint().exact() };
    let length = length.map(|length| (Name::ContentLength, HeaderValue::from(length)));
    let date = if fields.has(Name::Date) { None } else { HeaderValue::from_bytes(&lane.date()).ok() };
    let more = [date.map(|date| (Name::Date, date)), length];
    *response.headers_mut() =
        without_hops(&fields).to_map(const { Names::of(&[Name::Te]) }, more.into_iter().flatten());
    drop(fields);
    let Ok(stream) = respond.send_response(response, over) else {
        return respond.send_reset(Reason::INTERNAL_ERROR);
    };
    if over {
        return;
    }
    let mut outgoing = Outgoing::new(stream, body);
    poll_fn(|cx| match outgoing.poll(cx) {
        // Whoever broke off knows.
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => outgoing.poll_reset(cx),
    })
    .await;
}
