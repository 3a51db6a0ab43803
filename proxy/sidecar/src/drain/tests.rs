//! Whole drains in virtual time.

use std::cell::Cell;

use leeboard_policy::time::{Span, Time};

use super::*;

/// An application of one port.
#[derive(Default)]
struct App {
    gone: Cell<bool>,
}

impl Application for App {
    async fn refuses(&self) -> Vec<bool> {
        vec![self.gone.get()]
    }
}

/// One that stays.
struct OwnAddresses;

impl Application for OwnAddresses {
    async fn refuses(&self) -> Vec<bool> {
        vec![false]
    }
}

fn pace() -> Pace {
    Pace { minimum: Span::from_secs(5), maximum: Span::from_secs(45), inbound: true }
}

fn elapsed(clock: Clock) -> u64 {
    (clock.now() - Time(0)).as_millis()
}

#[test]
fn a_side_never_goes_back() {
    let drain = Drain::new(1);
    let watch = drain.watch();
    for (phase, after, close) in [
        (DrainPhase::Leaving, DrainPhase::Leaving, true),
        (DrainPhase::Open, DrainPhase::Leaving, true),
        (DrainPhase::Shut, DrainPhase::Shut, false),
        (DrainPhase::Closing, DrainPhase::Closing, true),
        (DrainPhase::Leaving, DrainPhase::Closing, true),
    ] {
        drain.advance(Side::Inbound, phase);
        assert_eq!(watch.borrow().of(Side::Inbound), after);
        assert_eq!(drain.says_close(Side::Inbound), close);
    }
    assert_eq!(watch.borrow().of(Side::Outbound), DrainPhase::Open);
    assert!(!drain.says_close(Side::Outbound));
}

#[test]
fn a_port_shuts_when_the_application_is_gone_from_it_and_a_side_when_it_is_gone_from_all() {
    let drain = Drain::new(1);
    let shut = || {
        let drain_state = *drain.watch().borrow();
        [0, 1, 70].map(|port| drain_state.shuts(Side::Inbound, Some(port)))
    };
    assert_eq!(shut(), [false; 3]);
    drain.forsake(&[false, true]);
    assert_eq!(shut(), [false, true, false]);
    drain.forsake(&[false, false]);
    assert_eq!(shut(), [false, true, false], "what has shut stays shut");
    drain.forsake(&[true, true]);
    assert_eq!(shut(), [true; 3]);
    assert!(!drain.watch().borrow().shuts(Side::Outbound, None));
    drain.forsake(&[]);
    assert_eq!(drain.watch().borrow().of(Side::Inbound), DrainPhase::Closing);
}

#[test]
fn what_is_over_counts_no_more() {
    let drain = Drain::new(2);
    (0..2).for_each(|worker| drain.traffic(worker).exchange_began(Side::Inbound));
    drain.traffic(0).exchange_began(Side::Outbound);
    let held = (drain.traffic(1).connection(Side::Inbound), drain.traffic(1).listener(Side::Inbound));
    let counts = |load: Load| (load.exchanges, load.connections, load.listeners, load.begun);
    assert_eq!(counts(drain.loads().inbound), (2, 1, 1, 2));
    assert_eq!(counts(drain.loads().outbound), (1, 0, 0, 1));
    drop(held);
    (0..2).for_each(|worker| drain.traffic(worker).exchange_over(Side::Inbound));
    assert_eq!(counts(drain.loads().inbound), (0, 0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_whole_drain() {
    let (clock, drain) = (Clock::start(), Drain::new(1));
    assert_eq!(drain.life(), Life::Starting);
    drain.started();
    assert_eq!(drain.life(), Life::Live);
    let mut drain_state = drain.watch();
    let held = drain.traffic(0).connection(Side::Inbound);
    drain.ask();
    let connection = async {
        drain_state.wait_for(|s| s.inbound == DrainPhase::Leaving).await.unwrap();
        assert_eq!(drain.life(), Life::Draining);
        drain_state.wait_for(|s| s.inbound == DrainPhase::Leaving && s.outbound == DrainPhase::Leaving).await.unwrap();
        drain_state.wait_for(|s| s.inbound == DrainPhase::Closing && s.outbound == DrainPhase::Closing).await.unwrap();
        drop(held);
    };
    tokio::join!(drain.run(clock, pace(), &OwnAddresses), connection);
    assert!((6_000..6_200).contains(&elapsed(clock)), "{}", elapsed(clock));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_nobody_calls_does_not_linger() {
    for (inbound, expected) in [(false, 500..600), (true, 5_000..5_200)] {
        let (clock, drain) = (Clock::start(), Drain::new(1));
        let listening = drain.traffic(0).listener(Side::Outbound);
        let mut drain_state = drain.watch();
        let listener = async {
            drain_state.wait_for(|s| s.shuts(Side::Outbound, None)).await.unwrap();
            drop(listening);
        };
        drain.ask();
        tokio::join!(drain.run(clock, Pace { inbound, ..pace() }, &OwnAddresses), listener);
        assert!(expected.contains(&elapsed(clock)), "{}", elapsed(clock));
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_gone_is_not_stood_in_for() {
    let (clock, drain, app) = (Clock::start(), Drain::new(1), App::default());
    let listening = drain.traffic(0).listener(Side::Inbound);
    let mut drain_state = drain.watch();
    drain.ask();
    let listener = async {
        clock.until(Time(0) + Span::from_secs(1)).await;
        assert!(!drain_state.borrow().shuts(Side::Inbound, Some(0)), "as long as it listens it is served");
        app.gone.set(true);
        drain_state.wait_for(|s| s.shuts(Side::Inbound, Some(0))).await.unwrap();
        drop(listening);
        elapsed(clock)
    };
    let ((), closed) = tokio::join!(drain.run(clock, pace(), &app), listener);
    assert!((1_000..1_300).contains(&closed), "{closed}");
    assert!((5_000..5_200).contains(&elapsed(clock)), "it refuses until callers have learnt of it: {}", elapsed(clock));
}

#[tokio::test(start_paused = true)]
async fn an_announced_end_is_safe_when_nobody_comes_any_more_and_the_process_waits_for_its_own() {
    let (clock, drain) = (Clock::start(), Drain::new(1));
    drain.started();
    let (listening, idle) = (drain.traffic(0).listener(Side::Inbound), drain.traffic(0).connection(Side::Inbound));
    let mut drain_state = drain.watch();
    drain.announce();
    let story = async {
        drain_state.wait_for(|s| s.inbound == DrainPhase::Leaving).await.unwrap();
        assert_eq!((drain.life(), drain.is_safe()), (Life::Draining, false));
        drain_state.wait_for(|s| s.inbound == DrainPhase::Closing).await.unwrap();
        assert!((5_000..5_200).contains(&elapsed(clock)), "{}", elapsed(clock));
        assert_eq!((drain.is_safe(), drain_state.borrow().outbound), (false, DrainPhase::Open));
        drop((listening, idle));
        clock.until(clock.now() + Span::from_millis(100)).await;
        assert!(drain.is_safe());
        clock.until(Time(0) + Span::from_secs(100)).await;
        drain.ask();
    };
    tokio::join!(drain.run(clock, pace(), &OwnAddresses), story);
    assert!((100_000..100_200).contains(&elapsed(clock)), "{}", elapsed(clock));
}

#[tokio::test(start_paused = true)]
async fn asking_twice_ends_at_once() {
    let (clock, drain) = (Clock::start(), Drain::new(1));
    drain.traffic(0).exchange_began(Side::Outbound);
    let again = async {
        drain.ask();
        drain.watch().wait_for(|s| s.inbound == DrainPhase::Leaving).await.unwrap();
        drain.ask();
    };
    tokio::join!(drain.run(clock, pace(), &OwnAddresses), again);
    assert!(elapsed(clock) < 1_000);
}
