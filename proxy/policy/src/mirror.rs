//! Copies of requests to other destinations: which are made, and what each holds while it is under way.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::balance::Pick;
use crate::cluster::Discovery;
use crate::dice::{Dice, Purpose, Share};
use crate::endpoints::{Active, Endpoint};
use crate::limits::{Limit, Slot};
use crate::live::{Live, LiveCluster};
use crate::narrate::{Narrator, Reason};
use crate::outlier::{OutlierEvent, Score};
use crate::route::{Mirror, Target};
use crate::time::{Span, Time};

/// A copy of a request on its way to a mirror. Its response is thrown away; it is never retried.
#[derive(Debug)]
pub struct Copy {
    /// Where to.
    pub cluster: Arc<LiveCluster>,
    /// Which endpoint; `None` when the mirror had none, no place left, or owes too many answers.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How long it may take. Envoy: as long as the route.
    pub timeout: Option<Span>,
    held: Option<(Active, Slot, Room)>,
}

impl Copy {
    /// Says how it ended.
    pub fn ended(&self, score: Score, now: Time) -> Option<OutlierEvent> {
        if let Some((_, _, room)) = &self.held {
            room.0.learn(matches!(score, Score::Status(_)));
        }
        self.cluster.score(self.endpoint.as_deref()?, score, now)
    }
}

/// How many copies a mirror may owe an answer to: few until it has shown that it answers, more with each answer.
///
/// A copy holds a connection and memory until it is answered. A mirror that hangs is thus felt no more than [`Allowance::FIRST`]
/// of them are, for as long as it hangs; one that answers soon has all that it needs.
#[derive(Debug)]
pub(crate) struct Allowance {
    owed: AtomicU32,
    most: AtomicU32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { owed: AtomicU32::new(0), most: AtomicU32::new(Self::FIRST) }
    }
}

impl Allowance {
    /// How many a mirror is given that has not answered yet, or not of late.
    const FIRST: u32 = 64;
    /// The most that any mirror is given.
    const MOST: u32 = 4096;

    /// The same numbers, to count on from.
    pub(crate) fn detached(&self) -> Self {
        Self { owed: self.owed.load(Relaxed).into(), most: self.most.load(Relaxed).into() }
    }

    fn room(self: &Arc<Self>) -> Option<Room> {
        let room = Room(self.clone());
        (self.owed.fetch_add(1, Relaxed) < self.most.load(Relaxed)).then_some(room)
    }

    /// One more for each answer; half as many after a copy that was lost.
    fn learn(&self, answered: bool) {
        let most = self.most.load(Relaxed);
        let next = if answered { most + 1 } else { most / 2 };
        // Two workers that learn at the same time may count as one; the next answer makes up for it.
        self.most.store(next.clamp(Self::FIRST, Self::MOST), Relaxed);
    }
}

/// A copy's part in what its mirror owes, until it is dropped.
#[derive(Debug)]
struct Room(Arc<Allowance>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.owed.fetch_sub(1, Relaxed);
    }
}

/// The copies to make. Envoy: each mirror has a draw of its own, and a mirror that does not exist is passed over.
pub(crate) fn draw<N: Narrator>(
    mirrors: &[Mirror],
    live: &Live,
    hash: Option<u64>,
    timeout: Option<Span>,
    dice: Dice,
    now: Time,
    narrator: &mut N,
) -> Vec<Copy> {
    let drawn = |(turn, mirror): (usize, &Mirror)| {
        let turn = turn as u32;
        let Target::Cluster(id) = mirror.cluster else { return None };
        let copied = dice.chance(Purpose::Mirror, turn, mirror.share);
        if N::HEARS {
            let drawn = Share(dice.below(Purpose::Mirror, turn, Share::ALL.0.into()) as u32);
            narrator.hear(Reason::Mirror { mirror, drawn, copied });
        }
        if !copied {
            return None;
        }
        let cluster = live.cluster(id).clone();
        let turn = turn + 1_000;
        let pick = Pick { hash, tried: &[], avoid_tried: false, leave_levels: false, dice, turn, now };
        let known = !matches!(live.snapshot().cluster(id).discovery, Discovery::Original);
        let place = cluster.allowance().room().and_then(|room| Some((cluster.take(Limit::Requests)?, room)));
        let endpoint = place.as_ref().filter(|_| known).and_then(|_| cluster.pick(&pick));
        let held = endpoint.as_ref().zip(place).map(|(endpoint, (slot, room))| (endpoint.clone().enter(), slot, room));
        Some(Copy { cluster, endpoint, timeout, held })
    };
    mirrors.iter().enumerate().filter_map(drawn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_given_more_only_while_it_answers() {
        let allowance = Arc::new(Allowance::default());
        let first = Allowance::FIRST;
        let fill = || -> Vec<Room> { (0..10_000).map_while(|_| allowance.room()).collect() };
        assert_eq!(fill().len() as u32, first, "a silent mirror gets the first few and no more");
        assert_eq!(fill().len() as u32, first, "and what they held comes back");
        #[rustfmt::skip]
        let table = [
            // answered, times, then it may owe
            (true, 10, first + 10),
            (false, 1, first),
            (true, 100_000, Allowance::MOST),
            (false, 1, Allowance::MOST / 2),
            (false, 100, first),
        ];
        for (answered, times, most) in table {
            (0..times).for_each(|_| allowance.learn(answered));
            assert_eq!(fill().len() as u32, most, "{answered} {times}");
        }
    }
}
