//! What the proxy answers itself, and what an attempt's end says of its endpoint.

use alloc::boxed::Box;

use super::{Exchange, Phase};
use crate::outlier::Score;
use crate::request::{Head, Tunnel};
use crate::route::{Direct, Redirect};
use crate::step::{Reply, Step};
use crate::verdict::{Failure, Verdict};

impl Exchange {
    pub(super) fn redirect(&mut self, redirect: &Redirect, head: &impl Head) -> Step {
        let reply = self.answer(Verdict::Redirect(redirect.status));
        Step::Reply(Box::new(Reply { location: Some(redirect.location(head)), ..reply }))
    }

    pub(super) fn direct(&mut self, direct: &Direct) -> Step {
        let reply = self.answer(Verdict::Direct(direct.status));
        Step::Reply(Box::new(Reply { body: Some(direct.body.clone()), ..reply }))
    }

    pub(super) fn reply(&mut self, verdict: Verdict) -> Step {
        Step::Reply(Box::new(self.answer(verdict)))
    }

    fn answer(&mut self, verdict: Verdict) -> Reply {
        let retried = self.attempts > 1;
        let verdict = match verdict {
            Verdict::AbortHttp(status) if self.opens_tunnel(status) => Verdict::NoRoute,
            other => other,
        };
        let answer = verdict.answer(retried);
        self.flags = self.flags.with(answer.flags);
        let grpc_status = self.grpc.then(|| verdict.grpc_status(answer.status));
        self.finish();
        Reply { verdict, answer, body: None, location: None, grpc_status }
    }

    /// Whether an answer makes the caller believe that it has its tunnel.
    pub(super) fn opens_tunnel(&self, status: u16) -> bool {
        match self.tunnel {
            Some(Tunnel::Upgrade) => status == 101,
            Some(Tunnel::Connect) => (200..300).contains(&status),
            None => false,
        }
    }

    pub(super) fn finish(&mut self) {
        self.phase = Phase::Over;
        self.retry_slot = None;
    }
}

pub(super) fn score_of(failure: Failure) -> Option<Score> {
    match failure {
        Failure::ConnectRefused | Failure::ConnectTimeout | Failure::Dns | Failure::Unprocessed => {
            Some(Score::ConnectFailure)
        }
        Failure::Terminated | Failure::RemoteReset | Failure::RefusedStream | Failure::Protocol => Some(Score::Reset),
        Failure::PerTryTimeout => Some(Score::Timeout),
        Failure::Overflow => None,
    }
}
