//! Copies of requests to other destinations: which are made, and what each holds while it is under way.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::allowance::Room;
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
use crate::verdict::Failure;

/// How long a copy may take when the route says nothing: nobody waits for it, and yet it must end.
const TIMEOUT: Span = Span::from_secs(60);

/// A copy of a request on its way to a mirror. Its response is thrown away; it is never retried.
#[derive(Debug)]
pub struct Copy {
    /// Where to.
    pub cluster: Arc<LiveCluster>,
    /// Which endpoint; `None` when the mirror had none, no place left, owes too many answers, or needs TLS.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How long it may take. Envoy: as long as the route.
    pub timeout: Option<Span>,
    held: Option<(Active, Slot, Room)>,
}

/// How a copy ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With an answer of this status.
    Answered(u16),
    /// Without one.
    Failed(Failure),
    /// Its time was over.
    TimedOut,
    /// It could not keep pace with the request that it mirrors.
    Behind,
}

/// What is counted of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It was answered, with whatever status.
    Answered,
    /// It was sent and never answered.
    Failed,
    /// It was not sent, or broken off, so as not to hold up the request that it mirrors.
    Dropped,
}

impl Fate {
    /// As metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Answered => "answered",
            Fate::Failed => "failed",
            Fate::Dropped => "dropped",
        }
    }
}

impl End {
    /// What is counted, and what the endpoint is judged by, if it is judged.
    fn judged(self) -> (Fate, Option<Score>) {
        match self {
            End::Answered(status) => (Fate::Answered, Some(Score::Status(status))),
            End::Behind | End::Failed(Failure::Overflow) => (Fate::Dropped, None),
            End::Failed(failure) if failure.is_connect() => (Fate::Failed, Some(Score::ConnectFailure)),
            End::Failed(_) => (Fate::Failed, Some(Score::Reset)),
            End::TimedOut => (Fate::Failed, Some(Score::Timeout)),
        }
    }
}

impl Copy {
    /// How long it may take.
    #[must_use]
    pub fn allowed(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// Says how it ended.
    pub fn ended(&self, end: End, now: Time) -> (Fate, Option<OutlierEvent>) {
        let (fate, score) = end.judged();
        let Some(score) = score else { return (fate, None) };
        if let Some((_, _, room)) = &self.held {
            room.learn(matches!(score, Score::Status(_)));
        }
        let event = self.endpoint.as_deref().and_then(|endpoint| self.cluster.score(endpoint, score, now));
        (fate, event)
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
        let spec = live.snapshot().cluster(id);
        // What must be secured and cannot be is not copied either.
        let known = !matches!(spec.discovery, Discovery::Original) && !spec.needs_tls();
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
    fn the_endpoint_of_a_copy_is_judged_by_what_it_did_itself() {
        let table = [
            (End::Answered(200), Fate::Answered, Some(Score::Status(200))),
            (End::Answered(503), Fate::Answered, Some(Score::Status(503))),
            (End::Failed(Failure::ConnectRefused), Fate::Failed, Some(Score::ConnectFailure)),
            (End::Failed(Failure::ConnectTimeout), Fate::Failed, Some(Score::ConnectFailure)),
            (End::Failed(Failure::RemoteReset), Fate::Failed, Some(Score::Reset)),
            (End::Failed(Failure::Overflow), Fate::Dropped, None),
            (End::TimedOut, Fate::Failed, Some(Score::Timeout)),
            (End::Behind, Fate::Dropped, None),
        ];
        for (end, fate, score) in table {
            assert_eq!(end.judged(), (fate, score), "{end:?}");
        }
    }
}
