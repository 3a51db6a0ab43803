//! A naive reading of RFC 9112: slow, plain, and independent of the codec.

use super::{End, Heard, List, RULES, Said, Side};

/// What the text says, or why it says nothing.
type Read<T> = Result<T, End>;

/// Whether the codec has read what the text says.
pub(super) fn agrees(side: Side, bytes: &[u8], heard: &Heard) -> Result<(), String> {
    let (said, end) = read(side, bytes);
    let odd = |said: &Said| side == Side::Requests && !plain_target(&said.start);
    for (at, ours) in said.iter().enumerate() {
        match heard.0.get(at) {
            Some(theirs) if alike(ours, theirs, odd(ours)) => {}
            // Which targets are any is told elsewhere.
            None if odd(ours) && heard.1 == End::Refused => return Ok(()),
            theirs => return Err(format!("the RFC says {ours:?}, the codec {theirs:?}")),
        }
    }
    if heard.0.len() > said.len() {
        return Err(format!("the RFC ends with {end:?} where the codec has one more"));
    }
    // What will be refused may be refused before it is complete.
    if end == heard.1 || (end == End::More && heard.1 == End::Refused && said.len() == heard.0.len()) {
        Ok(())
    } else {
        Err(format!("the RFC ends with {end:?}, the codec with {:?}", heard.1))
    }
}

fn alike(ours: &Said, theirs: &Said, odd: bool) -> bool {
    let lower = |list: &List| -> List {
        let mut list: List = list.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        list.sort();
        list
    };
    (odd || ours.start == theirs.start)
        && ours.fields == theirs.fields
        && ours.body == theirs.body
        && lower(&ours.trailers) == lower(&theirs.trailers)
}

fn plain_target(start: &str) -> bool {
    let target = start.split_once(' ').map_or("", |(_, target)| target);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~%?=&-".contains(&byte);
    target.starts_with('/') && target.bytes().all(plain)
}

fn read(side: Side, bytes: &[u8]) -> Heard {
    let (mut said, mut rest) = (Vec::new(), bytes);
    loop {
        match message(side, said.is_empty(), &mut rest, &mut said) {
            Ok(true) => {}
            Ok(false) => return (said, End::Over),
            Err(end) => return (said, end),
        }
    }
}

/// Reads one message into the list; whether another may follow.
fn message(side: Side, first: bool, rest: &mut &[u8], said: &mut Vec<Said>) -> Read<bool> {
    while side == Side::Requests && rest.starts_with(b"\r\n") {
        *rest = &rest[2..];
    }
    if rest.is_empty() {
        return Err(End::More);
    }
    let Some(end) = find(rest, b"\r\n\r\n") else {
        return Err(if rest.len() > RULES.bytes { End::Refused } else { End::More });
    };
    if end + 4 > RULES.bytes {
        return Err(End::Refused);
    }
    let lines = lines_of(&rest[..end])?;
    let (start, old) = match side {
        Side::Requests => request_line(lines[0])?,
        Side::Responses { .. } => status_line(lines[0])?,
    };
    let mut fields = fields_of(&lines[1..])?;
    if side == Side::Requests && fields.len() > RULES.fields {
        return Err(End::Refused);
    }
    let to_head = matches!(side, Side::Responses { to_head: true }) && first;
    let framing = framing(side, &start, &fields, old, to_head)?;
    let says = |name: &str, word: &str| {
        let options = all(&fields, name).join(&b","[..]).to_ascii_lowercase();
        options.split(|byte| *byte == b',').any(|option| option.trim_ascii() == word.as_bytes())
    };
    let closes = says("connection", "close") || says("proxy-connection", "close");
    let keeps = !closes && (!old || says("connection", "keep-alive"));
    let tunnel = start.starts_with("CONNECT ") || start == "101";
    if side != Side::Requests {
        forget_lengths(&start, &mut fields);
    }
    *rest = &rest[end + 4..];
    said.push(Said { start, fields, ..Said::default() });
    let Some(last) = said.last_mut() else { return Err(End::Refused) };
    match framing {
        Framing::Length(length) => {
            let here = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            last.body = rest[..here].to_vec();
            *rest = &rest[here..];
            if (here as u64) < length {
                return Err(End::More);
            }
        }
        Framing::Chunks => chunks(rest, last)?,
        Framing::UntilClose => {
            last.body = rest.to_vec();
            return Err(End::More);
        }
    }
    Ok(keeps && !tunnel)
}

/// What the codec leaves of lengths that say nothing, or say it twice.
fn forget_lengths(status: &str, fields: &mut List) {
    let bodiless = status.starts_with('1') || status == "204" || !all(fields, "transfer-encoding").is_empty();
    let lengths = all(fields, "content-length").len();
    if !bodiless && lengths < 2 {
        return;
    }
    let first = all(fields, "content-length").first().map(|value| value.to_vec());
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
    if let (false, Some(value)) = (bodiless, first) {
        fields.push((b"content-length".to_vec(), value));
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

fn lines_of(head: &[u8]) -> Read<Vec<&[u8]>> {
    let (mut lines, mut rest) = (Vec::new(), head);
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n')) { Err(End::Refused) } else { Ok(lines) }
}

fn token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn request_line(line: &[u8]) -> Read<(String, bool)> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(End::Refused) };
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(End::Refused),
    };
    let visible = target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    match (std::str::from_utf8(method), std::str::from_utf8(target)) {
        (Ok(method), Ok(target)) if token(method.as_bytes()) && visible && !target.is_empty() => {
            Ok((format!("{method} {target}"), old))
        }
        _ => Err(End::Refused),
    }
}

fn status_line(line: &[u8]) -> Read<(String, bool)> {
    let old = match line.get(..9) {
        Some(b"HTTP/1.1 ") => false,
        Some(b"HTTP/1.0 ") => true,
        _ => return Err(End::Refused),
    };
    let (status, reason) = line[9..].split_at_checked(3).ok_or(End::Refused)?;
    let digits = status.iter().all(u8::is_ascii_digit) && status[0] != b'0';
    let reason = reason.is_empty() || (reason[0] == b' ' && reason.iter().all(|byte| text(*byte)));
    if digits && reason { Ok((String::from_utf8_lossy(status).into_owned(), old)) } else { Err(End::Refused) }
}

fn text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn fields_of(lines: &[&[u8]]) -> Read<List> {
    let field = |line: &&[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let value = &line[colon + 1..];
        let from = value.iter().position(|byte| !space(byte)).unwrap_or(value.len());
        let to = value.iter().rposition(|byte| !space(byte)).map_or(from, |at| at + 1);
        let good = token(&line[..colon]) && value.iter().all(|byte| text(*byte));
        good.then(|| (line[..colon].to_vec(), value[from..to].to_vec()))
    };
    lines.iter().map(field).collect::<Option<List>>().ok_or(End::Refused)
}

fn all<'f>(fields: &'f List, name: &str) -> Vec<&'f [u8]> {
    let named = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| &value[..]).collect()
}

enum Framing {
    Length(u64),
    Chunks,
    UntilClose,
}

fn framing(side: Side, start: &str, fields: &List, old: bool, to_head: bool) -> Read<Framing> {
    let (codings, lengths) = (all(fields, "transfer-encoding"), all(fields, "content-length"));
    let mut numbers = Vec::new();
    for length in &lengths {
        let digits = !length.is_empty() && length.len() < 20 && length.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(length).ok().and_then(|text| text.parse::<i64>().ok());
        numbers.push(number.filter(|_| digits).ok_or(End::Refused)?.unsigned_abs());
    }
    let chunked = match &codings[..] {
        [] => false,
        [coding] if coding.eq_ignore_ascii_case(b"chunked") && lengths.is_empty() && !old => true,
        _ => return Err(End::Refused),
    };
    if side == Side::Requests {
        return match &numbers[..] {
            _ if start.starts_with("CONNECT ") && numbers.len() < 2 => Ok(Framing::Length(0)),
            [] if chunked => Ok(Framing::Chunks),
            [] => Ok(Framing::Length(0)),
            [length] => Ok(Framing::Length(*length)),
            _ => Err(End::Refused),
        };
    }
    let silent = start.starts_with('1') || start == "204";
    if numbers.windows(2).any(|two| two[0] != two[1]) || (silent && (chunked || numbers.iter().any(|n| *n > 0))) {
        return Err(End::Refused);
    }
    Ok(match numbers.first() {
        _ if silent || to_head || start == "304" => Framing::Length(0),
        Some(length) => Framing::Length(*length),
        None if chunked => Framing::Chunks,
        None => Framing::UntilClose,
    })
}

fn chunks(rest: &mut &[u8], said: &mut Said) -> Read<()> {
    let mut balance = 0_u64;
    loop {
        let line = size_line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or(End::Refused)?;
        balance += (line.len() - digits) as u64;
        if balance > 16 * 1024 {
            return Err(End::Refused);
        }
        *rest = &rest[line.len() + 2..];
        if size == 0 {
            break;
        }
        let here = size.min(rest.len());
        said.body.extend_from_slice(&rest[..here]);
        balance = balance.saturating_sub(here as u64);
        *rest = &rest[here..];
        match *rest {
            [b'\r', b'\n', ..] if here == size => *rest = &rest[2..],
            [] | [b'\r'] => return Err(End::More),
            _ => return Err(End::Refused),
        }
    }
    let end = if rest.starts_with(b"\r\n") {
        0
    } else {
        match find(rest, b"\r\n\r\n") {
            Some(end) => end + 2,
            None if rest.len() > 16 * 1024 => return Err(End::Refused),
            None => return Err(End::More),
        }
    };
    let trailers = if end == 0 { Vec::new() } else { fields_of(&lines_of(&rest[..end - 2])?)? };
    if end + 2 > 16 * 1024 || trailers.len() > 64 {
        return Err(End::Refused);
    }
    said.trailers = trailers;
    *rest = &rest[end + 2..];
    Ok(())
}

/// The line that begins a chunk, without its end.
fn size_line<'b>(rest: &&'b [u8]) -> Read<&'b [u8]> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > 15 {
        return Err(End::Refused);
    }
    let (mut at, mut extension) = (digits, false);
    loop {
        match rest.get(at) {
            _ if at > 4 * 1024 => return Err(End::Refused),
            None => return Err(End::More),
            Some(b'\r') => break,
            Some(_) if digits == 0 => return Err(End::Refused),
            Some(b' ' | b'\t') => at += 1,
            Some(b';') => (at, extension) = (at + 1, true),
            Some(byte) if extension && text(*byte) => at += 1,
            Some(_) => return Err(End::Refused),
        }
    }
    match rest.get(at + 1) {
        _ if digits == 0 => Err(End::Refused),
        None => Err(End::More),
        Some(b'\n') => Ok(&rest[..at]),
        Some(_) => Err(End::Refused),
    }
}
