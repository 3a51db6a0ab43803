//! `x-leeboard-peer`: the header by which one Leeboard tells the next which workload it stands beside, for the
//! `source_*` labels.
//!
//! Applications never see it, and it is removed from what applications send. Istio's sidecars exchange the same by
//! headers or by mTLS. It is no proof of identity, and nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::Workload;

/// The longest description that is read.
const LONGEST: usize = 1024;

/// The labels that appear in metrics.
pub(crate) const LABELS: [&str; 7] = [
    "app",
    "version",
    "app.kubernetes.io/name",
    "app.kubernetes.io/version",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
    "topology.istio.io/cluster",
];

/// A workload as the header has it, behind the number of proxies that the request has come through by then, which is one:
/// `1;name=shop;namespace=demo;app=shop`. `None` when there is nothing to say.
pub(crate) fn describe(workload: &Workload) -> Option<String> {
    let known = LABELS.iter().map(|key| (*key, workload.label(key)));
    let all = [("name", &*workload.name), ("namespace", &*workload.namespace)].into_iter().chain(known);
    let pairs: Vec<String> = all
        .filter(|(_, value)| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Some(pairs.join(";")).filter(|text| !text.is_empty() && text.len() <= LONGEST).map(|text| format!("1;{text}"))
}

/// The same from a proxy that is not the first: how many a request has come through stands before what the last of them is.
pub(crate) fn come_through(hops: u8, introduction: &str) -> String {
    let (_, rest) = introduction.split_once(';').unwrap_or_default();
    format!("{hops};{rest}")
}

/// How many proxies a request has come through, and what the last of them says of its workload.
pub(crate) fn told(header: &str) -> (u8, &str) {
    match header.split_once(';') {
        Some((hops, rest)) if !hops.contains('=') => (hops.parse().unwrap_or(0), rest),
        _ => (0, header),
    }
}

/// Whether a value may be a label's: names of workloads and values of labels, as Kubernetes has them.
fn is_name(value: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    value.len() <= 253 && value.bytes().all(letters)
}

/// The workload that a header describes; what cannot be read is left out.
pub(crate) fn read(text: &str) -> Option<Workload> {
    if text.len() > LONGEST {
        return None;
    }
    let mut workload = Workload { labels: BTreeMap::new(), ..Workload::default() };
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    for (key, value) in pairs.filter(|(_, value)| is_name(value)) {
        let value: Arc<str> = value.into();
        match key {
            "name" => workload.name = value,
            "namespace" => workload.namespace = value,
            label if LABELS.contains(&label) => {
                workload.labels.insert(label.into(), value);
            }
            _ => {}
        }
    }
    Some(workload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_read_again() {
        let labels = [("app", "shop"), ("version", "v1"), ("tier", "front")];
        let shop = Workload {
            name: "shop-v1".into(),
            namespace: "demo".into(),
            labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            locality: "".into(),
        };
        let value = describe(&shop).expect("something to say");
        assert_eq!(value, "1;name=shop-v1;namespace=demo;app=shop;version=v1");
        assert_eq!(come_through(3, &value), "3;name=shop-v1;namespace=demo;app=shop;version=v1");
        let read = read(told(&value).1).expect("a description");
        assert_eq!(
            (&*read.name, &*read.namespace, read.label("app"), read.label("tier")),
            ("shop-v1", "demo", "shop", "")
        );
    }

    #[test]
    fn how_many_proxies_a_request_has_come_through() {
        for (header, hops, peer) in [
            ("1;name=a", 1, "name=a"),
            ("255;name=a", 255, "name=a"),
            ("256;name=a", 0, "name=a"),
            ("name=a;app=b", 0, "name=a;app=b"),
            ("1", 0, "1"),
            ("", 0, ""),
            (";", 0, ""),
        ] {
            assert_eq!(told(header), (hops, peer), "{header}");
        }
    }

    #[test]
    fn what_is_no_description_names_nobody() {
        assert_eq!(describe(&Workload::default()), None);
        for text in ["", "-", "=;;x", "name", "other=1"] {
            assert_eq!(read(text), Some(Workload::default()), "{text}");
        }
        let long = format!("name={}", "x".repeat(LONGEST));
        assert_eq!(read(&long), None);
        for word in ["a b", "<b>", "\u{e4}", "a\"b", &"x".repeat(254)] {
            assert_eq!(read(&format!("name={word};app={word}")), Some(Workload::default()), "{word}");
        }
    }
}
