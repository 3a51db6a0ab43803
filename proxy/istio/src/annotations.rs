//! Annotations that mean something: Leeboard's own on a VirtualService, for what Istio has no field for, and Istio's on services.

use std::sync::Arc;

use leeboard_policy::cluster::{HashCookie, HashKey};

use crate::codes;
use crate::diagnostic::Severity;
use crate::fields::Cx;
use crate::resources::Labels;
use crate::resources::kubernetes::TrafficDistribution;
use crate::yaml::Mark;

/// By what a caller is known, so that a split keeps it where it is: `header:NAME`, `cookie:NAME` or `source-ip`.
pub(crate) const SPLIT_KEY: &str = "leeboard.dev/split-key";
/// Whether faults are injected once per `request`, which is the default, or in every `attempt`, where retries answer them.
pub(crate) const FAULT_SCOPE: &str = "leeboard.dev/fault-scope";

/// What all our annotations begin with.
pub(crate) const PREFIX: &str = "leeboard.dev/";
/// The annotations that are known.
pub(crate) const ALL: [&str; 2] = [SPLIT_KEY, FAULT_SCOPE];

/// Istio: how `trafficDistribution` was written before Kubernetes had it; of Services and ServiceEntries.
pub(crate) const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
/// The words of `trafficDistribution`.
pub(crate) const DISTRIBUTIONS: [(&str, TrafficDistribution); 3] = [
    ("PreferClose", TrafficDistribution::SameZone),
    ("PreferSameZone", TrafficDistribution::SameZone),
    ("PreferSameNode", TrafficDistribution::SameNode),
];

/// Which endpoints an annotation prefers. Istio: in whatever case it is written.
pub(crate) fn distribution(annotations: &Labels) -> Option<TrafficDistribution> {
    let written = annotations.get(TRAFFIC_DISTRIBUTION)?;
    let known = DISTRIBUTIONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
    known.map(|(_, distribution)| *distribution)
}

/// Warns of a word that is not among them.
pub(crate) fn no_distribution(cx: &Cx, mark: Mark, word: &str) {
    let words = DISTRIBUTIONS.map(|(word, _)| word).join("` or `");
    let message = format!("`{word}` is no traffic distribution, so no endpoint is preferred");
    cx.push(cx.at(Severity::Warning, codes::BAD_VALUE, mark, message).help(format!("write `{words}`")));
}

/// Whether an annotation's value is one that it can have.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        SPLIT_KEY => parse_key(value).map(|_| ()),
        FAULT_SCOPE => parse_scope(value).map(|_| ()),
        _ => Ok(()),
    }
}

/// The key of an object's splits; `None` draws them. One that is wrong is as good as none: its reader has complained.
pub(crate) fn split_key(annotations: &Labels) -> Option<HashKey> {
    parse_key(annotations.get(SPLIT_KEY)?).ok()
}

/// Whether an object's faults are injected in every attempt.
pub(crate) fn faults_in_attempts(annotations: &Labels) -> bool {
    annotations.get(FAULT_SCOPE).is_some_and(|value| parse_scope(value) == Ok(true))
}

fn parse_key(value: &str) -> Result<HashKey, String> {
    let (kind, name) = value.split_once(':').unwrap_or((value, ""));
    let name = name.trim();
    match kind {
        "source-ip" if !value.contains(':') => Ok(HashKey::SourceIp),
        "header" if !name.is_empty() => Ok(HashKey::Header(name.to_ascii_lowercase().into())),
        "cookie" if !name.is_empty() => {
            let cookie = HashCookie { name: name.into(), path: "".into(), max_age: None, attributes: Vec::new() };
            Ok(HashKey::Cookie(Arc::new(cookie)))
        }
        _ => Err(format!("`{value}` is no split key: write `header:NAME`, `cookie:NAME` or `source-ip`")),
    }
}

fn parse_scope(value: &str) -> Result<bool, String> {
    match value {
        "request" => Ok(false),
        "attempt" => Ok(true),
        _ => Err(format!("`{value}` is no fault scope: write `request` or `attempt`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (value, shown) in [
            ("source-ip", Some("SourceIp")),
            ("header:X-User-Id", Some("Header(\"x-user-id\")")),
            ("cookie:session", Some("Cookie(HashCookie { name: \"session\"")),
            ("header: x", Some("Header(\"x\")")),
            ("header:", None),
            ("header", None),
            ("cookie:", None),
            ("source-ip:1", None),
            ("Header:x", None),
            ("", None),
        ] {
            let found = parse_key(value);
            match shown {
                Some(shown) => assert!(format!("{:?}", found.unwrap()).starts_with(shown), "{value}"),
                None => assert!(found.is_err() && check(SPLIT_KEY, value).is_err(), "{value}"),
            }
        }
    }

    #[test]
    fn scopes() {
        let of = |value: &str| Labels::from([(FAULT_SCOPE.into(), value.into())]);
        assert!(faults_in_attempts(&of("attempt")));
        assert!(!faults_in_attempts(&of("request")) && !faults_in_attempts(&of("try")));
        assert!(!faults_in_attempts(&Labels::new()));
        assert!(check(FAULT_SCOPE, "try").is_err() && check(FAULT_SCOPE, "request").is_ok());
    }
}
