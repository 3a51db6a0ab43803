//! Entries of `http` that earlier ones leave nothing to. What is written twice in the same words is found while reading;
//! here one match is weighed against another.

pub(super) mod cover;

use std::collections::{HashMap, HashSet};

use super::Checking;
use crate::codes;
use crate::locations::way;
use crate::resources::VirtualService;
use crate::resources::virtual_service::{HttpAction, HttpMatch, HttpRoute, StringMatch};
use cover::{covers, is_all, same};

/// How many earlier matches a match is weighed against, of those whose path may take its own.
const MOST_WEIGHED: usize = 64;

pub(super) fn check(cx: &Checking<'_>) {
    for document in &cx.resources.virtual_services {
        entries(cx, document);
    }
}

/// A match, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Placed<'r> {
    pub(super) entry: usize,
    pub(super) at: usize,
    pub(super) rule: &'r HttpMatch,
}

/// Matches seen so far, by what their paths may take.
#[derive(Default)]
pub(super) struct Seen<'r> {
    exact: HashMap<&'r str, Vec<Placed<'r>>>,
    prefix: HashMap<&'r str, Vec<Placed<'r>>>,
    /// Those that cannot be looked up: no path, a regular expression, or one that ignores case.
    others: Vec<Placed<'r>>,
}

impl<'r> Seen<'r> {
    pub(super) fn add(&mut self, placed: Placed<'r>) {
        match &placed.rule.uri {
            Some(StringMatch::Exact(path)) if !placed.rule.ignore_uri_case => {
                self.exact.entry(path).or_default().push(placed);
            }
            Some(StringMatch::Prefix(path)) if !placed.rule.ignore_uri_case => {
                self.prefix.entry(path).or_default().push(placed);
            }
            _ => self.others.push(placed),
        }
    }

    /// The first earlier match that takes all that this one matches.
    pub(super) fn taker(&self, rule: &HttpMatch) -> Option<Placed<'r>> {
        let mut found: Option<Placed<'r>> = None;
        let mut weigh = |candidates: &[Placed<'r>]| {
            let first = candidates.iter().take(MOST_WEIGHED).find(|placed| covers(placed.rule, rule));
            if let Some(first) = first
                && found.is_none_or(|known| (first.entry, first.at) < (known.entry, known.at))
            {
                found = Some(*first);
            }
        };
        weigh(&self.others);
        if let Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) = &rule.uri {
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
            for end in ends {
                weigh(self.prefix.get(&path[..end]).map_or(&[], Vec::as_slice));
            }
            weigh(self.exact.get(&**path).map_or(&[], Vec::as_slice));
        } else {
            weigh(self.prefix.get("").map_or(&[], Vec::as_slice));
            weigh(self.prefix.get("/").map_or(&[], Vec::as_slice));
        }
        found
    }
}

fn entries(cx: &Checking<'_>, document: &VirtualService) {
    let mut seen = Seen::default();
    let mut told = HashSet::new();
    for (number, entry) in document.http.iter().enumerate() {
        let takers: Vec<Option<Placed<'_>>> = entry.matches.iter().map(|rule| seen.taker(rule)).collect();
        beside(cx, document, number, entry);
        let repeated =
            |(rule, taker): (&HttpMatch, &Option<Placed<'_>>)| taker.is_some_and(|taker| same(taker.rule, rule));
        let dead = !takers.is_empty() && takers.iter().all(Option::is_some);
        let told_before = entry.matches.iter().zip(&takers).all(repeated);
        for (at, (rule, taker)) in entry.matches.iter().zip(&takers).enumerate() {
            let Some(taker) = taker.filter(|taker| !same(taker.rule, rule)) else { continue };
            if let Some((prefix, path)) = cut_in_a_word(taker.rule, rule) {
                if told.insert((taker.entry, taker.at)) {
                    prefix_takes_more(cx, document, taker, (number, at), prefix, path);
                }
            } else if !dead {
                partly_taken(cx, document, taker, (number, at));
            } else if at == 0 && !told_before {
                taken(cx, document, taker, number);
            }
        }
        if entry.matches.is_empty() || entry.matches.iter().any(is_all) {
            return;
        }
        // What a delegate leaves over falls to the entries behind it.
        if !matches!(entry.action, HttpAction::Delegate(_)) {
            entry.matches.iter().enumerate().for_each(|(at, rule)| seen.add(Placed { entry: number, at, rule }));
        }
    }
}

/// Matches of one entry that others of it leave nothing to.
fn beside(cx: &Checking<'_>, document: &VirtualService, number: usize, entry: &HttpRoute) {
    let mut seen = Seen::default();
    for (at, rule) in entry.matches.iter().enumerate() {
        match seen.taker(rule) {
            Some(taker) => {
                let meta = &document.meta;
                let message =
                    format!("this match decides nothing: match {} of its entry takes all of it", taker.at + 1);
                let path = way!["spec", "http", number, "match", at];
                let complaint = cx.info(codes::TAKEN_BEFORE, meta, &path, message);
                let wider = cx.spot(meta, &way!["spec", "http", number, "match", taker.at]);
                cx.tell(complaint.ist("IST0131").label(&wider, "this one"));
            }
            None => seen.add(Placed { entry: number, at, rule }),
        }
    }
}

/// The two paths, when a prefix takes a path by cutting one of its words.
fn cut_in_a_word<'r>(taker: &'r HttpMatch, rule: &'r HttpMatch) -> Option<(&'r str, &'r str)> {
    let Some(StringMatch::Prefix(prefix)) = &taker.uri else { return None };
    let Some(StringMatch::Exact(path) | StringMatch::Prefix(path)) = &rule.uri else { return None };
    let rest = path.strip_prefix(&**prefix)?;
    let cut = !rest.is_empty() && !rest.starts_with('/') && !prefix.ends_with('/') && !prefix.is_empty();
    cut.then_some((&**prefix, &**path))
}

fn prefix_takes_more(
    cx: &Checking<'_>,
    document: &VirtualService,
    taker: Placed<'_>,
    rule: (usize, usize),
    prefix: &str,
    path: &str,
) {
    let meta = &document.meta;
    let at = way!["spec", "http", taker.entry, "match", taker.at, "uri", "prefix"];
    let message = format!("prefix `{prefix}` also takes `{path}`, which entry {} is for", rule.0 + 1);
    let later = cx.spot(meta, &way!["spec", "http", rule.0, "match", rule.1, "uri"]);
    let complaint = cx.warning(codes::PREFIX_TAKES_MORE, meta, &at, message).label(&later, "this path never gets here");
    cx.tell(complaint.help(format!("match `{prefix}/`, and `exact: {prefix}` beside it, or move the longer path up")));
}

/// Istio: IST0131, a match that decides nothing in an entry that is reached by others.
fn partly_taken(cx: &Checking<'_>, document: &VirtualService, taker: Placed<'_>, rule: (usize, usize)) {
    let meta = &document.meta;
    let message = format!("this match decides nothing: entry {} takes all of it", taker.entry + 1);
    let complaint = cx.info(codes::TAKEN_BEFORE, meta, &way!["spec", "http", rule.0, "match", rule.1], message);
    let earlier = cx.spot(meta, &way!["spec", "http", taker.entry, "match", taker.at]);
    cx.tell(complaint.ist("IST0131").label(&earlier, "this one"));
}

/// Istio: IST0130, an entry that nothing is left for.
fn taken(cx: &Checking<'_>, document: &VirtualService, taker: Placed<'_>, number: usize) {
    let meta = &document.meta;
    let message = format!("entry {} can never match: entry {} takes all of it", number + 1, taker.entry + 1);
    let complaint = cx.warning(codes::TAKEN_BEFORE, meta, &way!["spec", "http", number], message);
    let earlier = cx.spot(meta, &way!["spec", "http", taker.entry, "match", taker.at]);
    cx.tell(complaint.ist("IST0130").label(&earlier, "this one").help("move the narrower entry up"));
}
