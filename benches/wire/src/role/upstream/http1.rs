//! The upstream's HTTP/1.1.

use std::io;

use super::Answers;
use crate::{bytes, http1};

/// One connection.
#[derive(Default)]
pub(super) struct Http1 {
    /// Bytes of a request's body still to be read and forgotten.
    pub(super) skip: u64,
    /// Bytes of a large answer still to be sent.
    pub(super) filler: u64,
    /// The answer to a request whose body is still arriving is due.
    due: bool,
}

impl Http1 {
    /// Takes requests off the inbox and queues their answers, as far as no large body is under way.
    pub(super) fn take(&mut self, inbox: &mut Vec<u8>, outbox: &mut Vec<u8>, answers: &Answers) -> io::Result<()> {
        while self.filler == 0 {
            let skipped = inbox.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            inbox.drain(..skipped);
            self.skip -= skipped as u64;
            if self.skip > 0 {
                return Ok(());
            }
            if std::mem::take(&mut self.due) {
                outbox.extend_from_slice(&answers.http1);
            }
            let head = http1::head(inbox).map_err(|malformed| io::Error::other(format!("{malformed:?}")))?;
            let Some(head) = head else {
                return Ok(());
            };
            if let Some(length) = bytes::asked_for(&inbox[..head.length]) {
                outbox.extend_from_slice(&response_head(length));
                self.filler = length;
            } else {
                self.due = true;
            }
            self.skip = head.body as u64;
            inbox.drain(..head.length);
        }
        Ok(())
    }
}

/// A whole response with a body of that length.
pub(super) fn response(body: usize) -> Vec<u8> {
    let mut response = response_head(body as u64);
    response.resize(response.len() + body, bytes::FILLER);
    response
}

fn response_head(body: u64) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body}\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_answered_at_its_end_and_a_download_holds_up_what_follows() {
        let answers = Answers::new(3);
        let (mut http1, mut outbox) = (Http1::default(), Vec::new());
        let mut inbox = b"PUT /upload HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc".to_vec();
        http1.take(&mut inbox, &mut outbox, &answers).expect("well-formed");
        assert_eq!((http1.skip, outbox.len()), (6, 0));
        http1.skip = 0;
        inbox = b"GET /bytes/70000 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec();
        http1.take(&mut inbox, &mut outbox, &answers).expect("well-formed");
        assert_eq!(http1.filler, 70_000);
        assert_eq!(outbox, [answers.http1.clone(), response_head(70_000)].concat());
        (http1.filler, outbox) = (0, Vec::new());
        http1.take(&mut inbox, &mut outbox, &answers).expect("well-formed");
        assert_eq!(outbox, answers.http1);
    }

    #[test]
    fn the_response_has_its_length() {
        let bytes = response(128);
        let head = http1::head(&bytes).expect("well-formed").expect("complete");
        assert_eq!((head.body, bytes.len() - head.length), (128, 128));
        assert_eq!(http1::status(&bytes), Some(200));
    }
}
