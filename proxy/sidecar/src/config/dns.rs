//! Keeps the addresses of the configuration's DNS names fresh.
//!
//! Envoy: STRICT_DNS with `respect_dns_ttl`. An answer without addresses empties the set. A failure keeps the old
//! addresses and is retried with growing pauses. Better than Envoy: when an address cannot be connected to, its names
//! are resolved again at once.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::time::{Span, Time};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::update::{Update, Wanted};
use crate::dns::resolver::{DnsAnswer, MOST_ASKED, PendingLookups, Resolver, SHORTEST};
use crate::host::clock::Clock;

/// The pause between two questions about a name whose addresses are doubted. While the answers bring nothing new it doubles, up
/// to [`SHORTEST`].
const FIRST_AGAIN: Span = Span::from_millis(125);
/// All who are refused by an address at the same moment do not ask at the same moment, but within this time.
const JITTER: Span = Span::from_millis(100);
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Span = Span::from_millis(500);
/// The longest pause between failures. Istio: `dnsRefreshRate`.
const LONGEST_PAUSE: Span = Span::from_secs(60);
/// When a name is asked for again, and what is known of it.
#[derive(Debug)]
struct Kept {
    ordered: bool,
    due: Time,
    /// When it was last asked for.
    asked: Option<Time>,
    asking: bool,
    heard: bool,
    failures: u32,
    told: Option<Vec<IpAddr>>,
    /// When one of its addresses was doubted that no answer has named since.
    doubted: Option<Time>,
    /// How many answers in a row about what was doubted have brought nothing new.
    vain: u32,
}

impl Kept {
    fn new(ordered: bool, now: Time) -> Self {
        Self {
            ordered,
            due: now,
            asked: None,
            asking: false,
            heard: false,
            failures: 0,
            told: None,
            doubted: None,
            vain: 0,
        }
    }

    /// Asks sooner than planned, but not all at once with others, and not again and again.
    fn hurry(&mut self, now: Time, jitter: Span) {
        let pause = FIRST_AGAIN.times(1 << self.vain.min(16)).min(SHORTEST);
        let soonest = self.asked.map_or(now, |asked| asked + pause);
        self.due = self.due.min((now + jitter).max(soonest));
    }
}

/// Keeps the names that the configuration asks for resolved, and tells the store when their addresses change, or when an
/// answer names again what was `doubted`.
///
/// `wanted` is the set of names, changed by the store with each snapshot. Once every name of the first set has been answered,
/// or has failed, the store is told that too.
pub(crate) async fn keep_fresh(
    resolver: Resolver,
    clock: Clock,
    mut wanted: watch::Receiver<Vec<Wanted>>,
    mut doubted: mpsc::Receiver<IpAddr>,
    updates: mpsc::Sender<Update>,
) {
    let luck = RandomState::new();
    let mut names: BTreeMap<Arc<str>, Kept> = BTreeMap::new();
    let mut asked = JoinSet::new();
    want(&mut names, &wanted.borrow_and_update(), clock.now());
    let mut settled = false;
    loop {
        if !settled && names.values().all(|kept| kept.heard) {
            settled = true;
            if updates.send(Update::Settled).await.is_err() {
                return;
            }
        }
        ask_due(&mut names, &mut asked, &resolver, clock.now());
        let next = names.values().filter(|kept| !kept.asking).map(|kept| kept.due).min();
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                want(&mut names, &wanted.borrow_and_update(), clock.now());
            }
            Some(Ok((name, answer))) = asked.join_next(), if !asked.is_empty() => {
                let Some(update) = hear(&mut names, &name, answer, clock.now()) else { continue };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            Some(address) = doubted.recv() => {
                let now = clock.now();
                let jitter = Span(luck.hash_one(now.0) % JITTER.0);
                for update in doubt(&mut names, address, now, jitter) {
                    if updates.send(update).await.is_err() {
                        return;
                    }
                }
            }
            () = clock.until(next.unwrap_or(Time(u64::MAX))), if asked.len() < MOST_ASKED => {}
        }
    }
}

/// Takes up new names and drops those that nobody wants any more.
fn want(names: &mut BTreeMap<Arc<str>, Kept>, wanted: &[Wanted], now: Time) {
    let mut known = std::mem::take(names);
    for Wanted { name, ordered } in wanted {
        let new = || Kept::new(*ordered, now);
        let kept = known.remove(name).filter(|kept| kept.ordered == *ordered);
        names.insert(name.clone(), kept.unwrap_or_else(new));
    }
}

/// Has the names of an address asked for again. Where the first address is not like the others, the doubted one is put last.
fn doubt(names: &mut BTreeMap<Arc<str>, Kept>, address: IpAddr, now: Time, jitter: Span) -> Vec<Update> {
    let mut news = Vec::new();
    for (name, kept) in names.iter_mut() {
        let Some(told) = &mut kept.told else { continue };
        let Some(place) = told.iter().position(|known| *known == address) else { continue };
        if kept.ordered && place == 0 && told.len() > 1 {
            told.rotate_left(1);
            let asked = kept.asked.unwrap_or(Time(0));
            news.push(Update::Resolved { name: name.clone(), addresses: told.clone(), asked });
        }
        kept.doubted = Some(now);
        if !kept.asking {
            kept.hurry(now, jitter);
        }
    }
    news
}

fn ask_due(names: &mut BTreeMap<Arc<str>, Kept>, asked: &mut PendingLookups, resolver: &Resolver, now: Time) {
    for (name, kept) in names.iter_mut().filter(|(_, kept)| !kept.asking && kept.due <= now) {
        if asked.len() >= MOST_ASKED {
            return;
        }
        kept.asking = true;
        kept.asked = Some(now);
        let (name, resolver) = (name.clone(), resolver.clone());
        asked.spawn(async move {
            let answer = resolver.ask(&name).await;
            (name, answer)
        });
    }
}

/// Notes an answer; what of it is news.
fn hear(
    names: &mut BTreeMap<Arc<str>, Kept>,
    name: &Arc<str>,
    answer: Result<DnsAnswer, String>,
    now: Time,
) -> Option<Update> {
    let kept = names.get_mut(name)?;
    kept.asking = false;
    let first = !std::mem::replace(&mut kept.heard, true);
    match answer {
        Ok(mut answer) => {
            if !kept.ordered {
                answer.addresses.sort();
            }
            if kept.failures > 0 {
                tracing::info!(%name, "resolved again");
            }
            kept.failures = 0;
            kept.due = now + answer.ttl;
            let asked = kept.asked.unwrap_or(now);
            let mut news = kept.told.as_ref() != Some(&answer.addresses);
            kept.vain = if kept.doubted.is_some() && !news { kept.vain.saturating_add(1) } else { 0 };
            kept.told = Some(answer.addresses.clone());
            match kept.doubted {
                // The question was on its way already.
                Some(doubted) if doubted > asked => kept.hurry(now, Span(0)),
                Some(_) => {
                    kept.doubted = None;
                    news = true;
                }
                None => {}
            }
            news.then(|| Update::Resolved { name: name.clone(), addresses: answer.addresses, asked })
        }
        Err(error) => {
            let pause = FIRST_PAUSE.times(1 << kept.failures.min(16)).min(LONGEST_PAUSE);
            if kept.failures == 0 {
                tracing::warn!(%name, %error, "cannot be resolved; what was known of it stays");
            }
            kept.failures = kept.failures.saturating_add(1);
            kept.due = now + pause;
            first.then(|| Update::Unresolved { name: name.clone() })
        }
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
