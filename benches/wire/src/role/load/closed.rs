//! The closed loop: every slot sends its next request as soon as it is answered. It finds the saturation point.

use std::io;
use std::time::Instant;

use nix::sys::epoll::EpollEvent;

use super::fleet::{Fleet, News};
use super::{LoadArgs, MOST_EVENTS, Tally, seconds};

/// When nothing arrives for this many milliseconds the clock is looked at all the same.
const IDLE_MS: u16 = 100;

/// Loads until the window is over.
pub(super) fn drive(args: &LoadArgs, fleet: &mut impl Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
    let warm = Instant::now() + seconds(args.warmup);
    let end = warm + seconds(args.seconds);
    let mut events = vec![EpollEvent::empty(); MOST_EVENTS];
    let mut news = Vec::new();
    for slot in 0..fleet.slots() {
        send(slot, fleet, tally)?;
    }
    fleet.flush(&mut news)?;
    loop {
        let ready = fleet.epoll().wait(&mut events, IDLE_MS)?;
        let now = Instant::now();
        if now >= end {
            return tally.close_window();
        }
        if tally.from.is_none() && now >= warm {
            tally.open_window()?;
        }
        for event in &events[..ready] {
            fleet.receive(event.data() as usize, &mut news)?;
            take(&mut news, fleet, tally)?;
        }
        fleet.flush(&mut news)?;
        // What failed by the flush is sent again, and written by the next one.
        take(&mut news, fleet, tally)?;
    }
}

fn take(news: &mut Vec<News>, fleet: &mut impl Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
    for news in news.drain(..) {
        let slot = match news {
            News::Answer { slot, due } => {
                tally.answer();
                if tally.window_is_open() {
                    tally.latency.record(due.elapsed());
                }
                slot
            }
            News::Failed { slot, fault } => {
                tally.error(fault.to_string())?;
                slot
            }
        };
        send(slot, fleet, tally)?;
    }
    Ok(())
}

/// Sends; a slot that cannot be sent on is tried again until `Tally::error` has had enough.
fn send(slot: usize, fleet: &mut impl Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
    while let Err(fault) = fleet.send(slot, Instant::now()) {
        tally.error(fault.to_string())?;
    }
    Ok(())
}
