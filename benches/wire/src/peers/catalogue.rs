//! Configurations of many routes, the same for every peer that has routes: who is asked for, what matches, where it goes. Each
//! peer's file puts them into its own language.

use super::{HOST, PATH, SERVICE_PORT};

/// How much configuration a peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// What the peer's row says.
    Own,
    /// One service with one route to two subsets.
    One,
    /// `SERVICES` services with `RULES` routes each, to two subsets.
    Services,
    /// One service with `ROUTES` routes to two subsets.
    Rules,
}

pub(crate) const SERVICES: usize = 1000;
pub(crate) const RULES: usize = 10;
pub(crate) const ROUTES: usize = 10_000;
/// The header that routes match.
pub(crate) const TENANT: &str = "x-tenant";
/// The header of answers that says which configuration made them.
pub(crate) const GENERATION: &str = "x-generation";

/// What a route asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Exact(String),
    Prefix(String),
    Tenant(String),
    /// The last route of each service: two subsets, 90 to 10, with a timeout and retries.
    Any,
}

impl Layout {
    /// Hosts of the services. The one that the load asks for is in the middle.
    pub(crate) fn hosts(self) -> Vec<String> {
        let count = if self == Layout::Services { SERVICES } else { 1 };
        let name = |number| format!("service-{number:04}.default.svc.cluster.local");
        (0..count).map(|number| if number == count / 2 { HOST.to_owned() } else { name(number) }).collect()
    }

    /// The routes of each service, in order. All but the last go to the first subset.
    pub(crate) fn matches(self) -> Vec<Match> {
        let count = match self {
            Layout::Own | Layout::One => 1,
            Layout::Services => RULES,
            Layout::Rules => ROUTES,
        };
        (0..count - 1).map(special).chain([Match::Any]).collect()
    }

    /// Requests that reach every kind of route, all over the configuration, one a line: host, path and tenant.
    pub(crate) fn mix(self) -> Vec<String> {
        let hosts = self.hosts();
        let matches = self.matches();
        // No two neighbours of the mix are neighbours of the configuration.
        const STRIDE: usize = 7919;
        (0..MIX)
            .map(|number| {
                let host = &hosts[number * STRIDE % hosts.len()];
                let (path, tenant) = match &matches[number * STRIDE % matches.len()] {
                    Match::Exact(path) => (path.clone(), "none".to_owned()),
                    Match::Prefix(prefix) => (format!("{prefix}items/42"), "none".to_owned()),
                    Match::Tenant(tenant) => (PATH.to_owned(), tenant.clone()),
                    Match::Any => (PATH.to_owned(), "none".to_owned()),
                };
                format!("{host}:{SERVICE_PORT} {path} {TENANT}:{tenant}")
            })
            .collect()
    }
}

/// Requests of a mix.
const MIX: usize = 1000;

fn special(number: usize) -> Match {
    match number % 3 {
        0 => Match::Exact(format!("/exact/{number}")),
        1 => Match::Prefix(format!("/prefix/{number}/")),
        _ => Match::Tenant(format!("tenant-{number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn layouts_are_as_large_as_they_say() {
        for (layout, hosts, matches) in
            [(Layout::One, 1, 1), (Layout::Services, SERVICES, RULES), (Layout::Rules, 1, ROUTES)]
        {
            let names: BTreeSet<_> = layout.hosts().into_iter().collect();
            assert_eq!(names.len(), hosts, "{layout:?}");
            assert!(names.contains(HOST));
            assert_eq!(layout.matches().len(), matches);
            assert_eq!(layout.matches().last(), Some(&Match::Any));
        }
    }

    #[test]
    fn a_mix_reaches_every_service_and_every_kind_of_route() {
        let mix = Layout::Services.mix();
        let hosts: BTreeSet<_> = mix.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(hosts.len(), SERVICES);
        let mix = Layout::Rules.mix();
        assert_eq!(mix.iter().collect::<BTreeSet<_>>().len(), MIX, "no route is asked for twice");
        for kind in [" /exact/", " /prefix/", "x-tenant:tenant-"] {
            let share = mix.iter().filter(|line| line.contains(kind)).count();
            assert!((MIX / 3 - 5..=MIX / 3 + 5).contains(&share), "{kind}: {share}");
        }
    }
}
