//! The closed loop: every connection sends its next request as soon as it is answered. It finds the saturation point.

use std::io;
use std::time::Instant;

use nix::sys::epoll::EpollEvent;

use super::connection::{Fleet, Received};
use super::{LoadArgs, Tally, seconds};

/// When nothing arrives for this many milliseconds the clock is looked at all the same.
const IDLE_MS: u16 = 100;

/// Loads until the window is over.
pub(super) fn drive(args: &LoadArgs, fleet: &mut Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
    let warm = Instant::now() + seconds(args.warmup);
    let end = warm + seconds(args.seconds);
    let mut events = vec![EpollEvent::empty(); fleet.size().max(1)];
    for index in 0..fleet.size() {
        send(index, fleet, tally)?;
    }
    loop {
        let ready = fleet.epoll.wait(&mut events, IDLE_MS)?;
        let now = Instant::now();
        if now >= end {
            return tally.close_window();
        }
        if tally.from.is_none() && now >= warm {
            tally.open_window()?;
        }
        for event in &events[..ready] {
            let index = event.data() as usize;
            match fleet.receive(index) {
                Ok(Received::Partial) => {}
                Ok(Received::Renewed) => send(index, fleet, tally)?,
                Ok(Received::Answer { due }) => {
                    tally.answer();
                    if tally.window_is_open() {
                        tally.latency.record(due.elapsed());
                    }
                    send(index, fleet, tally)?;
                }
                Err(fault) => {
                    tally.error(fault.to_string())?;
                    fleet.renew(index)?;
                    send(index, fleet, tally)?;
                }
            }
        }
    }
}

/// Sends; a connection that cannot be written to is replaced until `Tally::error` has had enough.
fn send(index: usize, fleet: &mut Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
    while let Err(fault) = fleet.send(index, Instant::now()) {
        tally.error(fault.to_string())?;
        fleet.renew(index)?;
    }
    Ok(())
}
