//! Parsers for values of flags: addresses, durations, sizes, labels.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use leeboard_policy::expression::Expression;
use leeboard_policy::pattern::Pattern;
use leeboard_policy::time::Span;

use crate::http::sensitive::SensitiveHeaders;
use crate::process::settings::InboundPort;

/// Where to listen, or nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

/// Reads `IP:PORT`, or a port alone, which is `127.0.0.1`'s, or `off`.
pub(crate) fn listen(text: &str) -> Result<Listen, String> {
    listen_at(text, Ipv4Addr::LOCALHOST)
}

/// The same for what others than the pod's own ask: a port alone is `0.0.0.0`'s.
pub(crate) fn listen_to_all(text: &str) -> Result<Listen, String> {
    listen_at(text, Ipv4Addr::UNSPECIFIED)
}

fn listen_at(text: &str, host: Ipv4Addr) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen(None)),
        _ => address_or_port(text, host).map(|address| Listen(Some(address))),
    }
}

fn address_or_port(text: &str, host: Ipv4Addr) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::new(IpAddr::V4(host), port)),
        Err(_) => address(text),
    }
}

/// Reads `LISTEN=APP`. Each side is `IP:PORT` or a port; a port alone is `0.0.0.0` before the `=` and `127.0.0.1` after it.
pub(crate) fn inbound_port(text: &str) -> Result<InboundPort, String> {
    let (listen, app) = text.split_once('=').ok_or("expected LISTEN=APP, such as 0.0.0.0:15006=127.0.0.1:8080")?;
    let app = address_or_port(app, Ipv4Addr::LOCALHOST)?;
    if app.port() == 0 {
        return Err("the application's port cannot be 0".to_owned());
    }
    Ok(InboundPort { listen: address_or_port(listen, Ipv4Addr::UNSPECIFIED)?, app })
}

/// Reads `IP:PORT`; an IPv6 address stands in brackets.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is not IP:PORT, such as 127.0.0.1:15001"))
}

/// A workload's labels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Labels(pub(crate) BTreeMap<Arc<str>, Arc<str>>);

/// Reads `key=value,key=value`; nothing is no label.
pub(crate) fn labels(text: &str) -> Result<Labels, String> {
    let mut labels = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("'{pair}' is not key=value"))?;
        if key.is_empty() {
            return Err(format!("'{pair}' has no key"));
        }
        if labels.insert(key.into(), value.into()).is_some() {
            return Err(format!("label '{key}' is given twice"));
        }
    }
    Ok(Labels(labels))
}

/// Reads an expression for names of headers; nothing is none.
pub(crate) fn secrets(text: &str) -> Result<SensitiveHeaders, String> {
    if text.is_empty() {
        return Ok(SensitiveHeaders::default());
    }
    let named = Expression::whole(text).map_err(|error| format!("'{text}' is no expression: {error}"))?;
    Ok(SensitiveHeaders { named: Some(Pattern::Regex(named)) })
}

/// Reads a duration as Istio writes it: `45s`, `1m30s`, `250ms`, `0`.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("'{text}' is not a duration, such as 45s, 1m30s or 250ms");
    if text == "0" {
        return Ok(Span(0));
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let nanos = match unit {
            "h" => 3_600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * nanos;
        rest = tail;
    }
    if text.is_empty() || total > 100.0 * 365.0 * 86_400e9 {
        return Err(wrong());
    }
    Ok(Span(total.round() as u64))
}

/// Reads a number of bytes: `65536`, `64KiB`, `1MiB`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text {
        _ if text.ends_with("KiB") => (&text[..text.len() - 3], 1 << 10),
        _ if text.ends_with("MiB") => (&text[..text.len() - 3], 1 << 20),
        _ => (text, 1),
    };
    let number: usize = digits.parse().map_err(|_| format!("'{text}' is not a size, such as 65536, 64KiB or 1MiB"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
            ("45s", Some(45_000.0)),
            ("1m30s", Some(90_000.0)),
            ("1.5s", Some(1_500.0)),
            ("250ms", Some(250.0)),
            ("100us", Some(0.1)),
            ("2h", Some(7_200_000.0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("5 s", None),
            ("5d", None),
            ("1.2.3s", None),
            ("99999999999h", None),
        ] {
            assert_eq!(span(text).ok(), ms.map(|ms| Span((ms * 1e6) as u64)), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", Some(0)),
            ("65536", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("1MiB", Some(1 << 20)),
            ("64KB", None),
            ("KiB", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("18446744073709551615MiB", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text}");
        }
    }

    #[test]
    fn places_to_listen() {
        for (text, address) in [
            ("off", Some(None)),
            ("127.0.0.1:0", Some(Some("127.0.0.1:0"))),
            ("[::1]:15001", Some(Some("[::1]:15001"))),
            ("15001", Some(Some("127.0.0.1:15001"))),
            ("99999", None),
            ("localhost:15001", None),
            ("", None),
        ] {
            assert_eq!(listen(text).ok(), address.map(|a| Listen(a.map(|a| a.parse().unwrap()))), "{text}");
        }
        assert_eq!(listen_to_all("15021"), Ok(Listen(Some("0.0.0.0:15021".parse().unwrap()))));
    }

    #[test]
    fn inbound_ports() {
        for (text, pair) in [
            ("15006=8080", Some(("0.0.0.0:15006", "127.0.0.1:8080"))),
            ("127.0.0.1:0=127.0.0.2:5000", Some(("127.0.0.1:0", "127.0.0.2:5000"))),
            ("[::]:15006=[::1]:8080", Some(("[::]:15006", "[::1]:8080"))),
            ("15006", None),
            ("15006=", None),
            ("15006=0", None),
            ("=8080", None),
            ("99999=1", None),
        ] {
            let expected = pair.map(|(l, a)| InboundPort { listen: l.parse().unwrap(), app: a.parse().unwrap() });
            assert_eq!(inbound_port(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn label_lists() {
        let of = |pairs: &[(&str, &str)]| Labels(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
        for (text, expected) in [
            ("", Some(of(&[]))),
            ("app=web", Some(of(&[("app", "web")]))),
            ("app=web, version=v2,", Some(of(&[("app", "web"), ("version", "v2")]))),
            ("a=b=c", Some(of(&[("a", "b=c")]))),
            ("empty=", Some(of(&[("empty", "")]))),
            ("app", None),
            ("=web", None),
            ("app=a,app=b", None),
        ] {
            assert_eq!(labels(text).ok(), expected, "{text}");
        }
    }
}
