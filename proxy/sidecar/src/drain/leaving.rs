//! The rules of a drain, as a function of time and of what is in flight.

use leeboard_policy::time::{Span, Time};

use super::traffic::{Load, Loads};

/// How long nothing may have been in flight before a side counts as quiet.
const QUIET: Span = Span::from_millis(500);
/// The most time before the deadline at which a side is told to move on.
const CLOSING: Span = Span::from_secs(5);
/// The most time that the application is given to do so: whoever is idle for that long hardly asks just as the connection
/// closes.
const PARTING: Span = Span::from_secs(1);

/// How a process leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long new requests to the application are served at least, for callers take their time to learn that it goes.
    pub(crate) minimum: Span,
    /// How long it takes at most: once for the application's callers, and once more when the process has been told to end.
    pub(crate) maximum: Span,
    /// Whether anybody calls the application through this process.
    pub(crate) inbound: bool,
}

/// What to do next on the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing: everything is served.
    Serve,
    /// Close what is in front of the application; the application itself is served.
    Shut,
    /// Tell the application to move on.
    Part,
    /// Close everything.
    Close,
    /// Nothing is left to do.
    End,
}

/// Since when nothing has been in flight on a side.
#[derive(Debug)]
struct Quiet {
    since: Time,
    begun: Option<u64>,
}

impl Quiet {
    fn look(&mut self, now: Time, load: Load) -> bool {
        if load.exchanges > 0 || self.begun.is_some_and(|begun| begun != load.begun) {
            self.since = now;
        }
        self.begun = Some(load.begun);
        now - self.since >= QUIET
    }
}

/// How far a process has come on its way out. It begins when it is told that the application will go.
#[derive(Debug)]
pub(super) struct Leaving {
    pace: Pace,
    began: Time,
    /// When the process itself was told to end.
    told: Option<Time>,
    /// Whether somebody at a terminal told it, who waits for no more than what is in flight.
    by_hand: bool,
    inbound: Quiet,
    outbound: Quiet,
    /// Whether nothing new comes to the application any more.
    shut: bool,
    parting_since: Option<Time>,
}

impl Leaving {
    pub(super) fn new(now: Time, pace: Pace) -> Self {
        let quiet = || Quiet { since: now, begun: None };
        let (inbound, outbound) = (quiet(), quiet());
        Self { pace, began: now, told: None, by_hand: false, inbound, outbound, shut: false, parting_since: None }
    }

    /// Notes that the process itself was told to end; false when it had been told before.
    pub(super) fn tell(&mut self, now: Time) -> bool {
        self.told.replace(self.told.unwrap_or(now)).is_none()
    }

    /// Notes that it was somebody at a terminal who told it.
    pub(super) fn tell_by_hand(&mut self) {
        self.by_hand = true;
    }

    /// Whether nobody comes to the application any more, so that it may end.
    pub(super) fn is_safe(&self, now: Time, load: Load) -> bool {
        now >= self.began + self.pace.maximum || (self.shut && load.listeners == 0 && !load.is_open())
    }

    /// What to do now. `gone` tells that the application does not listen any more.
    pub(super) fn step(&mut self, now: Time, load: Loads, gone: bool) -> Step {
        let quiet = (self.inbound.look(now, load.inbound), self.outbound.look(now, load.outbound));
        let learnt = now >= self.began + self.pace.minimum;
        let margin = Span(CLOSING.0.min(self.pace.maximum.0 / 4));
        let late = |since: Time| now >= since + Span(self.pace.maximum.0 - margin.0);
        self.shut |= !self.pace.inbound || gone || (learnt && quiet.0) || late(self.began);
        let Some(told) = self.told else { return if self.shut { Step::Shut } else { Step::Serve } };
        let idle = load.inbound.exchanges + load.outbound.exchanges == 0;
        if now >= told + self.pace.maximum || (self.by_hand && idle) {
            return Step::End;
        }
        let open = load.inbound.is_open() || load.outbound.is_open();
        // A pod that is gone altogether answers nobody, and callers wait for it; until they have learnt of it, it refuses.
        let known = learnt || !self.pace.inbound;
        if late(told) || (self.shut && known && quiet.0 && quiet.1) {
            self.parting_since.get_or_insert(now);
        }
        let parting = Span(PARTING.0.min(margin.0 / 2));
        match self.parting_since {
            None if self.shut && self.pace.inbound => Step::Shut,
            None => Step::Serve,
            // Listeners close in good order: who waits in their queues believes to be connected.
            Some(_) if !open && load.inbound.listeners + load.outbound.listeners == 0 => Step::End,
            Some(since) if open && now - since < parting => Step::Part,
            Some(_) => Step::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHUT: Load = Load { exchanges: 0, connections: 0, listeners: 0, begun: 9 };

    fn pace(inbound: bool) -> Pace {
        Pace { minimum: Span::from_secs(2), maximum: Span::from_secs(8), inbound }
    }

    fn load(exchanges: usize, connections: usize, begun: u64) -> Load {
        Load { exchanges, connections, listeners: 1, begun }
    }

    /// Steps through (milliseconds, inbound load, outbound load, whether the application is gone, expected) of a process that
    /// was told to end at 0.
    fn check(inbound: bool, rows: &[(u64, Load, Load, bool, Step)]) {
        let mut leaving = Leaving::new(Time(0), pace(inbound));
        assert!(leaving.tell(Time(0)));
        for &(ms, inbound, outbound, gone, expected) in rows {
            let now = Time(0) + Span::from_millis(ms);
            let step = leaving.step(now, Loads { inbound, outbound }, gone);
            assert_eq!(step, expected, "at {ms} ms of {rows:?}");
        }
    }

    #[test]
    fn without_an_inbound_side_a_process_that_nobody_calls_ends_when_it_has_been_quiet() {
        let idle = load(0, 0, 9);
        check(
            false,
            &[
                (0, SHUT, idle, false, Step::Serve),
                (499, SHUT, idle, false, Step::Serve),
                (500, SHUT, idle, false, Step::Close),
                (550, SHUT, SHUT, false, Step::End),
            ],
        );
    }

    #[test]
    fn a_process_that_nobody_calls_ends_when_its_callers_have_had_the_time_to_learn_of_it() {
        let idle = load(0, 0, 9);
        check(
            true,
            &[
                (0, idle, idle, false, Step::Serve),
                (1_999, idle, idle, false, Step::Serve),
                (2_000, idle, idle, false, Step::Close),
                (2_050, SHUT, SHUT, false, Step::End),
            ],
        );
    }

    #[test]
    fn nobody_is_kept_in_front_of_an_application_that_is_gone() {
        let (idle, one) = (load(0, 0, 9), load(1, 1, 9));
        check(
            true,
            &[
                (0, one, idle, false, Step::Serve),
                (100, one, idle, true, Step::Shut),
                (200, one, idle, true, Step::Shut),
                (300, SHUT, idle, true, Step::Shut),
                (1_999, SHUT, idle, true, Step::Shut),
                (2_000, SHUT, idle, true, Step::Close),
                (2_050, SHUT, SHUT, true, Step::End),
            ],
        );
    }

    #[test]
    fn idle_connections_are_closed_before_the_end() {
        for last in [(3_050, load(0, 1, 9), Step::Close), (3_050, SHUT, Step::End)] {
            let three = load(0, 3, 9);
            check(
                true,
                &[
                    (0, SHUT, three, false, Step::Serve),
                    (2_000, SHUT, three, false, Step::Part),
                    (2_999, SHUT, three, false, Step::Part),
                    (3_000, SHUT, three, false, Step::Close),
                    (last.0, SHUT, last.1, false, last.2),
                ],
            );
        }
    }

    #[test]
    fn traffic_is_served_until_it_has_been_quiet_for_a_moment() {
        let side = |traffic: Load, inbound: bool| if inbound { (traffic, SHUT) } else { (SHUT, traffic) };
        for inbound in [true, false] {
            let row = |ms, exchanges, connections, begun, step| {
                let (inbound, outbound) = side(load(exchanges, connections, begun), inbound);
                (ms, inbound, outbound, false, step)
            };
            let waits = if inbound { Step::Serve } else { Step::Shut };
            check(
                true,
                &[
                    row(0, 2, 2, 9, Step::Serve),
                    row(1_999, 1, 1, 9, Step::Serve),
                    row(2_950, 1, 1, 9, waits),
                    row(3_000, 0, 1, 9, waits),
                    // One began and ended between two looks.
                    row(3_400, 0, 1, 10, waits),
                    row(3_899, 0, 1, 10, waits),
                    row(3_900, 0, 1, 10, Step::Part),
                    // Parting has begun, and a late request does not undo it.
                    row(3_950, 1, 1, 11, Step::Part),
                    row(4_900, 1, 1, 11, Step::Close),
                ],
            );
        }
    }

    #[test]
    fn endless_traffic_is_closed_before_the_deadline_and_cut_at_it() {
        let busy = |begun| load(5, 5, begun);
        check(
            true,
            &[
                (0, busy(0), SHUT, false, Step::Serve),
                (5_999, busy(900), SHUT, false, Step::Serve),
                (6_000, busy(901), SHUT, false, Step::Part),
                (7_000, busy(902), SHUT, false, Step::Close),
                (7_999, busy(902), SHUT, false, Step::Close),
                (8_000, busy(902), SHUT, false, Step::End),
            ],
        );
    }

    #[test]
    fn an_announced_end_shuts_what_is_in_front_of_the_application_and_then_waits() {
        let mut leaving = Leaving::new(Time(0), pace(true));
        let mut at = |ms, inbound| {
            let now = Time(0) + Span::from_millis(ms);
            let step = leaving.step(now, Loads { inbound, outbound: load(3, 3, ms) }, false);
            (step, leaving.is_safe(now, inbound))
        };
        assert_eq!(at(0, load(1, 2, 1)), (Step::Serve, false));
        assert_eq!(at(1_400, load(1, 2, 1)), (Step::Serve, false));
        assert_eq!(at(1_450, load(0, 2, 1)), (Step::Serve, false));
        assert_eq!(at(2_000, load(0, 2, 1)), (Step::Shut, false), "one who is idle may still ask");
        assert_eq!(at(2_050, Load { listeners: 0, ..load(0, 1, 1) }), (Step::Shut, false));
        assert_eq!(at(2_100, SHUT), (Step::Shut, true), "it goes on serving the application");
        assert_eq!(at(60_000, SHUT), (Step::Shut, true), "for as long as nobody ends it");
    }

    #[test]
    fn an_announced_end_does_not_wait_for_ever_for_callers_who_stay() {
        let mut leaving = Leaving::new(Time(0), pace(true));
        for (ms, step, safe) in [(5_999, Step::Serve, false), (6_000, Step::Shut, false), (8_000, Step::Shut, true)] {
            let now = Time(0) + Span::from_millis(ms);
            let busy = load(1, 1, ms);
            assert_eq!(leaving.step(now, Loads { inbound: busy, outbound: SHUT }, false), step, "at {ms}");
            assert_eq!(leaving.is_safe(now, busy), safe, "at {ms}");
        }
    }

    #[test]
    fn what_was_announced_counts_when_the_process_is_told_to_end() {
        let mut leaving = Leaving::new(Time(0), pace(true));
        let idle = Loads { inbound: load(0, 0, 1), outbound: load(0, 0, 1) };
        let at = |ms| Time(0) + Span::from_millis(ms);
        assert_eq!(leaving.step(at(0), idle, false), Step::Serve);
        assert_eq!(leaving.step(at(60_000), idle, false), Step::Shut);
        assert!(leaving.tell(at(60_000)) && !leaving.tell(at(60_000)));
        assert_eq!(leaving.step(at(60_050), idle, false), Step::Close);
        assert_eq!(leaving.step(at(60_100), Loads { inbound: SHUT, outbound: SHUT }, false), Step::End);
    }

    #[test]
    fn whoever_interrupts_it_waits_for_what_is_in_flight_only() {
        let mut leaving = Leaving::new(Time(0), pace(true));
        leaving.tell(Time(0));
        leaving.tell_by_hand();
        let mut at =
            |ms, inbound, outbound| leaving.step(Time(0) + Span::from_millis(ms), Loads { inbound, outbound }, false);
        assert_eq!(at(0, load(0, 3, 9), load(1, 3, 9)), Step::Serve);
        assert_eq!(at(50, load(1, 3, 10), load(0, 3, 9)), Step::Serve);
        assert_eq!(at(100, load(0, 3, 10), load(0, 3, 9)), Step::End);
    }

    #[test]
    fn no_drain_time_ends_at_once() {
        let mut leaving = Leaving::new(Time(7), Pace { minimum: Span(0), maximum: Span(0), inbound: true });
        leaving.tell(Time(7));
        assert_eq!(leaving.step(Time(7), Loads { inbound: load(1, 1, 1), outbound: SHUT }, false), Step::End);
    }
}
