//! Outlier detection: which endpoints are set aside, for how long, and when they return. Istio: `outlierDetection`.
//!
//! Every attempt is scored once, when it ends. Envoy scores headers when they come, so that an endpoint which always dies
//! in mid-body is never ejected, and in split mode one which accepts connections and then hangs is not either. Here headers
//! alone are no success, and only a whole response ends a row of local failures.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use crate::cluster::{Address, Outlier};
use crate::endpoints::{Endpoint, EndpointState};
use crate::time::{Span, Time};

/// How an attempt ended. What the caller broke off, what a limit refused and what a fault answered is not scored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Score {
    /// A whole response with this status; for gRPC, what [`grpc_to_http`] makes of its status.
    Status(u16),
    /// No connection was made.
    ConnectFailure,
    /// The connection or stream broke before response headers.
    Reset,
    /// The connection or stream broke after response headers.
    LateReset,
    /// The route's or the attempt's time was over. Counts as a 504.
    Timeout,
}

/// Something that happened to an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutlierEvent {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The endpoint's address.
    pub endpoint: Address,
    /// When.
    pub at: Time,
    /// What.
    pub kind: OutlierKind,
}

/// What happened to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutlierKind {
    /// It was set aside.
    Ejected {
        /// For what.
        cause: Cause,
        /// At least how long; it returns at the first sweep after that.
        lasts: Span,
        /// How many times it has now been ejected.
        number: u32,
    },
    /// It takes traffic again.
    Returned,
    /// It would have been set aside, but too many are out already. Envoy: `ejections_overflow`.
    Suppressed {
        /// For what.
        cause: Cause,
    },
}

/// Why an endpoint is set aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Errors in a row.
    Consecutive5xx,
    /// 502, 503 and 504 in a row.
    ConsecutiveGateway,
    /// Local failures in a row.
    ConsecutiveLocal,
}

impl Cause {
    /// Envoy's name for it, as in `ejections_enforced_consecutive_5xx`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Consecutive5xx => "consecutive_5xx",
            Cause::ConsecutiveGateway => "consecutive_gateway_failure",
            Cause::ConsecutiveLocal => "consecutive_local_origin_failure",
        }
    }
}

/// The HTTP status that a gRPC status counts as. Envoy's table, but for UNIMPLEMENTED: Envoy says 501, so that ten calls to
/// a method that does not exist eject an endpoint; it is the caller's mistake and counts as 404 here.
pub fn grpc_to_http(status: u32) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 | 12 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// What scoring needs to know of the cluster.
pub(crate) struct Detector<'a> {
    pub(crate) rules: &'a Outlier,
    /// How many endpoints the cluster has.
    pub(crate) total: u32,
    /// How many of them are out, in all workers.
    pub(crate) out: &'a AtomicU32,
}

impl Detector<'_> {
    /// Counts a score and ejects if that is the last straw.
    pub(crate) fn score(&self, endpoint: &Endpoint, score: Score, now: Time) -> Option<OutlierKind> {
        let state = &*endpoint.state;
        let cause = match score {
            Score::Status(status) => {
                if self.rules.split_local_origin {
                    end_row(&state.consecutive_local);
                }
                self.status(state, status, self.is_error(status))
            }
            _ if self.rules.split_local_origin => {
                row(&state.consecutive_local, self.rules.consecutive_local).then_some(Cause::ConsecutiveLocal)
            }
            // Envoy: without the split a local failure is a 503 or 504, whatever the listed error codes are.
            Score::Timeout => self.status(state, 504, true),
            Score::ConnectFailure | Score::Reset | Score::LateReset => self.status(state, 503, true),
        }?;
        self.eject(state, cause, now)
    }

    fn is_error(&self, status: u16) -> bool {
        if self.rules.error_codes.is_empty() { status >= 500 } else { self.rules.error_codes.contains(&status) }
    }

    fn status(&self, state: &EndpointState, status: u16, error: bool) -> Option<Cause> {
        if !error {
            end_row(&state.consecutive_5xx);
            end_row(&state.consecutive_gateway);
            return None;
        }
        let gateway = matches!(status, 502..=504) && row(&state.consecutive_gateway, self.rules.consecutive_gateway);
        if !matches!(status, 502..=504) {
            state.consecutive_gateway.store(0, Relaxed);
        }
        let any = row(&state.consecutive_5xx, self.rules.consecutive_5xx);
        match (gateway, any) {
            (true, _) => Some(Cause::ConsecutiveGateway),
            (false, true) => Some(Cause::Consecutive5xx),
            (false, false) => None,
        }
    }

    fn eject(&self, state: &EndpointState, cause: Cause, now: Time) -> Option<OutlierKind> {
        if !state.may_be_ejected() {
            return None;
        }
        let one_more = |out: u32| self.allows(out + 1).then(|| out + 1);
        if self.out.fetch_update(AcqRel, Acquire, one_more).is_err() {
            return Some(OutlierKind::Suppressed { cause });
        }
        let (base, most) = (self.rules.base_ejection, self.rules.max_ejection);
        let mut times = state.multiplier.load(Relaxed);
        if base.times(u64::from(times)).0 < most.0.saturating_add(base.0) {
            times += 1;
        }
        // Written before the flag: a sweep that sees the flag must not see an older ejection's time.
        state.multiplier.store(times, Relaxed);
        state.ejected_at.store(now.0, Relaxed);
        let Some(number) = state.eject() else {
            self.out.fetch_sub(1, AcqRel);
            return None;
        };
        Some(OutlierKind::Ejected { cause, lasts: self.lasts(times), number })
    }

    /// Envoy: `100 × (ejected + 1) / total ≤ max_ejection_percent`, in real numbers. At 10 % a cluster of fewer than ten
    /// endpoints never ejects.
    fn allows(&self, out: u32) -> bool {
        u64::from(out) * 100 <= u64::from(self.rules.max_ejection_percent) * u64::from(self.total)
    }

    fn lasts(&self, times: u32) -> Span {
        self.rules.base_ejection.times(u64::from(times.max(1))).min(self.rules.max_ejection)
    }

    /// What a sweep does to one endpoint; true when it returns.
    pub(crate) fn sweep(&self, endpoint: &Endpoint, now: Time) -> bool {
        let state = &*endpoint.state;
        let times = state.multiplier.load(Relaxed);
        if !endpoint.ejected() {
            // Another worker may eject at this moment: then its count stands.
            let _ = state.multiplier.compare_exchange(times, times.saturating_sub(1), Relaxed, Relaxed);
            return false;
        }
        now >= self.returns(endpoint) && self.readmit(state)
    }

    /// When an ejected endpoint's time is over.
    pub(crate) fn returns(&self, endpoint: &Endpoint) -> Time {
        let state = &*endpoint.state;
        Time(state.ejected_at.load(Relaxed)) + self.lasts(state.multiplier.load(Relaxed))
    }

    /// Lets an endpoint back in; false when it was not out.
    pub(crate) fn readmit(&self, state: &EndpointState) -> bool {
        // Envoy leaves the row of local failures as it is.
        state.consecutive_5xx.store(0, Relaxed);
        state.consecutive_gateway.store(0, Relaxed);
        let returned = state.readmit();
        if returned {
            self.out.fetch_sub(1, AcqRel);
        }
        returned
    }
}

/// One more in a row; whether that fills it, and then a new one begins. A threshold of 0 is never met, and one that a reload
/// has lowered below the present count is met at once.
fn row(count: &AtomicU32, threshold: u32) -> bool {
    let full = threshold != 0 && count.fetch_add(1, Relaxed).saturating_add(1) >= threshold;
    if full {
        count.store(0, Relaxed);
    }
    full
}

/// Ends a row, if there is one: what is zero is not written, so that workers need not pass the memory to one another.
fn end_row(count: &AtomicU32) {
    if count.load(Relaxed) != 0 {
        count.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests;
