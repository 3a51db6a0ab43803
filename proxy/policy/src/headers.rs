//! Changes to headers, and the `%…%` operators their values may hold.

mod operators;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem::take;
use core::ops::Deref;

use operators::{PLAIN, UNFILLED};

/// Changes to a set of headers, if there are any. Most routes have none, and then these take the room of one pointer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderOps(Option<Box<Changes>>);

/// Changes to a set of headers: removals first, then `set`, then `add`, each in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Names to remove, in lower case.
    pub remove: Vec<Arc<str>>,
    /// Names to overwrite or create.
    pub set: Vec<(Arc<str>, Template)>,
    /// Names to append another value to.
    pub add: Vec<(Arc<str>, Template)>,
}

/// A value with operators in it, parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Text as it stands; `%%` has become `%`.
    Literal(Arc<str>),
    /// An operator that is worked out per request.
    Operator(Operator),
}

/// The operators that are understood. Envoy: "command operators".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `%REQ(name?alternative):limit%`.
    Request {
        /// The header, in lower case; `:path`, `:method`, `:authority` and `:scheme` too.
        name: Arc<str>,
        /// The header to take when the first is absent.
        alternative: Option<Arc<str>>,
        /// At most so many bytes.
        limit: Option<usize>,
    },
    /// `%RESP(name?alternative):limit%`.
    Response {
        /// The header, in lower case.
        name: Arc<str>,
        /// The header to take when the first is absent.
        alternative: Option<Arc<str>>,
        /// At most so many bytes.
        limit: Option<usize>,
    },
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`: the caller's address and port.
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`.
    DownstreamRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_REMOTE_PORT%`.
    DownstreamRemotePort,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%` and its form without port are the connection's own peer.
    DownstreamDirectRemoteAddress,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%`.
    DownstreamDirectRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`.
    DownstreamLocalAddress,
    /// `%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%`.
    DownstreamLocalAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_PORT%`.
    DownstreamLocalPort,
    /// `%UPSTREAM_HOST%` and `%UPSTREAM_REMOTE_ADDRESS%`: the endpoint's address; known in response headers only.
    UpstreamHost,
    /// `%UPSTREAM_CLUSTER%` and `%UPSTREAM_CLUSTER_RAW%`.
    UpstreamCluster,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`.
    UpstreamRequestAttemptCount,
    /// `%ROUTE_NAME%`.
    RouteName,
    /// `%PROTOCOL%`: `HTTP/1.1`, `HTTP/2`.
    Protocol,
    /// `%RESPONSE_CODE%`.
    ResponseCode,
    /// `%RESPONSE_FLAGS%`.
    ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    ResponseCodeDetails,
    /// `%START_TIME%` in ISO 8601 with milliseconds.
    StartTime,
    /// `%HOSTNAME%`.
    Hostname,
    /// `%ENVIRONMENT(name)%` as it was when the process began.
    Environment(Arc<str>),
    /// `%BYTES_RECEIVED%`.
    BytesReceived,
    /// `%BYTES_SENT%`.
    BytesSent,
    /// `%DURATION%` in milliseconds.
    Duration,
    /// `%REQUESTED_SERVER_NAME%`.
    RequestedServerName,
    /// `%STREAM_ID%`.
    StreamId,
    /// An operator of Envoy's that nothing here gives a value to, by its name.
    Unfilled(Arc<str>),
}

/// Whether a header, whatever its case, says where a message ends or what becomes of its connection. The proxy writes such
/// headers itself: one from a configuration would have two ends of a connection read it in two ways.
pub fn frames(name: &str) -> bool {
    const FRAMING: [&str; 9] = [
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "trailer",
        "http2-settings",
    ];
    FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What the operators of a template are worked out from.
pub trait Facts {
    /// A request header, in lower case; `:path`, `:method`, `:authority` and `:scheme` too. Several values joined with `,`.
    fn request(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// A response header, in lower case; `None` while there is no response.
    fn response(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// Writes the value of any other operator; false, with nothing written, when there is none.
    fn other(&self, operator: &Operator, out: &mut Vec<u8>) -> bool;
}

/// A set of headers that can be changed. Names are in lower case.
pub trait HeaderEdit {
    /// Takes every value of a header away.
    fn remove(&mut self, name: &str);
    /// Makes this the only value of a header.
    fn set(&mut self, name: &str, value: &[u8]);
    /// Adds a value to those that a header has.
    fn append(&mut self, name: &str, value: &[u8]);
}

/// Changes a message's headers as its route and destination ask. `message` is both what is changed and what the values are
/// worked out from.
///
/// Istio: with one destination its operations come behind the route's in the same lists; with several they are carried
/// out before, so that the route's `set` wins.
pub fn apply(
    route: &HeaderOps,
    destination: &HeaderOps,
    several_destinations: bool,
    message: &mut (impl Facts + HeaderEdit + ?Sized),
) {
    if several_destinations {
        level(&[destination], message);
        level(&[route], message);
    } else {
        level(&[route, destination], message);
    }
}

/// Envoy: removals, then all values are worked out, then those that overwrite and then those that append. An empty value is
/// not added.
fn level(lists: &[&HeaderOps], message: &mut (impl Facts + HeaderEdit + ?Sized)) {
    if lists.iter().all(|ops| ops.is_empty()) {
        return;
    }
    for name in lists.iter().flat_map(|ops| &ops.remove) {
        message.remove(name);
    }
    let worked_out = |message: &_, (name, template): &'_ (Arc<str>, Template)| {
        let mut value = Vec::new();
        Template::render(template, message, &mut value);
        (!value.is_empty()).then(|| (name.clone(), value))
    };
    let set: Vec<_> = lists.iter().flat_map(|ops| &ops.set).filter_map(|op| worked_out(message, op)).collect();
    let add: Vec<_> = lists.iter().flat_map(|ops| &ops.add).filter_map(|op| worked_out(message, op)).collect();
    for (name, value) in set {
        message.set(&name, &value);
    }
    for (name, value) in add {
        message.append(&name, &value);
    }
}

impl HeaderOps {
    /// No changes.
    pub const NONE: Self = Self(None);

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Changes> for HeaderOps {
    fn from(changes: Changes) -> Self {
        let none = changes.remove.is_empty() && changes.set.is_empty() && changes.add.is_empty();
        Self((!none).then(|| Box::new(changes)))
    }
}

impl Deref for HeaderOps {
    type Target = Changes;
    fn deref(&self) -> &Changes {
        static NONE: Changes = Changes { remove: Vec::new(), set: Vec::new(), add: Vec::new() };
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Template {
    /// Text without operators, `%` being itself.
    pub fn literal(text: &str) -> Self {
        Self(if text.is_empty() { Vec::new() } else { Vec::from([Part::Literal(text.into())]) })
    }

    /// Reads Envoy's format: `%%` is a percent sign, `%NAME%`, `%NAME(parameters)%` and `%NAME(parameters):length%` are operators.
    ///
    /// # Errors
    /// An operator that is not understood or not closed, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let position = text.len() - after.len() - 1;
            let (operator, after) = operator(after).map_err(|kind| TemplateError { position, kind })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(take(&mut literal).into()));
            }
            parts.push(Part::Operator(operator));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self(parts))
    }

    /// The operators of which nothing is known here.
    pub fn unfilled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Operator(Operator::Unfilled(name)) => Some(&**name),
            _ => None,
        })
    }

    /// Writes the value. Envoy: in headers an operator without a value is empty; in the access log it is `-`.
    pub fn render(&self, facts: &(impl Facts + ?Sized), out: &mut Vec<u8>) {
        self.render_or("", facts, out);
    }

    /// Writes the value, and `unset` where an operator has none.
    pub fn render_or(&self, unset: &str, facts: &(impl Facts + ?Sized), out: &mut Vec<u8>) {
        for part in &self.0 {
            let written = match part {
                Part::Literal(text) => {
                    out.extend_from_slice(text.as_bytes());
                    true
                }
                Part::Operator(Operator::Request { name, alternative, limit }) => {
                    let value = facts.request(name).or_else(|| facts.request(alternative.as_deref()?));
                    push(value, *limit, out)
                }
                Part::Operator(Operator::Response { name, alternative, limit }) => {
                    let value = facts.response(name).or_else(|| facts.response(alternative.as_deref()?));
                    push(value, *limit, out)
                }
                Part::Operator(Operator::Unfilled(_)) => false,
                Part::Operator(operator) => facts.other(operator, out),
            };
            if !written {
                out.extend_from_slice(unset.as_bytes());
            }
        }
    }
}

/// Writes a value of at most `limit` bytes, without cutting a character of a text in two; false when there is none.
fn push(value: Option<Cow<'_, [u8]>>, limit: Option<usize>, out: &mut Vec<u8>) -> bool {
    let Some(value) = value else { return false };
    let end = limit.map_or(value.len(), |limit| match core::str::from_utf8(&value) {
        Ok(text) => text.floor_char_boundary(limit),
        Err(_) => limit.min(value.len()),
    });
    out.extend_from_slice(&value[..end]);
    true
}

/// A template that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateError {
    /// The byte at which the operator begins.
    pub position: usize,
    /// What is wrong with it.
    pub kind: TemplateProblem,
}

/// What is wrong with an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TemplateProblem {
    /// A `%` begins no operator, or an operator is not closed by another.
    Unbalanced,
    /// There is no operator of this name, or it is not understood.
    Unknown(String),
    /// The operator of this name needs parameters, or takes none, or not these.
    Parameters(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TemplateProblem::Unbalanced => {
                f.write_str("a `%` that opens or closes no operator; a percent sign is `%%`")
            }
            TemplateProblem::Unknown(name) => write!(f, "no operator `%{name}%` is known"),
            TemplateProblem::Parameters(name) => write!(f, "wrong parameters for the operator `%{name}%`"),
        }
    }
}

impl core::error::Error for TemplateError {}

/// Reads an operator behind its opening `%`, and returns what follows the closing one.
fn operator(text: &str) -> Result<(Operator, &str), TemplateProblem> {
    let ends = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let (name, mut rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    if name.is_empty() {
        return Err(TemplateProblem::Unbalanced);
    }
    let mut parameters = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let (inside, after) = parameters_of(inner).ok_or(TemplateProblem::Unbalanced)?;
        (parameters, rest) = (Some(inside), after);
    }
    let mut limit = None;
    if let Some(after) = rest.strip_prefix(':') {
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        limit = Some(after[..digits].parse().map_err(|_| TemplateProblem::Parameters(name.to_string()))?);
        rest = &after[digits..];
    }
    let rest = rest.strip_prefix('%').ok_or(TemplateProblem::Unbalanced)?;
    Ok((named(name, parameters, limit)?, rest))
}

/// The parameters of an operator, and what follows their `)`. Envoy: the first `)` behind which the operator ends; others are
/// of the parameters. Only so many are looked at.
fn parameters_of(text: &str) -> Option<(&str, &str)> {
    let ends = |after: &str| {
        let after =
            after.strip_prefix(':').map_or(after, |after| after.trim_start_matches(|c: char| c.is_ascii_digit()));
        after.starts_with('%')
    };
    let first = text.split_once(')')?;
    let all = text.match_indices(')').take(MOST_BRACKETS).map(|(at, _)| (&text[..at], &text[at + 1..]));
    // Where none ends it, what is wrong is told of the first.
    Some(all.into_iter().find(|(_, after)| ends(after)).unwrap_or(first))
}

/// How many brackets the parameters of an operator may close.
const MOST_BRACKETS: usize = 16;

fn named(name: &str, parameters: Option<&str>, limit: Option<usize>) -> Result<Operator, TemplateProblem> {
    let wrong = || TemplateProblem::Parameters(name.to_string());
    match name {
        "REQ" | "RESP" => {
            let (header, alternative) = parameters.and_then(header_names).ok_or_else(wrong)?;
            Ok(match name {
                "REQ" => Operator::Request { name: header, alternative, limit },
                _ => Operator::Response { name: header, alternative, limit },
            })
        }
        "ENVIRONMENT" => match (parameters, limit) {
            (Some(variable), None) if !variable.is_empty() => Ok(Operator::Environment(variable.into())),
            _ => Err(wrong()),
        },
        _ => {
            let plain = PLAIN.iter().find(|(known, _)| *known == name);
            match plain {
                // Envoy: the time may be given a form. None but the usual one is made here.
                Some((_, Operator::StartTime)) if parameters.is_some() => Ok(Operator::Unfilled(name.into())),
                Some(_) if parameters.is_some() || limit.is_some() => Err(wrong()),
                Some((_, operator)) => Ok(operator.clone()),
                None if UNFILLED.contains(&name) => Ok(Operator::Unfilled(name.into())),
                None => Err(TemplateProblem::Unknown(name.to_string())),
            }
        }
    }
}

/// `name` or `name?alternative`, in lower case.
fn header_names(text: &str) -> Option<(Arc<str>, Option<Arc<str>>)> {
    let lower = |name: &str| -> Option<Arc<str>> {
        (!name.is_empty() && !name.contains('?')).then(|| name.to_ascii_lowercase().into())
    };
    match text.split_once('?') {
        None => Some((lower(text)?, None)),
        Some((name, alternative)) => Some((lower(name)?, Some(lower(alternative)?))),
    }
}

#[cfg(test)]
mod tests;
