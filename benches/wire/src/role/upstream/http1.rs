//! The upstream's HTTP/1.1.

use std::io;

use super::Answers;
use crate::http1;

/// One connection.
#[derive(Default)]
pub(super) struct Http1 {
    /// Bytes of a request body still to be read and forgotten.
    skip: usize,
}

impl Http1 {
    /// Takes requests off the inbox and queues their answers.
    pub(super) fn take(&mut self, inbox: &mut Vec<u8>, outbox: &mut Vec<u8>, answers: &Answers) -> io::Result<()> {
        loop {
            let skipped = self.skip.min(inbox.len());
            inbox.drain(..skipped);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(());
            }
            match http1::head(inbox) {
                Ok(Some(head)) => {
                    inbox.drain(..head.length);
                    self.skip = head.body;
                    outbox.extend_from_slice(&answers.http1);
                }
                Ok(None) => return Ok(()),
                Err(malformed) => return Err(io::Error::other(format!("{malformed:?}"))),
            }
        }
    }
}

/// A whole response with a body of that length.
pub(super) fn response(body: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body}\r\n\r\n");
    let mut response = head.into_bytes();
    response.resize(response.len() + body, b'x');
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_has_its_length() {
        let bytes = response(128);
        let head = http1::head(&bytes).expect("well-formed").expect("complete");
        assert_eq!((head.body, bytes.len() - head.length), (128, 128));
        assert_eq!(http1::status(&bytes), Some(200));
    }
}
