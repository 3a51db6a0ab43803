//! HTTP/1 messages, read and written byte by byte, so that nothing between a test and the wire is polite.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message as it was on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub(crate) start: String,
    /// The header fields, in order and in their own case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The trailers of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    /// A header's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_else(|_| panic!("no status in {:?}", self.start))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.word(0)
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.word(1)
    }

    fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length")?.parse().ok()
    }
}

/// A connection on which bytes are bytes.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Wire {
    /// A connection that exists.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The connection itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Connects.
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("the listener is there"))
    }

    /// Connects from another address of this machine.
    pub(crate) async fn between(from: &str, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let from = format!("{from}:0").parse().expect("an address of IPv4");
        socket.bind(from).expect("all of 127.0.0.0/8 is this machine");
        Self::new(socket.connect(address).await.expect("the listener is there"))
    }

    /// Its own address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("it is connected")
    }

    /// Writes bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Writes as much as the peer takes, until it takes nothing for a while; how much that was.
    pub(crate) async fn flood(&mut self, most: usize, patience: Duration) -> usize {
        let block = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < most {
            let part = block.len().min(most - sent);
            match tokio::time::timeout(patience, self.stream.write(&block[..part])).await {
                Ok(Ok(count)) => sent += count,
                Ok(Err(error)) => panic!("the peer is gone after {sent} bytes: {error}"),
                Err(_) => break,
            }
        }
        sent
    }

    /// Reads a head; `None` when the connection ended before there was one.
    pub(crate) async fn head(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                // Bytes that are no text are written as explanations write them.
                let text = leeboard_sim::text(&head[..end]);
                let (start, fields) = text.split_once("\r\n").unwrap_or((&text, ""));
                return Some(Message { start: start.to_owned(), headers: parse_fields(fields), ..Message::default() });
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads a request with its body; `None` when the connection ended before there was one.
    pub(crate) async fn request(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        if message.chunked() {
            self.chunks(&mut message).await?;
        } else {
            message.body = self.exactly(message.length().unwrap_or(0)).await?;
        }
        Some(message)
    }

    /// Reads a final response with its body, as far as it comes; `None` when the connection ended before its head.
    pub(crate) async fn response(&mut self) -> Option<Message> {
        self.answer(false).await
    }

    /// Reads a response to a HEAD, which has no body whatever its head says.
    pub(crate) async fn bodyless(&mut self) -> Option<Message> {
        self.answer(true).await
    }

    async fn answer(&mut self, bodyless: bool) -> Option<Message> {
        let mut message = self.head().await?;
        while message.status() < 200 {
            message = self.head().await?;
        }
        if bodyless || matches!(message.status(), 204 | 304) {
            return Some(message);
        }
        if message.chunked() {
            self.chunks(&mut message).await;
        } else {
            let length = message.length().unwrap_or(usize::MAX);
            while self.buffer.len() < length && self.more().await {}
            let take = self.buffer.len().min(length);
            message.body = self.buffer.split_to(take).to_vec();
        }
        Some(message)
    }

    /// Reads chunks and trailers into a message; `None` when they break off.
    async fn chunks(&mut self, message: &mut Message) -> Option<()> {
        while let Some(chunk) = self.chunk().await? {
            message.body.extend_from_slice(&chunk);
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(());
            }
            message.trailers.extend(parse_fields(&line));
        }
    }

    /// Reads one chunk of a body: `Some(None)` is the last one (its trailers are yet to be read), `None` the connection's end.
    pub(crate) async fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16).expect("a chunk's size");
        if size == 0 {
            return Some(None);
        }
        let data = self.exactly(size).await?;
        self.exactly(2).await?;
        Some(Some(data))
    }

    /// Reads so many bytes; `None` when the connection ended before.
    pub(crate) async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.buffer.split_to(count).to_vec())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.advance(end + 2);
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Waits for the end of the connection; what came before is thrown away.
    pub(crate) async fn end(&mut self) {
        while self.more().await {
            self.buffer.clear();
        }
    }

    /// False at the connection's end, however it came.
    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|count| count > 0)
    }

    /// Ends its own direction only.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("the connection is open");
    }

    /// Ends its own direction and waits for the other's end: closing with something unread would be an RST, which may
    /// overtake what was said last.
    pub(crate) async fn leave(mut self) {
        // The peer may have gone first.
        let _ = self.stream.shutdown().await;
        while self.more().await {
            self.buffer.clear();
        }
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        let lingering = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        lingering.expect("a socket can linger");
    }
}

fn parse_fields(text: &str) -> Vec<(String, String)> {
    let fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// A GET for the service that most tests have. `fields` end with CRLF each.
pub(crate) fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n")
}

/// A POST for the service that most tests have.
pub(crate) fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// A response with a body.
pub(crate) fn response(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
