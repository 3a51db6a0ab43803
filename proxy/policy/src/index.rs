//! Which routes of a long list a request may match at all.
//!
//! The index proposes and the matcher decides: a route that is not proposed cannot match, and one that is proposed may still
//! not. So its keys are hashes, which may collide, and a lookup takes the first of those proposed that matches. Routes are
//! told apart by their path first: exact ones by hash, all others by what their paths begin with. Where many begin alike, by
//! what they ask to be exactly so: a header, a query parameter, the method, the authority.

mod prefixes;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use self::prefixes::Prefixes;
use crate::matching::{Asked, each_value};
use crate::pattern::{PathMatch, Pattern, first_value};
use crate::request::Head;
use crate::route::{Match, Route};

/// So many routes are tried one after the other.
const FEW: usize = 4;
/// How many keys a group is told apart by at most: a request pays for each.
const MOST_KEYS: usize = 8;

/// An index over a list of routes.
#[derive(Debug)]
pub(crate) struct Index {
    hasher: DefaultHashBuilder,
    /// By the whole path.
    exact: Table,
    /// By what the path begins with.
    prefixes: Prefixes,
    /// By what the path begins with, for routes to which case is the same.
    folded: Prefixes,
    groups: Vec<Group>,
}

/// What a hash leads to.
type Table = HashTable<(u64, Candidates)>;

/// Routes that something is known of.
#[derive(Clone, Copy, Debug)]
enum Candidates {
    /// A place in the list.
    One(u32),
    /// A group of the index.
    Many(u32),
}

/// Several routes whose paths are alike.
#[derive(Debug)]
struct Group {
    /// The first of all places in it.
    first: u32,
    /// Those that no key tells apart, in order.
    rest: Box<[u32]>,
    keys: Box<[(Key, Table)]>,
}

/// What routes may ask to be exactly so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Header(Arc<str>),
    Query(Arc<str>),
    Method,
    Authority,
}

impl Index {
    /// Indexes a list of fewer than 2^32 routes.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut index = Self {
            hasher: DefaultHashBuilder::default(),
            exact: Table::new(),
            prefixes: Prefixes::default(),
            folded: Prefixes::default(),
            groups: Vec::new(),
        };
        let mut exact: Vec<(u64, u32)> = Vec::new();
        let mut prefixes: Vec<(Arc<str>, u32)> = Vec::new();
        let mut folded: Vec<(Arc<str>, u32)> = Vec::new();
        for (place, route) in (0u32..).zip(routes) {
            match &route.when.path {
                PathMatch::Exact(path) => exact.push((index.hasher.hash_one(path.as_bytes()), place)),
                PathMatch::Any => prefixes.push(("".into(), place)),
                PathMatch::Prefix(prefix) => prefixes.push((prefix.clone(), place)),
                PathMatch::Regex(regex) => prefixes.push((literal_start(regex.as_str()).into(), place)),
                PathMatch::ExactIgnoreCase(path) | PathMatch::PrefixIgnoreCase(path) => {
                    folded.push((path.to_ascii_lowercase().into(), place));
                }
            }
        }
        index.exact = index.table(routes, exact, &[]);
        index.prefixes = Prefixes::new(prefixes, false, |places| index.candidates(routes, places, &[]));
        index.folded = Prefixes::new(folded, true, |places| index.candidates(routes, places, &[]));
        index.groups.shrink_to_fit();
        index
    }

    fn table(&mut self, routes: &[Route], mut entries: Vec<(u64, u32)>, told: &[Key]) -> Table {
        entries.sort_unstable();
        let mut table = Table::new();
        for entries in entries.chunk_by(|a, b| a.0 == b.0) {
            let candidates = self.candidates(routes, entries.iter().map(|(_, place)| *place).collect(), told);
            table.insert_unique(entries[0].0, (entries[0].0, candidates), |(hash, _)| *hash);
        }
        table.shrink_to_fit(|(hash, _)| *hash);
        table
    }

    /// Makes candidates of at least one place, in order, which the keys of `told` do not tell apart.
    fn candidates(&mut self, routes: &[Route], places: Vec<u32>, told: &[Key]) -> Candidates {
        if let [only] = places[..] {
            return Candidates::One(only);
        }
        let first = places[0];
        let (mut rest, mut keys, mut told) = (places, Vec::new(), told.to_vec());
        while rest.len() > FEW && keys.len() < MOST_KEYS {
            let Some(key) = self.best_key(routes, &rest, &told) else { break };
            told.push(key.clone());
            let mut entries = Vec::new();
            rest.retain(|place| match key.asked_by(&routes[*place as usize].when) {
                Some(value) => {
                    entries.push((self.hasher.hash_one(value.as_bytes()), *place));
                    false
                }
                None => true,
            });
            keys.push((key, self.table(routes, entries, &told)));
        }
        self.groups.push(Group { first, rest: rest.into(), keys: keys.into() });
        Candidates::Many(self.groups.len() as u32 - 1)
    }

    /// The key that tells the most of these routes apart, if it is worth one more look at each request.
    fn best_key(&self, routes: &[Route], places: &[u32], told: &[Key]) -> Option<Key> {
        let mut values: BTreeMap<Key, Vec<u64>> = BTreeMap::new();
        for place in places {
            for (key, value) in asked_exactly(&routes[*place as usize].when) {
                values.entry(key).or_default().push(self.hasher.hash_one(value.as_bytes()));
            }
        }
        let weighed = values.into_iter().filter(|(key, hashes)| !told.contains(key) && hashes.len() > FEW);
        let weighed = weighed.map(|(key, mut hashes)| {
            let routes = hashes.len();
            hashes.sort_unstable();
            hashes.dedup();
            (hashes.len(), routes, key)
        });
        weighed.max().map(|(_, _, key)| key)
    }

    /// The place of the first route of the list that a request matches.
    pub(crate) fn find(&self, routes: &[Route], asked: &Asked<'_, impl Head>) -> Option<usize> {
        let mut search = Search { index: self, routes, asked, found: u32::MAX };
        search.table(&self.exact, asked.path.as_bytes());
        self.prefixes.of(asked.path, |candidates| search.candidates(candidates));
        self.folded.of(asked.path, |candidates| search.candidates(candidates));
        (search.found != u32::MAX).then_some(search.found as usize)
    }
}

/// A search for the first route that matches.
struct Search<'s, 'h, H> {
    index: &'s Index,
    routes: &'s [Route],
    asked: &'s Asked<'h, H>,
    /// The first place known to match so far.
    found: u32,
}

impl<H: Head> Search<'_, '_, H> {
    fn table(&mut self, table: &Table, value: &[u8]) {
        if table.is_empty() {
            return;
        }
        let hash = self.index.hasher.hash_one(value);
        if let Some((_, candidates)) = table.find(hash, |(known, _)| *known == hash) {
            self.candidates(*candidates);
        }
    }

    fn candidates(&mut self, candidates: Candidates) {
        match candidates {
            Candidates::One(place) => {
                self.place(place);
            }
            Candidates::Many(group) => {
                let group = &self.index.groups[group as usize];
                if group.first >= self.found {
                    return;
                }
                let _ = group.rest.iter().find(|place| self.place(**place));
                for (key, table) in &group.keys {
                    self.key(key, table);
                }
            }
        }
    }

    /// Tries one route; whether those behind it are of no interest any more.
    fn place(&mut self, place: u32) -> bool {
        let better = place < self.found;
        if better && self.routes[place as usize].when.holds(self.asked) {
            self.found = place;
            return true;
        }
        !better
    }

    fn key(&mut self, key: &Key, table: &Table) {
        match key {
            Key::Header(name) => each_value(self.asked.head, name, |value| self.table(table, value)),
            Key::Query(name) => {
                if let Some(value) = self.asked.query.and_then(|query| first_value(query, name)) {
                    self.table(table, value.as_bytes());
                }
            }
            Key::Method => self.table(table, self.asked.head.method().as_bytes()),
            Key::Authority => self.table(table, self.asked.head.authority().as_bytes()),
        }
    }
}

impl Key {
    /// The value that a match asks for.
    fn asked_by<'m>(&self, when: &'m Match) -> Option<&'m str> {
        asked_exactly(when).find(|(key, _)| key == self).map(|(_, value)| value)
    }
}

/// What a match asks to be exactly so, beside the path.
fn asked_exactly(when: &Match) -> impl Iterator<Item = (Key, &str)> {
    let headers = when.headers.iter().filter_map(|h| Some((Key::Header(h.name.clone()), exactly(&h.value)?)));
    let query = when.query.iter().filter_map(|q| Some((Key::Query(q.name.clone()), exactly(&q.value)?)));
    let method = when.method.iter().filter_map(|pattern| Some((Key::Method, exactly(pattern)?)));
    let authority = when.authority.iter().filter_map(|pattern| Some((Key::Authority, exactly(pattern)?)));
    headers.chain(query).chain(method).chain(authority)
}

fn exactly(pattern: &Pattern) -> Option<&str> {
    match pattern {
        Pattern::Exact(text) => Some(text),
        Pattern::Present | Pattern::Prefix(_) | Pattern::Regex(_) => None,
    }
}

/// What every text begins with that an expression matches from end to end; often not all that could be known.
fn literal_start(expression: &str) -> &str {
    if expression.contains('|') {
        return "";
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_');
    let end = expression.bytes().position(|b| !plain(b)).unwrap_or(expression.len());
    // What may occur no time at all is no part of it. Between it and the operator that says so flags and empty quotes may stand.
    let rest = &expression[end..];
    let optional = rest.starts_with(['*', '?', '{']) || rest.starts_with("(?") || rest.starts_with("\\Q");
    &expression[..end - usize::from(optional && end > 0)]
}

#[cfg(test)]
mod tests;
