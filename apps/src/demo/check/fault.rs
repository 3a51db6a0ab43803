//! A fault is injected by an edit, at its percentage, and is gone with the next edit.

use std::time::Duration;

use super::{EDIT_PATIENCE, Findings, ensure, ensure_no_failure, milliseconds, until};
use crate::configuration::{Edit, Routes};
use crate::fleet::Fleet;

/// `fixedDelay` of `order-service` in `routes.yaml`.
const DELAY: Duration = Duration::from_millis(200);

pub(super) async fn play(fleet: &mut Fleet, routes: &Routes) -> Findings {
    let ask = fleet.gateway("/api/v1/orders");
    let calm = ask.times(100, 4).await;
    ensure_no_failure("without a fault", &calm)?;

    routes.save(Edit::Faults(0, 50))?;
    let appeared =
        until(EDIT_PATIENCE, "a call is aborted", async || Ok(ask.times(10, 2).await.with_status(503) > 0)).await?;
    let aborting = ask.times(400, 4).await;
    let aborted = aborting.with_status(503);
    // Five standard deviations of 400 fair choices: 10 each.
    ensure((150..=250).contains(&aborted), || format!("{aborted} of 400 calls were aborted instead of half"))?;

    routes.save(Edit::Faults(100, 0))?;
    until(EDIT_PATIENCE, "calls are delayed", async || Ok(ask.times(1, 1).await.time_of(0.0) >= DELAY)).await?;
    let delaying = ask.times(40, 4).await;
    ensure_no_failure("while delayed", &delaying)?;
    let fastest = delaying.time_of(0.0);
    ensure(fastest >= DELAY, || format!("a call took {} in spite of the delay", milliseconds(fastest)))?;

    routes.save(Edit::Faults(0, 0))?;
    let gone =
        until(EDIT_PATIENCE, "the delay is gone", async || Ok(ask.times(1, 1).await.time_of(0.0) < DELAY)).await?;
    let healed = ask.times(200, 4).await;
    ensure_no_failure("after the fault", &healed)?;
    Ok(vec![
        format!(
            "abort 50 %: {aborted} of 400 calls got 503, first {:.0} ms after the save",
            appeared.as_secs_f64() * 1e3
        ),
        format!(
            "delay 100 %: p50 {} instead of {}",
            milliseconds(delaying.time_of(0.5)),
            milliseconds(calm.time_of(0.5))
        ),
        format!("both at 0 again: 0 of 200 calls failed, {:.0} ms after the save", gone.as_secs_f64() * 1e3),
    ])
}
