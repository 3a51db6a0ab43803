//! Parses heads of requests and responses.

use bytes::{Buf, BytesMut};
use http::{Method, Version};
use leeboard_policy::verdict::BadRequest;
use memchr::memrchr;

use crate::http::fields::{Fields, Name, Names};
use crate::http::target::Target;

/// Envoy: the most header fields of a response. Requests have a limit of their own.
const RESPONSE_FIELDS: usize = 1_000;
/// How many fields are read without asking for memory.
const FEW: usize = 64;

/// How much one side's heads may have, and what is forgiven it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeadRules {
    /// The most bytes of a head.
    pub(crate) bytes: usize,
    /// The most fields of a request's head.
    pub(crate) fields: usize,
    /// A length beside chunks is passed over. Envoy: `allow_chunked_length`.
    pub(crate) chunked_length: bool,
    /// Lines of heads may end in LF alone.
    pub(crate) bare_lf: bool,
}

impl HeadRules {
    /// With these limits and nothing forgiven.
    pub(crate) const fn strict(bytes: usize, fields: usize) -> Self {
        Self { bytes, fields, chunked_length: false, bare_lf: false }
    }
}

/// A head that comes in pieces. It is looked at when a line of it has come to its end and no further than that, so that what is
/// seen does not depend on the pieces, and the work is that of its lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadScanner {
    seen: usize,
}

impl HeadScanner {
    /// The next request's head, once it is here. RFC 9112 §2.2: empty lines before it are passed over.
    pub(crate) fn request(&mut self, read: &mut BytesMut, rules: &HeadRules) -> Result<Option<Request>, HeadError> {
        while read.starts_with(b"\r\n") {
            read.advance(2);
            self.seen = 0;
        }
        // What speaks another protocol need not be waited for.
        match read[..] {
            [] | [b'\r'] => {}
            [b'\n', ..] if rules.bare_lf => {}
            [first, ..] if first.is_ascii_graphic() => {}
            _ => return Err(HeadError::Malformed),
        }
        let Some(lines) = self.lines(read, rules)? else { return Ok(None) };
        let found = request(&read[..lines], rules);
        self.taken(found, read, rules)
    }

    /// The next response's head, once it is here.
    pub(crate) fn response(
        &mut self,
        read: &mut BytesMut,
        to_head: bool,
        rules: &HeadRules,
    ) -> Result<Option<Response>, HeadError> {
        // Parsers pass over empty lines here as well. Nobody sends any between responses but by mistake.
        if read.first().is_some_and(|first| *first != b'H') {
            return Err(HeadError::Malformed);
        }
        let Some(lines) = self.lines(read, rules)? else { return Ok(None) };
        let found = response(&read[..lines], to_head, rules);
        self.taken(found, read, rules)
    }

    /// Where the last line ends that is here, if it has come since the last look.
    fn lines(&mut self, read: &[u8], rules: &HeadRules) -> Result<Option<usize>, HeadError> {
        let before = std::mem::replace(&mut self.seen, read.len()).min(read.len());
        if read.len() > before && read.ends_with(b"\n") {
            return Ok(Some(read.len()));
        }
        match memrchr(b'\n', &read[before..]) {
            Some(at) => Ok(Some(before + at + 1)),
            None if read.len() > rules.bytes => Err(HeadError::TooLarge),
            None => Ok(None),
        }
    }

    fn taken<T>(
        &mut self,
        head: Result<(T, usize), HeadError>,
        read: &mut BytesMut,
        rules: &HeadRules,
    ) -> Result<Option<T>, HeadError> {
        match head {
            Ok((head, used)) => {
                read.advance(used);
                self.seen = 0;
                Ok(Some(head))
            }
            Err(HeadError::Partial) if read.len() <= rules.bytes => Ok(None),
            Err(HeadError::Partial) => Err(HeadError::TooLarge),
            Err(refused) => Err(refused),
        }
    }
}

/// How a body's end is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// By its length.
    Exactly(u64),
    /// By a last chunk.
    Chunked,
    /// By the connection's end.
    UntilClose,
}

impl Length {
    /// The length, where it was said.
    pub(crate) fn exact(self) -> Option<u64> {
        match self {
            Length::Exactly(length) => Some(length),
            Length::Chunked | Length::UntilClose => None,
        }
    }
}

/// A request's head.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
    /// How long its body is, or why that cannot be told.
    pub(crate) length: Result<Length, BadRequest>,
    /// Whether the caller means to use the connection again.
    pub(crate) keeps: bool,
}

/// A response's head.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) length: Length,
    pub(crate) keeps: bool,
}

/// A head that is no head, or none yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeadError {
    /// More must come.
    Partial,
    /// No HTTP/1.
    Malformed,
    /// More bytes or fields than allowed.
    TooLarge,
}

/// Reads a request's head from the beginning of `bytes`, and tells how long it was.
pub(crate) fn request(bytes: &[u8], rules: &HeadRules) -> Result<(Request, usize), HeadError> {
    let found = fields_of(rules.fields, |room| {
        let mut head = httparse::Request::new(&mut []);
        let status = head.parse_with_uninit_headers(bytes, room);
        let used = complete(status)?;
        let method = head.method.map(|method| Method::from_bytes(method.as_bytes()));
        let (Some(Ok(method)), Some(target)) = (method, head.path) else { return Err(HeadError::Malformed) };
        let version = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let target = Target::read(&method, target);
        let fields = fields_in(&bytes[..used], head.headers, rules)?;
        Ok((used, (fields, method, target, version)))
    });
    let (used, (fields, method, target, version)) = within(found, bytes, rules)?;
    let length = request_length(&fields, version, &method, rules);
    let keeps = keeps(&fields, version);
    let mut request = Request { method, target, version, fields, length, keeps };
    if request.length == Ok(Length::Chunked) {
        request.fields.drop_all(const { Names::of(&[Name::ContentLength]) });
    }
    Ok((request, used))
}

/// Reads a response's head from the beginning of `bytes`, and tells how long it was. `to_head` says that HEAD was asked.
pub(crate) fn response(bytes: &[u8], to_head: bool, rules: &HeadRules) -> Result<(Response, usize), HeadError> {
    let found = fields_of(RESPONSE_FIELDS, |room| {
        let mut head = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(false)
            .parse_response_with_uninit_headers(&mut head, bytes, room);
        let used = complete(status)?;
        let status = head.code.filter(|code| (100..1000).contains(code)).ok_or(HeadError::Malformed)?;
        let version = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        Ok((used, (fields_in(&bytes[..used], head.headers, rules)?, status, version)))
    });
    let (used, (mut fields, status, version)) = within(found, bytes, rules)?;
    let Some(length) = response_length(&fields, status, version, to_head, rules) else {
        return Err(HeadError::Malformed);
    };
    if fields.has(Name::TransferEncoding) || status < 200 || status == 204 {
        fields.drop_all(const { Names::of(&[Name::ContentLength]) });
    } else if fields.all(Name::ContentLength).nth(1).is_some() {
        let said = fields.get(Name::ContentLength).map(<[u8]>::to_vec).unwrap_or_default();
        fields.replace(Name::ContentLength, &said);
    }
    let keeps = length != Length::UntilClose && keeps(&fields, version);
    Ok((Response { status, fields, length, keeps }, used))
}

/// Reads trailers from the beginning of `bytes`, up to the empty line, and tells how long they were.
pub(crate) fn trailers(bytes: &[u8]) -> Result<(http::HeaderMap, usize), HeadError> {
    let mut room = [httparse::EMPTY_HEADER; FEW];
    match httparse::parse_headers(bytes, &mut room) {
        Ok(httparse::Status::Complete((used, list))) => match Fields::of_head(&bytes[..used], list) {
            (fields, true) => Ok((fields.to_map(Default::default(), []), used)),
            (_, false) => Err(HeadError::Malformed),
        },
        Ok(httparse::Status::Partial) => Err(HeadError::Partial),
        Err(_) => Err(HeadError::Malformed),
    }
}

/// The fields of a head, each line of which ends as it must.
fn fields_in(head: &[u8], list: &[httparse::Header<'_>], rules: &HeadRules) -> Result<Fields, HeadError> {
    match Fields::of_head(head, list) {
        (fields, clean) if rules.bare_lf || (clean && !matches!(head[0], b'\r' | b'\n')) => Ok(fields),
        _ => Err(HeadError::Malformed),
    }
}

/// What has been found, if it is no more than is allowed.
fn within<T>(found: Result<(usize, T), HeadError>, bytes: &[u8], rules: &HeadRules) -> Result<(usize, T), HeadError> {
    match found {
        Err(HeadError::Partial) if bytes.len() > rules.bytes => Err(HeadError::TooLarge),
        Ok((used, _)) if used > rules.bytes => Err(HeadError::TooLarge),
        found => found,
    }
}

type Room<'h, 'b> = &'h mut [std::mem::MaybeUninit<httparse::Header<'b>>];

/// Tries with room for few fields first, for more costs memory.
fn fields_of<'b, T>(most: usize, read: impl Fn(Room<'_, 'b>) -> Result<T, HeadError>) -> Result<T, HeadError> {
    let mut few = [const { std::mem::MaybeUninit::uninit() }; FEW];
    match read(&mut few[..most.min(FEW)]) {
        Err(HeadError::TooLarge) if most > FEW => {
            let mut many = Vec::new();
            many.resize_with(most, std::mem::MaybeUninit::uninit);
            read(&mut many)
        }
        read => read,
    }
}

fn complete(status: httparse::Result<usize>) -> Result<usize, HeadError> {
    match status {
        Ok(httparse::Status::Complete(used)) => Ok(used),
        Ok(httparse::Status::Partial) => Err(HeadError::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(_) => Err(HeadError::Malformed),
    }
}

/// RFC 9112 §6.3, with no mercy for what can be read in two ways.
fn request_length(fields: &Fields, version: Version, method: &Method, rules: &HeadRules) -> Result<Length, BadRequest> {
    let mut codings = fields.all(Name::TransferEncoding);
    let length = match (codings.next(), fields.get(Name::ContentLength)) {
        (None, None) => Length::Exactly(0),
        (None, Some(_)) if fields.all(Name::ContentLength).nth(1).is_some() => return Err(BadRequest::AmbiguousLength),
        (None, Some(said)) => Length::Exactly(number(said).ok_or(BadRequest::AmbiguousLength)?),
        (Some(_), Some(_)) if !rules.chunked_length => return Err(BadRequest::AmbiguousLength),
        (Some(coding), _) => {
            let last = codings.last().unwrap_or(coding);
            if version == Version::HTTP_10 || !ends_in_chunked(last) {
                return Err(BadRequest::AmbiguousLength);
            }
            if !is_chunked_alone(fields) {
                return Err(BadRequest::UnknownCoding);
            }
            Length::Chunked
        }
    };
    // What follows a CONNECT is not HTTP.
    Ok(if method == Method::CONNECT { Length::Exactly(0) } else { length })
}

/// `None` is a response whose end cannot be told, or could be told otherwise by someone else. RFC 9112 §6.3.
fn response_length(fields: &Fields, status: u16, version: Version, to_head: bool, rules: &HeadRules) -> Option<Length> {
    let coded = fields.has(Name::TransferEncoding);
    let mut said = fields.all(Name::ContentLength).map(number);
    let length = match (coded, said.next()) {
        // Envoy: a response that has no body says nothing of one.
        (true, _) | (false, Some(Some(1..))) if status < 200 || status == 204 => return None,
        (true, Some(_)) if !rules.chunked_length => return None,
        (true, _) if version == Version::HTTP_10 || !is_chunked_alone(fields) => return None,
        (true, _) => Length::Chunked,
        (false, None) => Length::UntilClose,
        (false, Some(first)) if said.all(|another| another == first) => Length::Exactly(first?),
        (false, Some(_)) => return None,
    };
    let bodiless = to_head || status < 200 || status == 204 || status == 304;
    Some(if bodiless { Length::Exactly(0) } else { length })
}

/// Whether the one coding is `chunked`.
fn is_chunked_alone(fields: &Fields) -> bool {
    let mut codings = fields.all(Name::TransferEncoding);
    codings.next().is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

fn ends_in_chunked(coding: &[u8]) -> bool {
    coding.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Digits and nothing else, and no more than everybody can count.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() < 20 && text.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| text.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    number.filter(|number| i64::try_from(*number).is_ok())
}

fn keeps(fields: &Fields, version: Version) -> bool {
    let is = |value: &[u8], word: &[u8]| value.trim_ascii().eq_ignore_ascii_case(word);
    let says = |name, word: &[u8]| {
        let list =
            |value: &[u8]| value.contains(&b',') && value.split(|byte| *byte == b',').any(|token| is(token, word));
        fields.all(name).any(|value| is(value, word) || list(value))
    };
    // RFC 9112 §9.3: `close` goes before what else is said.
    let closes = says(Name::Connection, b"close")
        // Envoy: callers may say it to a proxy in this word.
        || says(Name::ProxyConnection, b"close");
    !closes && (version != Version::HTTP_10 || says(Name::Connection, b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<(Request, usize), HeadError> {
        request(format!("{lines}\r\n\r\nrest").as_bytes(), &HeadRules::strict(1024, 8))
    }

    #[test]
    fn a_request_says_where_it_ends_or_why_that_cannot_be_told() {
        use BadRequest::{AmbiguousLength, UnknownCoding};
        #[rustfmt::skip]
        let table: &[(&str, Result<Length, BadRequest>, bool)] = &[
            // head, length, whether the connection is kept
            ("GET / HTTP/1.1", Ok(Length::Exactly(0)), true),
            ("GET / HTTP/1.0", Ok(Length::Exactly(0)), false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive", Ok(Length::Exactly(0)), true),
            ("GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive", Ok(Length::Exactly(0)), false),
            ("GET / HTTP/1.1\r\nConnection: x, Close", Ok(Length::Exactly(0)), false),
            ("GET / HTTP/1.1\r\nProxy-Connection: close", Ok(Length::Exactly(0)), false),
            ("GET / HTTP/1.0\r\nProxy-Connection: keep-alive", Ok(Length::Exactly(0)), false),
            ("POST / HTTP/1.1\r\nContent-Length: 12", Ok(Length::Exactly(12)), true),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked", Ok(Length::Chunked), true),
            ("CONNECT a:1 HTTP/1.1\r\nContent-Length: 12", Ok(Length::Exactly(0)), true),
            ("POST / HTTP/1.1\r\nContent-Length: 1, 1", Err(AmbiguousLength), true),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999", Err(AmbiguousLength), true),
            ("POST / HTTP/1.1\r\nContent-Length:", Err(AmbiguousLength), true),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", Err(AmbiguousLength), true),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip", Err(AmbiguousLength), true),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked", Err(AmbiguousLength), false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked", Err(UnknownCoding), true),
        ];
        for (lines, length, keeps) in table {
            let (request, used) = head(lines).expect("a head");
            assert_eq!((&request.length, request.keeps, used), (length, *keeps, lines.len() + 4), "{lines}");
        }
    }

    #[test]
    fn what_is_no_request_or_too_much_of_one_is_refused() {
        let many = (0..9).map(|at| format!("\r\nX-{at}: 1")).collect::<String>();
        #[rustfmt::skip]
        let table = [
            ("GET /", HeadError::Malformed),
            ("GET / HTTP/2.0", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nBad Name: 1", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nX: 1\r\n folded", HeadError::Malformed),
            (&format!("GET / HTTP/1.1{many}"), HeadError::TooLarge),
            (&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1024)), HeadError::TooLarge),
        ];
        for (lines, expected) in table {
            assert_eq!(head(lines).err(), Some(expected), "{lines}");
        }
        assert_eq!(request(b"GET / HTTP/1.1\r\nHo", &HeadRules::strict(1024, 8)).err(), Some(HeadError::Partial));
        assert_eq!(request(&[b'x'; 1025], &HeadRules::strict(1024, 8)).err(), Some(HeadError::TooLarge));
    }

    #[test]
    fn a_response_says_where_it_ends() {
        #[rustfmt::skip]
        let table: &[(&str, bool, Option<(Length, bool)>)] = &[
            // head, to HEAD, length and whether the connection is kept
            ("HTTP/1.1 200 OK\r\nContent-Length: 5", false, Some((Length::Exactly(5), true))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5", true, Some((Length::Exactly(0), true))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", false, Some((Length::Exactly(5), true))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", false, None),
            ("HTTP/1.1 200 OK\r\nContent-Length: five", false, None),
            ("HTTP/1.1 200 OK", false, Some((Length::UntilClose, false))),
            ("HTTP/1.1 204 No Content", false, Some((Length::Exactly(0), true))),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", false, Some((Length::Exactly(0), true))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", false, Some((Length::Chunked, true))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true, Some((Length::Exactly(0), true))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", false, None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", false, None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", true, None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", false, None),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", false, None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808", false, None),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 0", false, Some((Length::Exactly(0), true))),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5", false, None),
            ("HTTP/1.1 101 Switching\r\nTransfer-Encoding: chunked", false, None),
            ("HTTP/1.1 200 OK\nContent-Length: 5", false, None),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5", false, Some((Length::Exactly(5), false))),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5", false, Some((Length::Exactly(5), false))),
            ("HTTP/1.1 999 Odd\r\nContent-Length: 0", false, Some((Length::Exactly(0), true))),
            ("SMTP 220 hello", false, None),
        ];
        for (lines, to_head, expected) in table {
            let read = response(format!("{lines}\r\n\r\n").as_bytes(), *to_head, &HeadRules::strict(1024, 8));
            let said = read.as_ref().ok().map(|(response, _)| (response.length, response.keeps));
            assert_eq!(said, *expected, "{lines}");
            let lengths = read.map_or(0, |(response, _)| response.fields.all(Name::ContentLength).count());
            assert!(lengths <= usize::from(!lines.contains("chunked")), "{lines}");
        }
    }

    #[test]
    fn what_is_forgiven_is_forgiven_only_when_asked_for() {
        let chunked = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        let lines = "POST / HTTP/1.1\nX: 1\r\n\n";
        let strict = HeadRules::strict(1024, 8);
        assert_eq!(
            request(chunked.as_bytes(), &strict).map(|(r, _)| r.length).ok(),
            Some(Err(BadRequest::AmbiguousLength))
        );
        assert_eq!(request(lines.as_bytes(), &strict).err(), Some(HeadError::Malformed));
        let mild = HeadRules { chunked_length: true, bare_lf: true, ..strict };
        let (request, _) = super::request(chunked.as_bytes(), &mild).expect("a request");
        assert_eq!((request.length, request.fields.has(Name::ContentLength)), (Ok(Length::Chunked), false));
        assert!(super::request(lines.as_bytes(), &mild).is_ok());
    }

    #[test]
    fn a_head_in_pieces_is_looked_at_line_by_line() {
        let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(4_000));
        let rules = HeadRules::strict(8_192, 8);
        let (mut pieces, mut looks) = (HeadScanner::default(), 0);
        for end in 1..=head.len() {
            looks += u32::from(pieces.lines(&head.as_bytes()[..end], &rules) == Ok(Some(end)));
        }
        assert_eq!(looks, 3);
        assert_eq!(HeadScanner::default().lines(&[b'x'; 8_193], &rules), Err(HeadError::TooLarge));
    }
}
