//! Resolves names that requests ask for and no configuration contains.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use leeboard_policy::time::Time;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::resolver::{DnsAnswer, MOST_ASKED, PendingLookups, Resolver, SHORTEST};
use crate::host::clock::Clock;

/// The most names of callers that are remembered.
pub(crate) const MOST_REMEMBERED: usize = 1024;

/// The addresses of names that callers ask for and no configuration knows.
///
/// Workers ask; the answers come from a task on the background runtime, so that no worker ever runs a resolver.
#[derive(Clone, Debug)]
pub(crate) struct OnDemandNames {
    clock: Clock,
    pub(crate) known: Arc<Mutex<BTreeMap<Arc<str>, Remembered>>>,
    pub(crate) questions: mpsc::Sender<Question>,
}

/// Addresses, and until when they may be believed.
type Remembered = (Time, Arc<[IpAddr]>);

/// A name, and where its addresses are waited for.
pub(crate) type Question = (Arc<str>, oneshot::Sender<Result<Arc<[IpAddr]>, String>>);

impl OnDemandNames {
    /// The place to ask, and what [`answer`] answers from.
    pub(crate) fn new(clock: Clock) -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(MOST_ASKED);
        (Self { clock, known: Arc::default(), questions }, asked)
    }

    /// The addresses of a name; none when it has none.
    ///
    /// # Errors
    /// When no server answers, or too many names are being asked for already.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, String> {
        if let Some((until, addresses)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && *until > self.clock.now()
        {
            return Ok(addresses.clone());
        }
        let (reply, answer) = oneshot::channel();
        self.questions.try_send((name.into(), reply)).map_err(|_| "too many names are being resolved".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the resolver has ended".to_owned()))
    }

    /// An address could not be connected to: it goes behind the others of its names, which are asked for again soon.
    pub(crate) fn doubt(&self, address: IpAddr) {
        let soon = self.clock.now() + SHORTEST;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (until, addresses) in known.values_mut() {
            let Some(place) = addresses.iter().position(|known| *known == address) else { continue };
            *until = (*until).min(soon);
            if place + 1 < addresses.len() {
                let mut others: Vec<IpAddr> = addresses.to_vec();
                others[place..].rotate_left(1);
                *addresses = others.into();
            }
        }
    }

    pub(crate) fn remember(&self, name: &Arc<str>, answer: &DnsAnswer) -> Arc<[IpAddr]> {
        let addresses: Arc<[IpAddr]> = answer.addresses.as_slice().into();
        let now = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() < MOST_REMEMBERED {
            known.insert(name.clone(), (now + answer.ttl, addresses.clone()));
        }
        addresses
    }
}

/// Answers what workers ask. A name that is being asked for already is not asked for twice.
pub(crate) async fn answer(names: OnDemandNames, resolver: Resolver, mut questions: mpsc::Receiver<Question>) {
    let mut waiting: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
    let mut asked: PendingLookups = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv(), if asked.len() < MOST_ASKED => {
                let Some((name, reply)) = question else { return };
                let others = waiting.entry(name.clone()).or_default();
                others.push(reply);
                if others.len() == 1 {
                    let resolver = resolver.clone();
                    asked.spawn(async move {
                        let answer = resolver.ask(&name).await;
                        (name, answer)
                    });
                }
            }
            Some(Ok((name, answer))) = asked.join_next(), if !asked.is_empty() => {
                let answer = answer.map(|answer| names.remember(&name, &answer));
                for reply in waiting.remove(&name).into_iter().flatten() {
                    // The worker that asked may have given up.
                    let _ = reply.send(answer.clone());
                }
            }
        }
    }
}
