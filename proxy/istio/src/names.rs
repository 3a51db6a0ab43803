//! What hosts, names, labels, headers and durations must look like. Each check says what is wrong, in words that follow "…: ".

use std::net::IpAddr;

use leeboard_policy::time::Span;

/// Istio: a DNS label, 1 to 63 letters, digits and inner hyphens.
pub(crate) fn dns_label(text: &str) -> Result<(), String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits { Ok(()) } else { Err(format!("`{text}` is not a DNS label (1 to 63 of a-z, 0-9 and inner `-`)")) }
}

/// What to say of a host that is followed by a port, if that is all that is wrong with it.
fn with_port(text: &str) -> Result<(), String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok() => {
            Err(format!("`{text}` is a host with a port: write `{host}`, and the port where there is a field for it"))
        }
        _ => Ok(()),
    }
}

/// Istio: a fully qualified name; a trailing dot is allowed, a last label of digits alone is not.
pub(crate) fn fqdn(text: &str) -> Result<(), String> {
    with_port(text)?;
    if text.is_empty() || text.len() > 255 {
        return Err("a host name has 1 to 255 characters".into());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    for label in name.split('.') {
        dns_label(label).map_err(|_| format!("`{text}` is not a host name: `{label}` is not a DNS label"))?;
    }
    let last = name.rsplit('.').next().unwrap_or("");
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{text}` is not a host name: its last label is a number"));
    }
    Ok(())
}

/// Istio: a host name whose first label may be, or begin with, `*`.
pub(crate) fn wildcard_domain(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix('*') else { return fqdn(text) };
    with_port(text)?;
    if rest.contains('*') {
        return Err(format!("`{text}`: `*` may only stand at the beginning"));
    }
    let rest = rest.strip_prefix('-').filter(|rest| !rest.is_empty()).unwrap_or(rest);
    match rest.strip_prefix('.') {
        _ if rest.is_empty() => Ok(()),
        Some(suffix) => fqdn(suffix).map_err(|_| format!("`{text}` is not a wildcard host")),
        None => fqdn(rest).map_err(|_| format!("`{text}` is not a wildcard host")),
    }
}

/// A wildcard domain, or an IP address.
pub(crate) fn host_or_ip(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() { Ok(()) } else { wildcard_domain(text) }
}

/// Contains `*`, but is neither `*` nor `*.something`.
pub(crate) fn is_partial_wildcard(text: &str) -> bool {
    text.contains('*') && text != "*" && !text.starts_with("*.")
}

/// An address with or without a prefix length.
pub(crate) fn ip_or_cidr(text: &str) -> Result<(), String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let wrong = || format!("`{text}` is neither an IP address nor a CIDR block");
    let ip: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    match prefix.map(str::parse::<u8>) {
        None => Ok(()),
        Some(Ok(length)) if length <= most => Ok(()),
        Some(_) => Err(wrong()),
    }
}

/// Kubernetes: a label's key, `[prefix/]name`.
pub(crate) fn label_key(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let fits = is_qualified(name) && !name.is_empty() && prefix.is_none_or(|p| p.len() <= 253 && fqdn(p).is_ok());
    if fits { Ok(()) } else { Err(format!("`{text}` is not a label key")) }
}

/// Kubernetes: a label's value; may be empty.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    if is_qualified(text) {
        Ok(())
    } else {
        Err(format!("`{text}` is not a label value (at most 63 of A-Z, a-z, 0-9, `-_.`)"))
    }
}

fn is_qualified(text: &str) -> bool {
    text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text.bytes().next().is_none_or(|b| b.is_ascii_alphanumeric())
        && text.bytes().last().is_none_or(|b| b.is_ascii_alphanumeric())
}

/// Kubernetes: the name of an object, a lower-case DNS subdomain. Its parts are not bounded one by one.
pub(crate) fn object_name(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err(format!("a name has at most 253 characters, and this one has {}", text.len()));
    }
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = |label: &str| {
        label.bytes().all(|b| inner(b) || b == b'-')
            && label.bytes().next().is_some_and(inner)
            && label.bytes().last().is_some_and(inner)
    };
    if text.split('.').all(fits) {
        Ok(())
    } else {
        Err(format!("`{text}` is not a name (lower-case letters, digits, `-` and `.`)"))
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Istio: the name of a header that is matched.
pub(crate) fn match_header(text: &str) -> Result<(), String> {
    let pseudo = [":method", ":scheme", ":authority", ":path", ":status"];
    if is_token(text) || pseudo.contains(&text) { Ok(()) } else { Err(format!("`{text}` is not a header name")) }
}

/// Istio: the name of a header that is set, added or removed. `host` tells whether `Host` and `:authority` may be named.
pub(crate) fn mutation_header(text: &str, host: bool) -> Result<(), String> {
    let is_host = text.eq_ignore_ascii_case("host") || text == ":authority";
    if is_host {
        return if host { Ok(()) } else { Err(format!("`{text}` cannot be changed here")) };
    }
    if text.starts_with(':') {
        return Err(format!("`{text}` cannot be changed: it is a pseudo-header"));
    }
    if is_token(text) { Ok(()) } else { Err(format!("`{text}` is not a header name")) }
}

/// Istio: a header's value: no control characters but TAB, and every `%` begins a balanced `%OPERATOR%` or is doubled.
pub(crate) fn header_value(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a header value has no control characters".into());
    }
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        rest = operator_end(rest).ok_or("`%` begins no complete operator; a literal one is written `%%`")?;
    }
    Ok(())
}

/// What follows an operator whose `%` has been read: `NAME`, perhaps `(…)`, perhaps `:length`, then `%`.
fn operator_end(text: &str) -> Option<&str> {
    let name = text.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_').count();
    if name == 0 {
        return None;
    }
    let closed = |rest: &'_ str| {
        let length = rest.strip_prefix(':').map(|length| length.trim_start_matches(|c: char| c.is_ascii_digit()));
        length.unwrap_or(rest).strip_prefix('%').map(|after| text.len() - after.len())
    };
    let rest = &text[name..];
    let Some(inner) = rest.strip_prefix('(') else { return closed(rest).map(|at| &text[at..]) };
    // Envoy: the first bracket behind which the operator ends closes its parameters.
    let mut ends = inner.match_indices(')').take(16);
    ends.find_map(|(at, _)| closed(&inner[at + 1..])).map(|at| &text[at..])
}

/// Istio: a duration in Go's syntax, as nanoseconds; the sign is kept.
pub(crate) fn go_duration(text: &str) -> Result<i128, String> {
    let wrong = || format!("`{text}` is not a duration such as `300ms`, `1.5s` or `1h30m`");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("the duration `{text}` has no unit")),
            _ => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 24 {
            return Err(wrong());
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        total = total.checked_add(whole.checked_mul(scale).ok_or_else(wrong)?).ok_or_else(wrong)?;
        let mut unit_of_digit = scale;
        for digit in fraction.bytes() {
            unit_of_digit /= 10;
            total += unit_of_digit * i128::from(digit - b'0');
        }
        rest = tail;
    }
    if total > i128::from(i64::MAX) {
        return Err(format!("the duration `{text}` is too long"));
    }
    Ok(if negative { -total } else { total })
}

/// Istio: a duration of at least 1 ms, in whole milliseconds. With `zero`, nothing at all is allowed too.
pub(crate) fn duration(text: &str, zero: bool) -> Result<Span, String> {
    let nanoseconds = go_duration(text)?;
    if nanoseconds == 0 && zero {
        return Ok(Span(0));
    }
    if nanoseconds < 1_000_000 {
        return Err(format!("the duration `{text}` is less than 1ms"));
    }
    if nanoseconds % 1_000_000 != 0 {
        return Err(format!("the duration `{text}` is not a whole number of milliseconds"));
    }
    u64::try_from(nanoseconds).map(Span).map_err(|_| format!("the duration `{text}` is too long"))
}

/// The candidate that a misspelt word most likely means, if any is near enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|c| (distance(word, c), c))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, c)| c)
}

/// How many characters must be added, removed, replaced or swapped with their neighbour, case aside.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    if a.len().abs_diff(b.len()) > 3 || a.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, rule: impl Fn(&str) -> Result<(), String>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text), Ok(()), "{name}: {text}");
        }
        for text in bad {
            assert!(rule(text).is_err(), "{name}: {text}");
        }
    }

    #[test]
    fn names_are_judged_as_istio_does() {
        let long = "a".repeat(64);
        check("label", dns_label, &["a", "v1", "A-b", "1"], &["", "-a", "a-", "a.b", "a_b", &long]);
        check("fqdn", fqdn, &["a", "a.b", "a.b.", "1.a"], &["", ".", "a..b", "10.0.0.1", "*.a", "a b"]);
        let port = fqdn("a.b:443").expect_err("a port");
        assert_eq!(port, "`a.b:443` is a host with a port: write `a.b`, and the port where there is a field for it");
        check("wildcard", wildcard_domain, &["*", "*.a.b", "*-a.b", "*a.b", "a"], &["a.*", "*.*.a", "*.", "**"]);
        check("host", host_or_ip, &["10.0.0.1", "::1", "*", "a.b"], &["10.0.0.256", "a/b"]);
        check("cidr", ip_or_cidr, &["10.0.0.0/8", "::/0", "1.2.3.4"], &["10.0.0.0/33", "a", "1.2.3.4/"]);
        check("label key", label_key, &["app", "a.b/c", "A_b"], &["", "/", "a/", "-a", "a/b/c"]);
        check("label value", label_value, &["", "v1", "a_b.c"], &["-a", "a b", &long]);
        let (most, beyond) = ("a".repeat(253), "a".repeat(254));
        check(
            "object",
            object_name,
            &["a", "a.b", "my-app1", "1", &long, &most],
            &["", "A", "a_b", "a.", "-a", "a-.b", &beyond],
        );
        check("match header", match_header, &["x-a", ":path", "X_a"], &["", ":foo", "a b", "a:b"]);
        check("set header", |t| mutation_header(t, true), &["x-a", "Host", ":authority"], &["", ":path", "a b"]);
        check("remove header", |t| mutation_header(t, false), &["x-a"], &["host", ":authority", ":path"]);
        check(
            "header value",
            header_value,
            &[
                "",
                "a",
                "%%",
                "100%%",
                "%REQ(x)%",
                "%CEL(a(b))%",
                "%DYNAMIC_METADATA(a:b):3%",
                "%REQ(:path?x):5% %START_TIME(%Y/%m)%",
                "a\tb",
            ],
            &["%", "50%", "%REQ(x)", "%req(x)%", "a\nb"],
        );
    }

    #[test]
    fn durations_are_those_of_go() {
        let rows: &[(&str, Option<i128>)] = &[
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("250ms", Some(250_000_000)),
            ("100us", Some(100_000)),
            ("-1s", Some(-1_000_000_000)),
            ("5", None),
            ("", None),
            ("s", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("5S", None),
            ("1d", None),
            ("99999999999999999999h", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(go_duration(text).ok(), *wanted, "{text}");
        }
        assert!(duration("1ms", false).is_ok() && duration("0s", true).is_ok());
        for text in ["0s", "-1s", "999us", "1.5ms", "1ns"] {
            assert!(duration(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelling_is_near_what_it_means() {
        let words = ["perTryTimeout", "timeout", "attempts", "retryOn", "host"];
        let rows = [
            ("perTryTimeOut", Some("perTryTimeout")),
            ("timout", Some("timeout")),
            ("Host", Some("host")),
            ("hots", Some("host")),
            ("atempts", Some("attempts")),
            ("zebra", None),
            ("x", None),
        ];
        for (word, wanted) in rows {
            assert_eq!(nearest(word, words.into_iter()), wanted, "{word}");
        }
    }
}
