//! Reads `case` blocks: requests, what their attempts meet, and what is expected.

use std::time::Duration;

use leeboard_policy::retry::ResponseHead;
use leeboard_policy::verdict::Failure;

use crate::expectations::{self, Expectation};
use crate::notation::{Misread, duration};

/// One paragraph of a block.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Time passes.
    Wait(Duration),
    /// From now on an endpoint does this, whatever is asked of it.
    Endpoint(String, Meet),
    /// Requests.
    Exchange(Spec),
}

/// Requests that are alike, and what must come of them.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The line of the request.
    pub(crate) line: usize,
    /// What is sent.
    pub(crate) request: Request,
    /// How many.
    pub(crate) count: usize,
    /// Whether they are sent without waiting for answers.
    pub(crate) at_once: bool,
    /// What the attempts meet, in order; the last holds for the rest.
    pub(crate) upstream: Vec<Meet>,
    /// What must hold, and in which line that is written.
    pub(crate) expectations: Vec<(usize, Expectation)>,
}

/// A request as it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// The scheme.
    pub(crate) scheme: String,
    /// Host and port as they are sent.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

/// What an attempt meets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meet {
    /// An answer, after a time.
    Answer(ResponseHead, Duration),
    /// No answer.
    Never,
    /// No connection within the connect timeout.
    Unreachable,
    /// A failure at once.
    Fails(Failure),
}

impl Meet {
    /// An answer at once.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(ResponseHead { status, grpc_status: None, rate_limited: false }, Duration::ZERO)
    }

    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "never" => Self::Never,
            "unreachable" => Self::Unreachable,
            "refused" => Self::Fails(Failure::ConnectRefused),
            "reset" => Self::Fails(Failure::Terminated),
            "refused-stream" => Self::Fails(Failure::RefusedStream),
            "garbage" => Self::Fails(Failure::Protocol),
            _ => {
                let (answer, after) = word.split_once('@').unwrap_or((word, "0ms"));
                let (kind, number) = answer.split_once(':').unwrap_or(("", answer));
                let number: u16 = number.parse().ok()?;
                let plain = ResponseHead { status: number, grpc_status: None, rate_limited: false };
                let head = match kind {
                    "" => plain,
                    "limited" => ResponseHead { rate_limited: true, ..plain },
                    "grpc" => ResponseHead { status: 200, grpc_status: Some(number), ..plain },
                    _ => return None,
                };
                Self::Answer(head, duration(after)?)
            }
        })
    }
}

/// Reads a block's paragraphs.
pub(crate) fn read(block: &[(usize, &str)]) -> Result<Vec<Entry>, Misread> {
    let mut entries = Vec::new();
    for paragraph in block.split(|(_, line)| line.is_empty()) {
        let mut open: Option<Spec> = None;
        for (number, line) in paragraph {
            match open.as_mut().filter(|_| !is_request(line)) {
                Some(spec) => continue_request(spec, *number, line)?,
                None => {
                    entries.extend(open.take().map(Entry::Exchange));
                    match read_start(*number, line)? {
                        Entry::Exchange(spec) => open = Some(spec),
                        other => entries.push(other),
                    }
                }
            }
        }
        entries.extend(open.map(Entry::Exchange));
    }
    match entries.iter().find_map(|entry| match entry {
        Entry::Exchange(spec) if spec.expectations.is_empty() => Some(spec.line),
        _ => None,
    }) {
        Some(line) => Err((line, "nothing is expected of this request".into())),
        None => Ok(entries),
    }
}

fn is_request(line: &str) -> bool {
    let mut words = line.split(' ');
    let method = words.next().is_some_and(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase()));
    method && words.next().is_some_and(|word| word.contains("://"))
}

fn read_start(number: usize, line: &str) -> Result<Entry, Misread> {
    let misread = || (number, format!("not a request, `wait` or `endpoint`: `{line}`"));
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["wait", time] => duration(time).map(Entry::Wait).ok_or_else(misread),
        ["endpoint", address, meet] => Ok(Entry::Endpoint((*address).into(), Meet::read(meet).ok_or_else(misread)?)),
        _ if is_request(line) => Ok(Entry::Exchange(read_request(number, line)?)),
        _ => Err(misread()),
    }
}

/// `METHOD URL [name: value]… [x N | at once N] [=> expectation; …]`
fn read_request(number: usize, line: &str) -> Result<Spec, Misread> {
    let misread = |what: &str| (number, format!("{what}: `{line}`"));
    let (head, expected) = line.split_once(" => ").map_or((line, None), |(head, expected)| (head, Some(expected)));
    let (method, rest) = head.split_once(' ').ok_or_else(|| misread("no URL"))?;
    let (url, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (scheme, after) = url.split_once("://").ok_or_else(|| misread("not a URL"))?;
    let slash = after.find('/').ok_or_else(|| misread("a URL needs a path"))?;
    let (authority, path) = after.split_at(slash);
    let mut spec = Spec {
        line: number,
        request: Request {
            method: method.into(),
            scheme: scheme.into(),
            authority: authority.into(),
            path: path.into(),
            headers: Vec::new(),
        },
        count: 1,
        at_once: false,
        upstream: vec![Meet::status(200)],
        expectations: Vec::new(),
    };
    while let Some(inner) = rest.strip_prefix('[') {
        let (header, more) = inner.split_once(']').ok_or_else(|| misread("a header without its `]`"))?;
        spec.request.headers.push(read_header(header).ok_or_else(|| misread("not a header"))?);
        rest = more.trim_start();
    }
    if !rest.is_empty() {
        let (at_once, count) = match rest.strip_prefix("at once ") {
            Some(count) => (true, count),
            None => (false, rest.strip_prefix("x ").ok_or_else(|| misread("not `x N` or `at once N`"))?),
        };
        spec.at_once = at_once;
        spec.count = count.parse().map_err(|_| misread("not a number of requests"))?;
    }
    for text in expected.iter().flat_map(|all| all.split("; ")) {
        spec.expectations.push((number, expectations::read(number, text)?));
    }
    Ok(spec)
}

fn continue_request(spec: &mut Spec, number: usize, line: &str) -> Result<(), Misread> {
    if let Some(text) = line.strip_prefix("=> ") {
        spec.expectations.push((number, expectations::read(number, text)?));
    } else if let Some(words) = line.strip_prefix("upstream ") {
        let meet = |word| Meet::read(word).ok_or((number, format!("no attempt can meet `{word}`")));
        spec.upstream = words.split(' ').map(meet).collect::<Result<_, _>>()?;
    } else {
        let header = read_header(line).ok_or((number, format!("not a header, `upstream` or `=>`: `{line}`")))?;
        spec.request.headers.push(header);
    }
    Ok(())
}

fn read_header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let legal = !name.is_empty() && !name.contains(' ');
    legal.then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
}
