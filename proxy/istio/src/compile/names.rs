//! Host names: how a short one is completed, what a wildcard covers, and which domains a service answers to.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

/// Completes a short name with the namespace of the resource that says it, and lowers its case.
/// Istio: a name with a dot, a wildcard or an IP address stays as it is, so `reviews.prod` is not completed.
pub(crate) fn complete<'n>(name: &'n str, namespace: &str, cluster_domain: &str) -> Cow<'n, str> {
    if !name.bytes().any(|b| matches!(b, b'.' | b'*')) && name.parse::<IpAddr>().is_err() {
        return Cow::Owned(format!("{}.{namespace}.svc.{cluster_domain}", name.to_ascii_lowercase()));
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

/// Whether a host is a pattern.
pub(crate) fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Whether everything that `inner` stands for is covered by `outer`; either may be a pattern.
/// Istio: `*.foo.com` covers `a.foo.com` and `a.b.foo.com`, not `foo.com`.
pub(crate) fn within(inner: &str, outer: &str) -> bool {
    match (inner.strip_prefix('*'), outer.strip_prefix('*')) {
        (Some(inner), Some(outer)) => inner.ends_with(outer),
        (None, Some(suffix)) => covers(suffix, inner),
        (Some(_), None) => false,
        (None, None) => inner == outer,
    }
}

/// Whether some name is covered by both hosts; either may be a pattern.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        _ => within(a, b) || within(b, a),
    }
}

fn covers(suffix: &str, host: &str) -> bool {
    host.len() > suffix.len() && host.ends_with(suffix)
}

/// Which of two hosts is preferred where the most specific counts; the preferred one sorts first.
/// Istio: exact before wildcard, a longer wildcard before a shorter, then by the alphabet.
pub(crate) fn by_specificity(a: &str, b: &str) -> Ordering {
    (is_wildcard(a), std::cmp::Reverse(wildcard_len(a)), a).cmp(&(
        is_wildcard(b),
        std::cmp::Reverse(wildcard_len(b)),
        b,
    ))
}

fn wildcard_len(host: &str) -> usize {
    if is_wildcard(host) { host.len() } else { 0 }
}

/// The domains under which a workload of `client` reaches a host, most formal first.
/// Istio: the full name with and without a trailing dot, and for cluster services the short forms; the bare name only
/// within the service's own namespace. A headless service answers to `*.` and each of them, too.
pub(crate) fn domains(host: &str, client: &str, cluster_domain: &str, headless: bool) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    if !is_wildcard(host) && host.parse::<IpAddr>().is_err() {
        names.push(format!("{host}."));
    }
    if let Some((name, namespace)) = cluster_parts(host, cluster_domain) {
        if namespace == client {
            names.push(name.to_owned());
        }
        names.push(format!("{name}.{namespace}.svc"));
        names.push(format!("{name}.{namespace}"));
    }
    if headless {
        let under: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(under);
    }
    names
}

/// The name and namespace in `name.namespace.svc.<cluster domain>`, if a host is of that form.
pub(crate) fn cluster_parts<'h>(host: &'h str, cluster_domain: &str) -> Option<(&'h str, &'h str)> {
    let (name, namespace) = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?.rsplit_once('.')?;
    (!name.is_empty() && !is_wildcard(name)).then_some((name, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed() {
        for (name, full) in [
            ("reviews", "reviews.prod.svc.cluster.local"),
            ("Reviews", "reviews.prod.svc.cluster.local"),
            ("reviews.prod", "reviews.prod"),
            ("*", "*"),
            ("*.local", "*.local"),
            ("*foo", "*foo"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::1", "fd00::1"),
            ("API.Example.com", "api.example.com"),
        ] {
            assert_eq!(complete(name, "prod", "cluster.local"), full, "{name}");
        }
    }

    #[test]
    fn a_set_is_within_another() {
        for (inner, outer, expected) in [
            ("a.foo.com", "*.foo.com", true),
            ("a.b.foo.com", "*.foo.com", true),
            ("foo.com", "*.foo.com", false),
            ("a-x.com", "*-x.com", true),
            ("anything", "*", true),
            ("a.com", "b.com", false),
            ("*.bar.com", "*.foo.com", false),
            ("*.foo.com", "*.com", true),
            ("*.com", "*.foo.com", false),
            ("*.com", "a.com", false),
            ("a.com", "a.com", true),
        ] {
            assert_eq!(within(inner, outer), expected, "{inner} {outer}");
        }
    }

    #[test]
    fn hosts_overlap_both_ways() {
        for (a, b, expected) in [
            ("*.com", "*.foo.com", true),
            ("*.foo.com", "*.com", true),
            ("*.foo.com", "a.foo.com", true),
            ("a.foo.com", "*.foo.com", true),
            ("*.foo.com", "foo.com", false),
            ("*.foo.com", "*.bar.com", false),
            ("a.com", "a.com", true),
            ("*", "a", true),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_most_specific_sorts_first() {
        let mut hosts = ["*", "*.com", "*.foo.com", "*.bar.com", "z.foo.com", "a.very.long.name.com"];
        hosts.sort_by(|a, b| by_specificity(a, b));
        assert_eq!(hosts, ["a.very.long.name.com", "z.foo.com", "*.bar.com", "*.foo.com", "*.com", "*"]);
    }

    #[test]
    fn domains_depend_on_the_clients_namespace() {
        let full = "foo.ns.svc.cluster.local";
        for (host, client, headless, expected) in [
            (full, "ns", false, vec![full, "foo.ns.svc.cluster.local.", "foo", "foo.ns.svc", "foo.ns"]),
            (full, "other", false, vec![full, "foo.ns.svc.cluster.local.", "foo.ns.svc", "foo.ns"]),
            ("api.x.com", "ns", false, vec!["api.x.com", "api.x.com."]),
            ("*.x.com", "ns", false, vec!["*.x.com"]),
            ("api.x.com", "ns", true, vec!["api.x.com", "api.x.com.", "*.api.x.com", "*.api.x.com."]),
        ] {
            assert_eq!(domains(host, client, "cluster.local", headless), expected, "{host} from {client}");
        }
    }
}
