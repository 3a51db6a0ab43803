//! Heads, from bytes.

use http::uri::PathAndQuery;
use http::{Method, Uri, Version};
use leeboard_policy::verdict::BadRequest;

use super::body::Length;
use crate::fields::{Fields, Name};

/// The most bytes of a response's head. Envoy: 60 KiB by default; what is allowed to callers may be more.
const RESPONSE_HEAD: usize = 256 * 1024;
/// Envoy: the most header fields of a response. Requests have a limit of their own.
const RESPONSE_FIELDS: usize = 1_000;
/// How many fields are read without asking for memory.
const FEW: usize = 64;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A path on the host that the head names.
    Path(PathAndQuery),
    /// A whole URL, `host:port`, or `*`.
    Uri(Uri),
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
pub(crate) enum Unread {
    /// More must come.
    Partial,
    /// No HTTP/1.
    Malformed,
    /// More bytes or fields than allowed.
    TooLarge,
}

/// Reads a request's head from the beginning of `bytes`, and tells how long it was.
pub(crate) fn request(bytes: &[u8], most_bytes: usize, most_fields: usize) -> Result<(Request, usize), Unread> {
    let found = fields_of(most_fields, |room| {
        let mut head = httparse::Request::new(&mut []);
        let status = head.parse_with_uninit_headers(bytes, room);
        let used = complete(status)?;
        let method = head.method.map(|method| Method::from_bytes(method.as_bytes()));
        let (Some(Ok(method)), Some(target)) = (method, head.path) else { return Err(Unread::Malformed) };
        let version = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let target = match target.as_bytes() {
            [b'/', ..] => PathAndQuery::try_from(target).ok().map(Target::Path),
            _ => Uri::try_from(target).ok().map(Target::Uri),
        };
        Ok((used, Fields::of_head(&bytes[..used], head.headers), method, target.ok_or(Unread::Malformed)?, version))
    });
    let (used, fields, method, target, version) = match found {
        Err(Unread::Partial) if bytes.len() > most_bytes => return Err(Unread::TooLarge),
        found => found?,
    };
    if used > most_bytes {
        return Err(Unread::TooLarge);
    }
    let length = request_length(&fields, version, &method);
    let keeps = keeps(&fields, version);
    Ok((Request { method, target, version, fields, length, keeps }, used))
}

/// Reads a response's head from the beginning of `bytes`, and tells how long it was. `to_head` says that HEAD was asked.
pub(crate) fn response(bytes: &[u8], to_head: bool) -> Result<(Response, usize), Unread> {
    let found = fields_of(RESPONSE_FIELDS, |room| {
        let mut head = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(false)
            .parse_response_with_uninit_headers(&mut head, bytes, room);
        let used = complete(status)?;
        let status = head.code.filter(|code| (100..1000).contains(code)).ok_or(Unread::Malformed)?;
        let version = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        Ok((used, Fields::of_head(&bytes[..used], head.headers), status, version))
    });
    let (used, mut fields, status, version) = match found {
        Err(Unread::Partial) if bytes.len() > RESPONSE_HEAD => return Err(Unread::TooLarge),
        found => found?,
    };
    let length = match response_length(&fields, status, to_head) {
        Some(length) => length,
        None => return Err(Unread::Malformed),
    };
    if status == 204 || fields.has(Name::TransferEncoding) || fields.all(Name::ContentLength).nth(1).is_some() {
        let said = fields.get(Name::ContentLength).map(<[u8]>::to_vec);
        fields.drop_all(crate::fields::Names::of(&[Name::ContentLength]));
        if let (Some(said), Length::Exactly(_)) = (said, length)
            && status != 204
        {
            fields.put(Name::ContentLength, &said);
        }
    }
    let keeps = length != Length::UntilClose && keeps(&fields, version);
    Ok((Response { status, fields, length, keeps }, used))
}

/// Reads trailers from the beginning of `bytes`, up to the empty line, and tells how long they were.
pub(crate) fn trailers(bytes: &[u8]) -> Result<(http::HeaderMap, usize), Unread> {
    let mut room = [httparse::EMPTY_HEADER; FEW];
    match httparse::parse_headers(bytes, &mut room) {
        Ok(httparse::Status::Complete((used, list))) => {
            Ok((Fields::of_head(&bytes[..used], list).to_map(Default::default(), []), used))
        }
        Ok(httparse::Status::Partial) => Err(Unread::Partial),
        Err(_) => Err(Unread::Malformed),
    }
}

type Room<'h, 'b> = &'h mut [std::mem::MaybeUninit<httparse::Header<'b>>];

/// Tries with room for few fields first, for more costs memory.
fn fields_of<'b, T>(most: usize, read: impl Fn(Room<'_, 'b>) -> Result<T, Unread>) -> Result<T, Unread> {
    let mut few = [const { std::mem::MaybeUninit::uninit() }; FEW];
    match read(&mut few[..most.min(FEW)]) {
        Err(Unread::TooLarge) if most > FEW => {
            let mut many = Vec::new();
            many.resize_with(most, std::mem::MaybeUninit::uninit);
            read(&mut many)
        }
        read => read,
    }
}

fn complete(status: httparse::Result<usize>) -> Result<usize, Unread> {
    match status {
        Ok(httparse::Status::Complete(used)) => Ok(used),
        Ok(httparse::Status::Partial) => Err(Unread::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(Unread::TooLarge),
        Err(_) => Err(Unread::Malformed),
    }
}

/// RFC 9112 §6.3, with no mercy for what can be read in two ways.
fn request_length(fields: &Fields, version: Version, method: &Method) -> Result<Length, BadRequest> {
    let mut codings = fields.all(Name::TransferEncoding);
    let length = match (codings.next(), fields.get(Name::ContentLength)) {
        (None, None) => Length::Exactly(0),
        (None, Some(_)) if fields.all(Name::ContentLength).nth(1).is_some() => return Err(BadRequest::AmbiguousLength),
        (None, Some(said)) => Length::Exactly(number(said).ok_or(BadRequest::AmbiguousLength)?),
        (Some(coding), None) => {
            let last = codings.last().unwrap_or(coding);
            if version == Version::HTTP_10 || !ends_in_chunked(last) {
                return Err(BadRequest::AmbiguousLength);
            }
            let alone = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if !alone || fields.all(Name::TransferEncoding).nth(1).is_some() {
                return Err(BadRequest::UnknownCoding);
            }
            Length::Chunked
        }
        (Some(_), Some(_)) => return Err(BadRequest::AmbiguousLength),
    };
    // What follows a CONNECT is not HTTP.
    Ok(if method == Method::CONNECT { Length::Exactly(0) } else { length })
}

/// `None` is a response whose end cannot be told. RFC 9112 §6.3.
fn response_length(fields: &Fields, status: u16, to_head: bool) -> Option<Length> {
    if to_head || status < 200 || status == 204 || status == 304 {
        return Some(Length::Exactly(0));
    }
    if let Some(coding) = fields.all(Name::TransferEncoding).last() {
        return Some(if ends_in_chunked(coding) { Length::Chunked } else { Length::UntilClose });
    }
    let mut said = fields.all(Name::ContentLength).map(number);
    let Some(first) = said.next() else { return Some(Length::UntilClose) };
    if said.all(|another| another == first) { first.map(Length::Exactly) } else { None }
}

fn ends_in_chunked(coding: &[u8]) -> bool {
    coding.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() < 20 && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn keeps(fields: &Fields, version: Version) -> bool {
    let says = |word: &[u8]| {
        let tokens = fields.all(Name::Connection).flat_map(|value| value.split(|byte| *byte == b','));
        tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(word))
    };
    if version == Version::HTTP_10 { says(b"keep-alive") } else { !says(b"close") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<(Request, usize), Unread> {
        request(format!("{lines}\r\n\r\nrest").as_bytes(), 1024, 8)
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
            ("GET / HTTP/1.1\r\nConnection: x, Close", Ok(Length::Exactly(0)), false),
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
            ("GET /", Unread::Malformed),
            ("GET / HTTP/2.0", Unread::Malformed),
            ("GET / HTTP/1.1\r\nBad Name: 1", Unread::Malformed),
            ("GET / HTTP/1.1\r\nX: 1\r\n folded", Unread::Malformed),
            (&format!("GET / HTTP/1.1{many}"), Unread::TooLarge),
            (&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1024)), Unread::TooLarge),
        ];
        for (lines, expected) in table {
            assert_eq!(head(lines).err(), Some(expected), "{lines}");
        }
        assert_eq!(request(b"GET / HTTP/1.1\r\nHo", 1024, 8).err(), Some(Unread::Partial));
        assert_eq!(request(&[b'x'; 1025], 1024, 8).err(), Some(Unread::TooLarge));
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
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", false, Some((Length::Chunked, true))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", false, Some((Length::UntilClose, false))),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5", false, Some((Length::Exactly(5), false))),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5", false, Some((Length::Exactly(5), false))),
            ("HTTP/1.1 999 Odd\r\nContent-Length: 0", false, Some((Length::Exactly(0), true))),
            ("SMTP 220 hello", false, None),
        ];
        for (lines, to_head, expected) in table {
            let read = response(format!("{lines}\r\n\r\n").as_bytes(), *to_head);
            let said = read.as_ref().ok().map(|(response, _)| (response.length, response.keeps));
            assert_eq!(said, *expected, "{lines}");
            let lengths = read.map_or(0, |(response, _)| response.fields.all(Name::ContentLength).count());
            assert!(lengths <= usize::from(!lines.contains("chunked")), "{lines}");
        }
    }
}
