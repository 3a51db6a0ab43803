//! Half of the webhooks are copied to `inventory-service`, and when that hangs nobody waits for it.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{Findings, ensure, ensure_no_failure, milliseconds, until};
use crate::fleet::Fleet;
use crate::layout::count;
use crate::topology::local;
use crate::traffic::Ask;

const HANG: Duration = Duration::from_secs(3);

pub(super) async fn play(fleet: &mut Fleet) -> Findings {
    let fleet = &*fleet;
    // As event-publisher would: by name, through its own Leeboard. The event is of a type that nobody keeps.
    let event = json!({ "type": "demo.checked", "data": {} });
    let ask = Ask::get("http://notification-service:5003/webhook".to_owned())
        .sending(Method::POST, &event)
        .through(local(fleet.ports("publisher").outbound));
    let calls = 600;
    let well = ask.times(calls, 4).await;
    ensure_no_failure("webhooks", &well)?;
    // The last copies may still be on their way when their primaries are answered.
    let copies_due = |copies: u64| (40.0..=60.0).contains(&(copies as f64 * 100.0 / calls as f64));
    until(Duration::from_secs(2), "inventory-service has got 40 to 60 % of the calls", async || {
        Ok(copies_due(fleet.seen("inventory", "POST").await?))
    })
    .await?;
    let copies = fleet.seen("inventory", "POST").await?;
    ensure(copies_due(copies), || {
        format!("inventory-service got {} of {calls} calls", count(copies as f64, "copy", "copies"))
    })?;

    fleet.behave("inventory", json!({ "delay_ms": HANG.as_millis() as u64 })).await?;
    let hung = ask.times(calls, 4).await;
    ensure_no_failure("webhooks while the mirror hangs", &hung)?;
    let slowest = hung.time_of(1.0);
    ensure(slowest < HANG / 2, || format!("a call took {} while the mirror hung", milliseconds(slowest)))?;
    let (p99, p99_hung) = (well.time_of(0.99), hung.time_of(0.99));
    // Far less than what the mirror takes, far more than what a busy machine adds.
    ensure(p99_hung < p99 * 3 + Duration::from_millis(50), || {
        format!("p99 went from {} to {}", milliseconds(p99), milliseconds(p99_hung))
    })?;
    let share = copies as f64 * 100.0 / calls as f64;
    Ok(vec![
        format!("mirrorPercentage 50: {copies} of {calls} calls were copied ({share:.1} %)"),
        format!("p50 and p99 of the primary: {} and {}", milliseconds(well.time_of(0.5)), milliseconds(p99)),
        format!(
            "with the mirror hanging for {HANG:?}: {} and {}, slowest {}",
            milliseconds(hung.time_of(0.5)),
            milliseconds(p99_hung),
            milliseconds(slowest)
        ),
    ])
}
