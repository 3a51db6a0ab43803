//! Where endpoints are, seen from here: which level each belongs to, and which share its locality takes.
//! Istio: `localityLbSetting`, whose levels are Envoy's priorities.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::cluster::{ByPlace, Levels, LocalityPolicy, Place, Workload};

/// How many kinds of places there are: the same subzone, zone, region, the region that is next, any other.
const KINDS: u64 = 5;

impl Place {
    /// Whether a locality lies here.
    pub fn covers(&self, locality: &str) -> bool {
        let (here, there) = (parts(&self.0), parts(locality));
        let same = |i: usize| here[i] == "*" || (i > 0 && here[i].is_empty()) || here[i] == there[i];
        (0..3).all(same)
    }
}

/// Region, zone and subzone; what is missing is empty.
fn parts(locality: &str) -> [&str; 3] {
    let mut parts = locality.split('/');
    [(); 3].map(|()| parts.next().unwrap_or(""))
}

impl Levels {
    /// How far away an endpoint is; only the order of these numbers counts.
    pub(crate) fn distance(&self, here: &Workload, there: &Workload) -> u64 {
        let labels = self.labels_apart(here, there);
        match self.by_place {
            ByPlace::No => labels,
            ByPlace::Region => labels * KINDS + self.regions_apart(here, there),
            ByPlace::Zone => labels * KINDS + self.places_apart(here, there),
        }
    }

    /// Istio: the first label that differs decides, and a network that differs, if it is the first label, is as far as all
    /// others together. For a workload of which nothing is known all are alike.
    fn labels_apart(&self, here: &Workload, there: &Workload) -> u64 {
        if here.labels.is_empty() && here.locality.is_empty() {
            return 0;
        }
        let count = self.labels.len() as u64;
        let mut base = 0;
        for (place, (key, value)) in (0u64..).zip(&self.labels) {
            let wanted = value.as_deref().unwrap_or_else(|| here.label(key));
            if wanted == there.label(key) {
                continue;
            }
            if place == 0 && &**key == "topology.istio.io/network" {
                base = count;
                continue;
            }
            return base + count - place;
        }
        base
    }

    fn regions_apart(&self, here: &Workload, there: &Workload) -> u64 {
        if parts(&here.locality)[0] == parts(&there.locality)[0] { 0 } else { self.abroad(there) }
    }

    fn places_apart(&self, here: &Workload, there: &Workload) -> u64 {
        let (here, place) = (parts(&here.locality), parts(&there.locality));
        match (0..3).find(|&i| here[i] != place[i]) {
            None => 0,
            Some(2) => 1,
            Some(1) => 2,
            Some(_) => self.abroad(there),
        }
    }

    /// Istio: the region that is next, or any when none is named, is nearer than others.
    fn abroad(&self, there: &Workload) -> u64 {
        let next = self.next_region.as_deref().is_none_or(|region| region == parts(&there.locality)[0]);
        if next { 3 } else { 4 }
    }
}

/// The level of each endpoint, from 0 without gaps; `None` for one that takes nothing.
pub(crate) fn levels<'w>(
    locality_policy: &LocalityPolicy,
    here: &Workload,
    endpoints: impl Iterator<Item = &'w Workload> + Clone,
) -> Vec<Option<u32>> {
    let levels = match locality_policy {
        LocalityPolicy::Ignored => return endpoints.map(|_| Some(0)).collect(),
        LocalityPolicy::Shares(shares) => {
            let listed = |there: &Workload| shares.iter().any(|(place, _)| place.covers(&there.locality));
            return endpoints.map(|there| listed(there).then_some(0)).collect();
        }
        LocalityPolicy::Levels(levels) => levels,
        LocalityPolicy::Zones(zones) => &zones.levels,
    };
    let distances: Vec<u64> = endpoints.map(|there| levels.distance(here, there)).collect();
    let known: BTreeSet<u64> = distances.iter().copied().collect();
    let level = |distance: u64| known.range(..distance).count() as u32;
    distances.into_iter().map(|distance| Some(level(distance))).collect()
}

/// The weight of each locality's endpoints together, from the shares and the localities' own weights.
/// Istio: what a place takes is shared out by weight among the localities in it, each rounded up.
pub(crate) fn shares(shares: &[(Place, u32)], localities: &[(&str, u64)]) -> Vec<u64> {
    let place_of = |locality: &str| shares.iter().position(|(place, _)| place.covers(locality));
    let places: Vec<_> = localities.iter().map(|(locality, _)| place_of(locality)).collect();
    let total = |place: usize| -> u64 {
        let members = localities.iter().zip(&places).filter(|(_, of)| **of == Some(place));
        members.map(|((_, weight), _)| weight).sum()
    };
    let share = |((_, weight), place): (&(&str, u64), &Option<usize>)| match place {
        Some(place) => (u64::from(shares[*place].1) * weight).div_ceil(total(*place).max(1)),
        None => 0,
    };
    localities.iter().zip(&places).map(share).collect()
}

/// What zones take when endpoints in the caller's own are preferred as far as that leaves all with their shares, in parts of
/// 10,000; `None` when that cannot be told. `own` is the caller's locality, `callers` and `endpoints` say how many there are in
/// each. Envoy: zone-aware routing.
pub(crate) fn zone_shares(own: &str, callers: &[(&str, u64)], endpoints: &[(&str, u64)]) -> Option<Vec<u64>> {
    let count = |list: &[(&str, u64)]| list.iter().map(|(_, n)| n).sum::<u64>();
    let of = |list: &[(&str, u64)], zone: &str| list.iter().filter(|(z, _)| *z == zone).map(|(_, n)| n).sum::<u64>();
    let (all_callers, all_endpoints) = (count(callers), count(endpoints));
    let callers_here = of(callers, own);
    if endpoints.len() < 2 || all_endpoints == 0 || callers_here == 0 {
        return None;
    }
    let have = |zone: &str| of(endpoints, zone) * 10_000 / all_endpoints;
    let want = |zone: &str| of(callers, zone) * 10_000 / all_callers;
    let stays = (have(own) * 10_000 / want(own).max(1)).min(10_000);
    let spare = |zone: &str| if zone == own { 0 } else { have(zone).saturating_sub(want(zone)) };
    let all_spare: u64 = endpoints.iter().map(|(zone, _)| spare(zone)).sum();
    let share = |zone: &str| match (zone == own, all_spare) {
        (true, _) => stays,
        // Rounding alone can leave nobody with room to spare. Envoy: then any zone will do.
        (false, 0) => (10_000 - stays) / (endpoints.len() as u64 - 1),
        (false, _) => (10_000 - stays) * spare(zone) / all_spare,
    };
    Some(endpoints.iter().map(|(zone, _)| share(zone)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec;

    fn workload(locality: &str, labels: &[(&str, &str)]) -> Workload {
        let labels = labels.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect();
        Workload { locality: locality.into(), labels, ..Workload::default() }
    }

    fn place(text: &str) -> Place {
        Place(text.into())
    }

    #[test]
    fn places() {
        #[rustfmt::skip]
        let table = [
            ("*", "eu/1/a", true), ("*", "", true), ("eu", "eu/1/a", true), ("eu/*", "eu/1/a", true), ("eu/*", "us/1", false),
            ("eu/1", "eu/1/a", true), ("eu/1/*", "eu/1/a", true), ("eu/1/*", "eu/2/a", false), ("eu/1/a", "eu/1/a", true),
            ("eu/1/a", "eu/1/b", false), ("eu/1/a", "eu/1", false), ("eu", "", false), ("eu", "eu2", false),
        ];
        for (here, locality, covered) in table {
            assert_eq!(place(here).covers(locality), covered, "{here} {locality}");
        }
    }

    /// The levels of endpoints at these localities.
    fn by_place(by_place: ByPlace, next: Option<&str>, here: &str, there: &[&str]) -> Vec<u32> {
        let rule = Levels { labels: vec![], by_place, next_region: next.map(Arc::from) };
        let endpoints: Vec<_> = there.iter().map(|locality| workload(locality, &[])).collect();
        let found = levels(&LocalityPolicy::Levels(rule.into()), &workload(here, &[]), endpoints.iter());
        found.into_iter().map(|level| level.expect("all take part")).collect()
    }

    #[test]
    fn the_nearest_come_first_without_gaps() {
        use ByPlace::{Region, Zone};
        let all = ["r/z/s", "r/z/t", "r/y/s", "q/z/s", "p/z/s"];
        #[rustfmt::skip]
        let table: [(ByPlace, Option<&str>, &str, &[&str], &[u32]); 9] = [
            (Zone, None, "r/z/s", &all, &[0, 1, 2, 3, 3]),
            (Zone, Some("p"), "r/z/s", &all, &[0, 1, 2, 4, 3]),
            (Zone, Some("p"), "r/z/s", &["q/z/s", "p/z/s"], &[1, 0]),
            (Zone, None, "r/z/s", &["r/y/s", "p/z/s"], &[0, 1]),
            (Zone, None, "", &["", "r/z/s"], &[0, 1]),
            (Zone, None, "r", &["r", "r/z", "q"], &[0, 1, 2]),
            (Zone, None, "r/z/s", &[], &[]),
            (Region, None, "r/z/s", &all, &[0, 0, 0, 1, 1]),
            (Region, Some("q"), "r/z/s", &all, &[0, 0, 0, 1, 2]),
        ];
        for (by, next, here, there, expected) in table {
            assert_eq!(by_place(by, next, here, there), expected, "{by:?} {next:?} {here} {there:?}");
        }
    }

    #[test]
    fn labels_go_before_places() {
        let rule = |labels: &[(&str, Option<&str>)], by_place| {
            let labels = labels.iter().map(|(key, value)| (Arc::from(*key), value.map(Arc::from))).collect();
            LocalityPolicy::Levels(Levels { labels, by_place, next_region: None }.into())
        };
        let here = workload("r/z/s", &[("network", "n1"), ("version", "v1"), ("topology.istio.io/network", "n1")]);
        let there = [
            workload("r/z/s", &[("version", "v1"), ("topology.istio.io/network", "n1")]),
            workload("q/z/s", &[("version", "v1"), ("topology.istio.io/network", "n1")]),
            workload("r/z/s", &[("version", "v2"), ("topology.istio.io/network", "n1")]),
            workload("r/z/s", &[("version", "v1"), ("topology.istio.io/network", "n2")]),
            workload("q/y/s", &[("version", "v2"), ("topology.istio.io/network", "n2")]),
        ];
        let (version, zone, region) = ("version", "topology.kubernetes.io/zone", "topology.kubernetes.io/region");
        let network = "topology.istio.io/network";
        #[rustfmt::skip]
        let table: [(&[(&str, Option<&str>)], ByPlace, [u32; 5]); 7] = [
            (&[(version, None)], ByPlace::No, [0, 0, 1, 0, 1]),
            (&[(version, Some("v2"))], ByPlace::No, [1, 1, 0, 1, 0]),
            (&[(region, None), (version, None)], ByPlace::No, [0, 2, 1, 0, 2]),
            (&[(version, None), (zone, None)], ByPlace::No, [0, 0, 1, 0, 1]),
            (&[(version, None)], ByPlace::Zone, [0, 1, 2, 0, 3]),
            (&[(network, None), (version, None)], ByPlace::No, [0, 0, 1, 2, 3]),
            (&[(version, None), (network, None)], ByPlace::No, [0, 0, 2, 1, 2]),
        ];
        for (labels, by_place, expected) in table {
            let found = levels(&rule(labels, by_place), &here, there.iter());
            assert_eq!(found, expected.map(Some), "{labels:?} {by_place:?}");
        }
        let unknown = levels(&rule(&[(version, None)], ByPlace::No), &Workload::default(), there.iter());
        assert_eq!(unknown, [Some(0); 5], "of this workload nothing is known");
    }

    #[test]
    fn a_place_shares_what_it_takes_among_its_localities() {
        let rule = |list: &[(&str, u32)]| list.iter().map(|(text, share)| (place(text), *share)).collect::<Vec<_>>();
        #[rustfmt::skip]
        let table: [(&[(&str, u32)], &[(&str, u64)], &[u64]); 4] = [
            (&[("r/z", 80), ("r/y", 20)], &[("r/z/s", 3), ("r/y/s", 5)], &[80, 20]),
            (&[("r/z", 80), ("r/*", 20)], &[("r/z/s", 1), ("r/y/s", 1), ("r/x/s", 3)], &[80, 5, 15]),
            (&[("r/*", 100)], &[("r/z/s", 1), ("r/y/s", 2), ("q/z/s", 9)], &[34, 67, 0]),
            (&[("q", 100)], &[("r/z/s", 1)], &[0]),
        ];
        for (list, localities, expected) in table {
            assert_eq!(shares(&rule(list), localities), expected, "{list:?} {localities:?}");
        }
        let shares = LocalityPolicy::Shares(rule(&[("r", 100)]).into());
        let there = [workload("r/z", &[]), workload("q/z", &[])];
        assert_eq!(levels(&shares, &workload("r", &[]), there.iter()), [Some(0), None]);
    }

    #[test]
    fn a_zone_keeps_what_it_can_serve() {
        type Counts = &'static [(&'static str, u64)];
        #[rustfmt::skip]
        let table: [(&str, Counts, Counts, Option<&[u64]>); 9] = [
            // Evenly spread callers and endpoints: all stays at home.
            ("a", &[("a", 1), ("b", 1)], &[("a", 3), ("b", 3)], Some(&[10_000, 0])),
            ("a", &[("a", 1), ("b", 3)], &[("a", 3), ("b", 3)], Some(&[10_000, 0])),
            // Envoy's example: callers 40, 40, 20 %, endpoints 25, 50, 25 %.
            ("a", &[("a", 4), ("b", 4), ("c", 2)], &[("a", 1), ("b", 2), ("c", 1)], Some(&[6_250, 2_500, 1_250])),
            ("b", &[("a", 4), ("b", 4), ("c", 2)], &[("a", 1), ("b", 2), ("c", 1)], Some(&[0, 10_000, 0])),
            // None at home.
            ("a", &[("a", 1), ("b", 1)], &[("b", 2), ("c", 2)], Some(&[0, 10_000])),
            ("a", &[("a", 1)], &[("b", 2), ("c", 2)], Some(&[5_000, 5_000])),
            // Nothing to go by.
            ("a", &[("a", 1)], &[("a", 6)], None),
            ("a", &[("b", 1)], &[("a", 3), ("b", 3)], None),
            ("a", &[("a", 1)], &[("a", 0), ("b", 0)], None),
        ];
        for (own, callers, endpoints, expected) in table {
            let found = zone_shares(own, callers, endpoints);
            assert_eq!(found.as_deref(), expected, "{own} {callers:?} {endpoints:?}");
        }
    }
}
