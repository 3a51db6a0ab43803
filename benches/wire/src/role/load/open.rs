//! The open loop: requests are due at fixed times whatever the proxy does, and latency counts from then. A proxy that stalls
//! is charged for every request that should have been sent meanwhile (no coordinated omission).

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::fleet::{Fleet, News};
use super::{LoadArgs, MOST_EVENTS, Tally, seconds};

const TIMER: u64 = u64::MAX;
const IDLE_MS: u16 = 100;
/// Reading the accounts holds the generator up for some milliseconds; what is due then is not recorded.
const SETTLE: Duration = Duration::from_millis(50);
/// How long after the last request was due the answers are awaited.
const DRAIN: Duration = Duration::from_secs(2);

/// Loads at `rate` requests per second until all that was due is answered, or the drain time is over.
pub(super) fn drive(args: &LoadArgs, rate: f64, fleet: &mut impl Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
    let schedule = Schedule::new(rate, Instant::now(), args);
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    let tick = Expiration::Interval(TimeSpec::from_duration(schedule.interval));
    timer.set(tick, TimerSetTimeFlags::empty())?;
    fleet.epoll().add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;

    let mut run = Run { free: (0..fleet.slots()).collect(), next: 0, schedule };
    let mut events = vec![EpollEvent::empty(); MOST_EVENTS];
    let mut news = Vec::new();
    loop {
        let ready = fleet.epoll().wait(&mut events, IDLE_MS)?;
        for event in &events[..ready] {
            if event.data() == TIMER {
                // Reading starts the timer's next interval.
                timer.wait()?;
            } else {
                fleet.receive(event.data() as usize, &mut news)?;
                run.take(&mut news, tally)?;
            }
        }
        let now = Instant::now();
        run.send_due(now, fleet, tally)?;
        fleet.flush(&mut news)?;
        run.take(&mut news, tally)?;
        if tally.from.is_none() && now >= run.schedule.warm {
            tally.open_window()?;
        }
        let all_answered = run.next >= run.schedule.count && run.free.len() == fleet.slots();
        if all_answered || now >= run.schedule.end + DRAIN {
            run.give_up(now, fleet, tally);
            return tally.close_window();
        }
    }
}

/// When each request is due.
struct Schedule {
    begin: Instant,
    interval: Duration,
    count: u64,
    warm: Instant,
    end: Instant,
}

impl Schedule {
    fn new(rate: f64, begin: Instant, args: &LoadArgs) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.max(1.0));
        let length = seconds(args.warmup) + SETTLE + seconds(args.seconds);
        Self {
            begin,
            interval,
            count: (length.as_nanos() / interval.as_nanos()) as u64,
            warm: begin + seconds(args.warmup),
            end: begin + length,
        }
    }

    fn due(&self, number: u64) -> Instant {
        self.begin + Duration::from_nanos(self.interval.as_nanos() as u64 * number)
    }

    fn records(&self, due: Instant) -> bool {
        due >= self.warm + SETTLE
    }
}

struct Run {
    schedule: Schedule,
    /// Slots without a request under way, the longest free first.
    free: VecDeque<usize>,
    /// The number of the next request.
    next: u64,
}

impl Run {
    fn take(&mut self, news: &mut Vec<News>, tally: &mut Tally<'_>) -> io::Result<()> {
        for news in news.drain(..) {
            let slot = match news {
                News::Answer { slot, due } => {
                    tally.answer();
                    if self.schedule.records(due) {
                        tally.latency.record(due.elapsed());
                    }
                    slot
                }
                News::Failed { slot, fault } => {
                    tally.error(fault.to_string())?;
                    slot
                }
            };
            self.free.push_back(slot);
        }
        Ok(())
    }

    /// Sends every request that is due, as long as slots are free; the others stay due.
    fn send_due(&mut self, now: Instant, fleet: &mut impl Fleet, tally: &mut Tally<'_>) -> io::Result<()> {
        while self.next < self.schedule.count {
            let due = self.schedule.due(self.next);
            if due > now {
                break;
            }
            let Some(slot) = self.free.pop_front() else {
                break;
            };
            self.next += 1;
            if let Err(fault) = fleet.send(slot, due) {
                tally.error(fault.to_string())?;
                self.free.push_back(slot);
            }
        }
        Ok(())
    }

    /// Counts what is still unanswered or unsent, with the time it has waited so far, so that a stalled proxy does not look fast.
    fn give_up(&mut self, now: Instant, fleet: &impl Fleet, tally: &mut Tally<'_>) {
        let unsent = (self.next..self.schedule.count).map(|number| self.schedule.due(number));
        for due in unsent.chain(fleet.unanswered()) {
            tally.unserved += 1;
            if self.schedule.records(due) {
                tally.latency.record(now.saturating_duration_since(due));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::http1::Http1Fleet;
    use super::super::tests::arguments;
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

    /// Answers one connection's requests one by one until it closes.
    fn answer_all(mut stream: TcpStream) {
        let mut bytes = [0; 1024];
        while matches!(stream.read(&mut bytes), Ok(count) if count > 0) {
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }

    #[test]
    fn due_times_do_not_depend_on_answers() {
        let args = arguments("127.0.0.1:1".parse().expect("an address"), Some(1000.0));
        let begin = Instant::now();
        let schedule = Schedule::new(1000.0, begin, &args);
        assert_eq!(schedule.count, 250);
        assert_eq!(schedule.due(7), begin + Duration::from_millis(7));
        assert!(!schedule.records(begin + Duration::from_millis(49)));
        assert!(schedule.records(begin + Duration::from_millis(50)));
    }

    #[test]
    fn every_due_request_is_answered_at_the_rate() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let args = arguments(listener.local_addr().expect("bound"), Some(500.0));
        let server = thread::spawn(move || {
            let workers: Vec<_> = (0..3)
                .map(|_| listener.accept().expect("a client").0)
                .map(|stream| thread::spawn(move || answer_all(stream)))
                .collect();
            workers.into_iter().all(|worker| worker.join().is_ok())
        });
        let mut fleet = Http1Fleet::open(&args).expect("loopback");
        let mut tally = Tally::new(&args);
        drive(&args, 500.0, &mut fleet, &mut tally).expect("loopback");
        drop(fleet);
        assert!(server.join().expect("no panic"));
        assert_eq!((tally.errors, tally.unserved), (0, 0));
        // 0.25 s at 500/s are due; the first 25 of them before the window settles.
        assert_eq!(tally.latency.total(), 100);
        assert!(tally.report().expect("a window").seconds >= 0.2);
    }

    #[test]
    fn a_proxy_that_never_answers_is_charged_for_all_that_was_due() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let args = arguments(listener.local_addr().expect("bound"), Some(500.0));
        let mut fleet = Http1Fleet::open(&args).expect("loopback");
        let mut tally = Tally::new(&args);
        let begin = Instant::now();
        let mut run = Run { free: (0..fleet.slots()).collect(), next: 0, schedule: Schedule::new(500.0, begin, &args) };
        let end = run.schedule.end;
        run.send_due(end, &mut fleet, &mut tally).expect("loopback");
        assert_eq!((run.next, run.free.len()), (3, 0), "one request per connection");
        run.give_up(end + DRAIN, &fleet, &mut tally);
        assert_eq!((tally.unserved, tally.latency.total()), (125, 100));
        let least = tally.latency.quantile_us(0.0).expect("recorded");
        assert!(least >= DRAIN.as_secs_f64() * 1e6, "{least}");
    }
}
