//! Fuzzes the codec: messages are generated and damaged at random, read in every way that a socket may deliver them,
//! and compared with a naive reading of RFC 9112 and with hyper.
//!
//! The codec is private to this program, so this is a test of this program. A short run is part of the usual tests;
//! `LEEBOARD_FUZZ_MINUTES=20 cargo test --profile fast -p leeboard fuzz -- --ignored` runs for as long.

mod hyper;
mod messages;
mod model;

use bytes::BytesMut;
use leeboard_policy::verdict::BadRequest;

use self::messages::Luck;
use super::body::Decoder;
use super::read::{HeadError, HeadRules, HeadScanner, Length, Request, Response};
use super::write;
use crate::http::fields::{Fields, Names};
use crate::http::hop_by_hop::fit_to_pass;
use crate::http::target::{Path, Target};

const RULES: HeadRules = HeadRules::strict(2048, 16);

/// Names and values.
type List = Vec<(Vec<u8>, Vec<u8>)>;

/// A message as it was understood.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Said {
    /// Method and target, or status.
    start: String,
    fields: List,
    body: Vec<u8>,
    trailers: List,
}

/// What follows the last message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// More must come.
    More,
    /// Something that is refused.
    Refused,
    /// Nothing that is HTTP, or nothing at all: the connection is not used again.
    Over,
}

/// The messages of one connection.
type Heard = (Vec<Said>, End);

/// Which side is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Requests,
    /// The first is an answer to HEAD.
    Responses {
        to_head: bool,
    },
}

/// What is between messages, or within one.
struct Reader {
    side: Side,
    pieces: HeadScanner,
    read: BytesMut,
    body: Option<(Decoder, bool)>,
    heard: Vec<Said>,
}

impl Reader {
    /// Reads on as far as it can; `None` when more is needed.
    fn go_on(&mut self) -> Option<End> {
        loop {
            let Some((decoder, keeps)) = &mut self.body else {
                match self.head() {
                    Ok(true) => continue,
                    Ok(false) => return None,
                    Err(end) => return Some(end),
                }
            };
            let said = self.heard.last_mut()?;
            match decoder.take(&mut self.read) {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => said.body.extend_from_slice(&data),
                    Err(frame) => said.trailers = frame.into_trailers().map_or(Vec::new(), |map| list_of(&map)),
                },
                Ok(None) if !decoder.is_done() => return None,
                Ok(None) if !*keeps => return Some(End::Over),
                Ok(None) => self.body = None,
                Err(_) => return Some(End::Refused),
            }
        }
    }

    fn head(&mut self) -> Result<bool, End> {
        let refused = |_: HeadError| End::Refused;
        let (start, fields, length, keeps) = match self.side {
            Side::Requests => match self.pieces.request(&mut self.read, &RULES).map_err(refused)? {
                Some(Request { method, target, fields, length, keeps, .. }) => {
                    let length = length.map_err(|_: BadRequest| End::Refused)?;
                    let tunnel = method == http::Method::CONNECT;
                    (format!("{method} {}", target_of(&target)?), fields, length, keeps && !tunnel)
                }
                None => return Ok(false),
            },
            Side::Responses { to_head } => {
                let to_head = to_head && self.heard.is_empty();
                match self.pieces.response(&mut self.read, to_head, &RULES).map_err(refused)? {
                    Some(Response { status, fields, length, keeps }) => {
                        (status.to_string(), fields, length, keeps && status != 101)
                    }
                    None => return Ok(false),
                }
            }
        };
        let fields = fields.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect();
        self.heard.push(Said { start, fields, ..Said::default() });
        self.body = Some((length.into(), keeps));
        Ok(true)
    }
}

/// The path that is asked for, or nothing that tells; an error for what hyper has no room for and so does not judge, and for what
/// is refused as soon as its head is here.
fn target_of(target: &Target) -> Result<&str, End> {
    match target {
        Target::Path(Path::Text(_)) | Target::Url { path: Path::Text(_), .. } => Err(End::Refused),
        Target::Path(path) => Ok(path.as_str()),
        Target::Authority(authority) if http::Uri::try_from(authority).is_err() => Err(End::Refused),
        Target::Nothing(_) => Err(End::Refused),
        Target::Authority(authority) => Ok(authority),
        Target::Url { .. } | Target::Asterisk => Ok(""),
    }
}

fn list_of(map: &http::HeaderMap) -> List {
    map.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Reads bytes that come in these pieces.
fn heard<'b>(side: Side, pieces: impl IntoIterator<Item = &'b [u8]>) -> Heard {
    let mut reader =
        Reader { side, pieces: HeadScanner::default(), read: BytesMut::new(), body: None, heard: Vec::new() };
    for piece in pieces {
        reader.read.extend_from_slice(piece);
        if let Some(end) = reader.go_on() {
            return (reader.heard, end);
        }
    }
    (reader.heard, End::More)
}

/// The bytes in pieces.
fn cut<'b>(bytes: &'b [u8], luck: &mut Luck) -> Vec<&'b [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    let most = 1 + luck.below(40);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((1 + luck.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

/// Sends a request on as a proxy does.
fn sent_on(said: &Said, luck: &mut Luck) -> Option<Vec<u8>> {
    let (method, target) = said.start.split_once(' ').filter(|(method, _)| *method != "CONNECT")?;
    let target = if target.starts_with('/') { target } else { "/" };
    let mut fields = Fields::default();
    for (name, value) in &said.fields {
        fields.push(name, value);
    }
    crate::http::hop_by_hop::strip_hop_by_hop(&mut fields);
    fields.drop_all(Names::of(&[crate::http::fields::Name::ContentLength]));
    let mut out = Vec::new();
    write::request_line(&mut out, method, target);
    fields.write(&mut out, Names::default());
    let chunked = !said.trailers.is_empty() || luck.below(2) == 0;
    let length = if chunked { Length::Chunked } else { Length::Exactly(said.body.len() as u64) };
    write::length(&mut out, length, false);
    out.extend_from_slice(b"\r\n");
    // What is said of its length has made it longer.
    if out.len() > RULES.bytes {
        return None;
    }
    if !chunked {
        out.extend_from_slice(&said.body);
        return Some(out);
    }
    for piece in cut(&said.body, luck) {
        write::chunk_size(&mut out, piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    let trailers = said.trailers.iter().filter_map(|(name, value)| {
        Some((http::HeaderName::from_bytes(name).ok()?, http::HeaderValue::from_bytes(value).ok()?))
    });
    match fit_to_pass::<()>(Some(Ok(http_body::Frame::trailers(trailers.collect())))) {
        Some(Ok(frame)) => write::trailers(&mut out, frame.trailers_ref()?),
        _ => out.extend_from_slice(write::LAST_CHUNK),
    }
    Some(out)
}

/// One connection from a seed; how many messages were understood.
fn one(seed: u64) -> usize {
    let mut luck = Luck::new(seed);
    let side = match luck.below(3) {
        0 | 1 => Side::Requests,
        _ => Side::Responses { to_head: luck.below(8) == 0 },
    };
    let bytes = messages::damaged(messages::connection(side, &mut luck), &mut luck);
    let shown = || format!("seed {seed}, {side:?}: {}", bytes.escape_ascii());
    let whole = heard(side, [&bytes[..]]);
    assert_eq!(heard(side, bytes.chunks(1)), whole, "byte by byte, {}", shown());
    assert_eq!(heard(side, cut(&bytes, &mut luck)), whole, "in pieces, {}", shown());
    model::agrees(side, &bytes, &whole).unwrap_or_else(|why| panic!("{why}, {}\n{whole:?}", shown()));
    if side == Side::Requests {
        hyper::agrees(&bytes, &whole).unwrap_or_else(|why| panic!("hyper: {why}, {}\n{whole:?}", shown()));
        let over = usize::from(whole.1 == End::Over);
        let complete = whole.0.len().saturating_sub(usize::from(whole.1 != End::Over)).max(over);
        for said in whole.0.iter().take(complete) {
            let Some(sent) = sent_on(said, &mut luck) else { continue };
            let again = heard(side, [&sent[..]]);
            let same =
                |again: &Said| again.body == said.body && again.start.split(' ').next() == said.start.split(' ').next();
            assert!(
                matches!(&again.0[..], [again] if same(again)) && again.1 != End::Refused,
                "sent on as {}, heard as {again:?}, {}",
                sent.escape_ascii(),
                shown()
            );
            hyper::agrees(&sent, &again).unwrap_or_else(|why| panic!("hyper, sent on: {why}, {}", sent.escape_ascii()));
        }
    }
    whole.0.len()
}

#[test]
fn what_is_read_does_not_depend_on_how_it_comes_and_is_what_the_rfc_and_hyper_read() {
    let messages: usize = (1..=1_500).map(one).sum();
    assert!(messages > 800, "hardly anything is understood: {messages}");
}

#[test]
#[ignore = "takes as long as it is asked to"]
fn shaken_for_minutes() {
    let minutes = crate::host::env::variable("LEEBOARD_FUZZ_MINUTES").and_then(|text| text.parse::<f64>().ok());
    let clock = crate::host::clock::Clock::start();
    let time = leeboard_policy::time::Span((minutes.unwrap_or(1.0) * 60e9) as u64);
    let began = clock.wall().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let (mut connections, mut messages) = (0_u64, 0);
    while clock.now() < leeboard_policy::time::Time(0) + time {
        messages += one(began.wrapping_mul(1_000_003).wrapping_add(connections));
        connections += 1;
    }
    eprintln!("{connections} connections, {messages} messages understood, none in two ways");
}
