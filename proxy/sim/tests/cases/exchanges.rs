//! Reads `case` blocks: requests, what their attempts meet, and what is expected.

use leeboard_policy::cluster::Address;
use leeboard_policy::request::Secure;
use leeboard_policy::retry::ResponseHead;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Failure;
use leeboard_sim::{Conduct, Request};

use crate::expectations::{self, Expectation};
use crate::notation::{Misread, duration};

/// One paragraph of a block.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Time passes.
    Wait(Span),
    /// From now on an endpoint does this, whatever is asked of it.
    Endpoint(Address, Conduct),
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
    pub(crate) upstream: Vec<Conduct>,
    /// What must hold, and in which line that is written.
    pub(crate) expectations: Vec<(usize, Expectation)>,
}

/// What an attempt meets, by its word.
fn read_conduct(word: &str) -> Option<Conduct> {
    Some(match word {
        "never" => Conduct::Hangs,
        "unreachable" => Conduct::Unreachable,
        "refused" => Conduct::Fails(Failure::ConnectRefused),
        "reset" => Conduct::Fails(Failure::Terminated),
        "unprocessed" => Conduct::Fails(Failure::Unprocessed),
        "refused-stream" => Conduct::Fails(Failure::RefusedStream),
        "garbage" => Conduct::Fails(Failure::Protocol),
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
            Conduct::Answers(head, duration(after)?)
        }
    })
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
        ["endpoint", address, word] => {
            let address = address.parse().map(Address::Socket).map_err(|_| misread())?;
            Ok(Entry::Endpoint(address, read_conduct(word).ok_or_else(misread)?))
        }
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
            secure: Secure::No,
        },
        count: 1,
        at_once: false,
        upstream: vec![Conduct::status(200)],
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
        let conduct = |word| read_conduct(word).ok_or((number, format!("no attempt can meet `{word}`")));
        spec.upstream = words.split(' ').map(conduct).collect::<Result<_, _>>()?;
    } else {
        let header = read_header(line).ok_or((number, format!("not a header, `upstream` or `=>`: `{line}`")))?;
        spec.request.headers.push(header);
    }
    Ok(())
}

fn read_header(text: &str) -> Option<(String, Vec<u8>)> {
    let (name, value) = text.split_once(':')?;
    let legal = !name.is_empty() && !name.contains(' ');
    legal.then(|| (name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()))
}
