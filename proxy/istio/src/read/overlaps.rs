//! Which hosts of a list overlap, found without comparing each with each.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The longest name that is looked at: longer ones are no hosts.
const LONGEST: usize = 255;

/// Hosts so far, each with a number.
#[derive(Default)]
pub(super) struct Overlaps {
    exact: HashMap<String, usize>,
    /// Wildcards, without the `*`.
    suffixes: HashMap<String, usize>,
    /// Both, from behind, so that those with an end in common lie together.
    reversed: BTreeMap<Vec<u8>, usize>,
}

impl Overlaps {
    /// A host before that overlaps this one; then this one is among them. Istio: some name matches both.
    pub(super) fn add(&mut self, host: &str, number: usize) -> Option<usize> {
        if host.len() > LONGEST {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let (suffix, wild) = host.strip_prefix('*').map_or((&*host, false), |suffix| (suffix, true));
        let is_ip = !wild && suffix.parse::<IpAddr>().is_ok();
        let same = if wild { None } else { self.exact.get(suffix) };
        let ends = (0..=suffix.len()).filter(|_| !is_ip).filter_map(|at| suffix.get(at..));
        let wider = || ends.filter_map(|end| self.suffixes.get(end)).min();
        let behind: Vec<u8> = suffix.bytes().rev().collect();
        let narrower = || {
            let within = self.reversed.range(behind.clone()..).take_while(|(known, _)| known.starts_with(&behind));
            within.map(|(_, number)| number).next().filter(|_| wild)
        };
        let found = same.or_else(wider).or_else(narrower).copied();
        let list = if wild { &mut self.suffixes } else { &mut self.exact };
        list.entry(suffix.to_owned()).or_insert(number);
        if !is_ip {
            self.reversed.entry(behind).or_insert(number);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::overlap;
    use super::*;

    #[test]
    fn what_is_found_is_what_comparing_all_finds() {
        let hosts = [
            "a.com", "*.com", "*com", "b.a.com", "*", "*.a.com", "x-a.com", "*-a.com", "10.0.0.1", "*.1", "A.com",
            "com", "*b.a.com", "a", "fd00::1", "*1", "", "*.",
        ];
        for a in hosts {
            for b in hosts {
                let mut all = Overlaps::default();
                all.add(a, 0);
                assert_eq!(all.add(b, 1).is_some(), overlap(a, b), "{a} {b}");
            }
        }
    }
}
