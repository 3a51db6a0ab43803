//! The catalogue's configurations as what istiod would send to Envoy: a virtual host for each service, a cluster for the
//! service and for each of its subsets.

use serde_json::{Value, json};

use super::super::catalogue::{GENERATION, Layout, Match, TENANT};
use super::super::{Needs, SERVICE_PORT, Site};

/// The subsets' names, with the service's own cluster.
const CLUSTERS: [&str; 3] = ["", "v1", "v2"];

/// All virtual hosts of a layout.
pub(super) fn virtual_hosts(needs: &Needs) -> Vec<Value> {
    let matches = needs.layout.matches();
    let hosts = needs.layout.hosts();
    hosts.iter().map(|host| virtual_host(host, &matches, needs.generation)).collect()
}

fn virtual_host(host: &str, matches: &[Match], generation: Option<u64>) -> Value {
    let to_v1 = json!({"cluster": name(host, "v1")});
    let routes: Vec<Value> = matches
        .iter()
        .map(|rule| match rule {
            Match::Exact(path) => json!({"match": {"path": path}, "route": to_v1}),
            Match::Prefix(prefix) => json!({"match": {"prefix": prefix}, "route": to_v1}),
            Match::Tenant(tenant) => {
                let header = json!({"name": TENANT, "string_match": {"exact": tenant}});
                json!({"match": {"prefix": "/", "headers": [header]}, "route": to_v1})
            }
            Match::Any => rest(host, generation),
        })
        .collect();
    json!({"name": host, "domains": [host, format!("{host}:{SERVICE_PORT}")], "routes": routes})
}

fn rest(host: &str, generation: Option<u64>) -> Value {
    let weighted = |subset, weight| json!({"name": name(host, subset), "weight": weight});
    let mut route = json!({"match": {"prefix": "/"}, "route": {
        "weighted_clusters": {"clusters": [weighted("v1", 90), weighted("v2", 10)]},
        "timeout": "15s",
        "retry_policy": {"num_retries": 3, "per_try_timeout": "5s", "retry_on": "5xx,connect-failure,reset"},
    }});
    if let Some(generation) = generation {
        let header = json!({"key": GENERATION, "value": generation.to_string()});
        route["response_headers_to_add"] = json!([{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]);
    }
    route
}

/// All clusters of a layout, each like `model` but for its name.
pub(super) fn clusters(site: &Site<'_>, layout: Layout, model: impl Fn(&Site<'_>, &str) -> Value) -> Vec<Value> {
    let hosts = layout.hosts();
    let names = hosts.iter().flat_map(|host| CLUSTERS.map(|subset| name(host, subset)));
    names.map(|name| model(site, &name)).collect()
}

fn name(host: &str, subset: &str) -> String {
    format!("outbound|{SERVICE_PORT}|{subset}|{host}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Certificate;
    use crate::peers::catalogue;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    #[test]
    fn every_route_leads_to_a_cluster() {
        let needs = Needs { layout: Layout::Services, generation: Some(3), ..Needs::default() };
        let upstream = "127.0.0.1:1".parse().expect("an address");
        let certificate = Certificate { chain: PathBuf::new(), key: PathBuf::new(), both: PathBuf::new() };
        let site =
            Site { binary: Path::new("/"), dir: Path::new("/"), upstream, certificate: &certificate, needs: &needs };
        let clusters = clusters(&site, needs.layout, |_, name| json!({"name": name}));
        let names: BTreeSet<&str> = clusters.iter().filter_map(|cluster| cluster["name"].as_str()).collect();
        assert_eq!(names.len(), 3 * catalogue::SERVICES);
        let hosts = virtual_hosts(&needs);
        assert_eq!(hosts.len(), catalogue::SERVICES);
        for route in hosts.iter().flat_map(|host| host["routes"].as_array().expect("routes")) {
            let direct = route["route"]["cluster"].as_str();
            let first = route["route"]["weighted_clusters"]["clusters"][0]["name"].as_str();
            assert!(names.contains(direct.or(first).expect("a cluster")), "{route}");
        }
        assert!(hosts[0].to_string().contains("\"x-generation\",\"value\":\"3\""), "{}", hosts[0]);
    }
}
