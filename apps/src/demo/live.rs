//! The demo that people watch: the screen, a little traffic, and a line that says what becomes of it.

use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::fleet::Fleet;
use crate::say;
use crate::screen::{Counters, screen};
use crate::traffic::Ask;

/// The share of calls that `external-service` fails while the demo runs, in percent: enough to see retries at work.
pub(crate) const EXTERNAL_FAILS: u32 = 20;

const GLANCE: Duration = Duration::from_secs(1);
/// How many glances a lost replica stays away.
const AWAY: u32 = 10;

/// Runs until the future is dropped.
pub(crate) async fn run(fleet: &mut Fleet, rate: u32) -> Result<(), String> {
    say(&screen(&fleet.roll(), fleet.config(), fleet.work()));
    if rate > 0 {
        tokio::task::spawn_local(traffic(Rc::from(asks(fleet)), rate));
    }
    let in_place = std::io::stdout().is_terminal();
    let (mut before, mut at) = (Counters::of(&fleet.all_metrics().await), Instant::now());
    let mut away = 0;
    loop {
        tokio::time::sleep(GLANCE).await;
        for death in fleet.bury() {
            say(&format!("\n{death}; it comes back in {AWAY} s"));
            away = AWAY;
        }
        if away > 0 {
            away -= 1;
            if away == 0 {
                fleet.revive()?;
                say("\nit is back");
            }
        }
        let metrics = fleet.all_metrics().await;
        let ejected = metrics.values_of("endpoint", "leeboard_endpoint_ejected", &[]);
        let ejected: Vec<String> = ejected.iter().map(|endpoint| fleet.name_of(endpoint)).collect();
        let now = Counters::of(&metrics);
        show(&now.line(&before, at.elapsed().as_secs_f64(), &ejected), in_place);
        (before, at) = (now, Instant::now());
    }
}

/// On a terminal the line is overwritten; elsewhere each is a line of its own.
fn show(line: &str, in_place: bool) {
    if !in_place {
        return say(line);
    }
    let mut out = std::io::stdout().lock();
    drop(write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()));
}

/// The built-in traffic: of twenty calls 15 ask for a user, 4 call the external service and one orders.
fn asks(fleet: &Fleet) -> Vec<Ask> {
    let order = json!({ "user_id": "1", "items": [{ "name": "Product A", "price": 100 }], "total": 100 });
    let mut asks = vec![fleet.gateway("/api/v1/users/1"); 15];
    for at in [2, 6, 10, 14] {
        asks.insert(at, fleet.gateway("/api/v1/external-call"));
    }
    asks.push(fleet.gateway("/api/v1/orders").sending(Method::POST, &order));
    asks
}

/// Calls at a steady rate; an answer that is late does not hold the next call back.
async fn traffic(asks: Rc<[Ask]>, rate: u32) {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / rate);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in (0..asks.len()).cycle() {
        beat.tick().await;
        let asks = asks.clone();
        // What became of the call is in the metrics, where the line takes it from.
        tokio::task::spawn_local(async move { asks[turn].once().await });
    }
}
