//! Who calls: a header in which one Leeboard tells the next which workload it stands beside, for the `source_*` labels.
//!
//! The header is `x-leeboard-peer`. An application never sees it, and what an application sends in it goes no further.
//! Istio's sidecars exchange the same by headers or by mTLS. It names, it does not prove: nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::Workload;

/// The longest description that is read.
const LONGEST: usize = 1024;

/// What a Leeboard says that knows nothing of its workload.
pub(crate) const NOBODY: &str = "-";

/// The labels that appear in metrics.
const LABELS: [&str; 7] = [
    "app",
    "version",
    "app.kubernetes.io/name",
    "app.kubernetes.io/version",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
    "topology.istio.io/cluster",
];

/// A workload as the header has it: `name=shop;namespace=demo;app=shop`. `None` when there is nothing to say.
pub(crate) fn describe(workload: &Workload) -> Option<String> {
    let known = LABELS.iter().map(|key| (*key, workload.label(key)));
    let all = [("name", &*workload.name), ("namespace", &*workload.namespace)].into_iter().chain(known);
    let pairs: Vec<String> = all
        .filter(|(_, value)| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Some(pairs.join(";")).filter(|text| !text.is_empty() && text.len() <= LONGEST)
}

/// The workload that a header describes; what cannot be read is left out.
pub(crate) fn read(text: &str) -> Option<Workload> {
    if text.len() > LONGEST {
        return None;
    }
    let mut workload = Workload { labels: BTreeMap::new(), ..Workload::default() };
    for (key, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
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
        assert_eq!(value, "name=shop-v1;namespace=demo;app=shop;version=v1");
        let read = read(&value).expect("a description");
        assert_eq!(
            (&*read.name, &*read.namespace, read.label("app"), read.label("tier")),
            ("shop-v1", "demo", "shop", "")
        );
    }

    #[test]
    fn what_is_no_description_names_nobody() {
        assert_eq!(describe(&Workload::default()), None);
        for text in ["", NOBODY, "=;;x", "name", "other=1"] {
            assert_eq!(read(text), Some(Workload::default()), "{text}");
        }
        let long = format!("name={}", "x".repeat(LONGEST));
        assert_eq!(read(&long), None);
    }
}
