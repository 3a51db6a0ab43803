//! The weights of `routes.yaml` are the shares of the traffic, also after an edit, and no call fails for it.

use std::time::Duration;

use super::{EDIT_PATIENCE, Findings, ensure, ensure_no_failure, until};
use crate::configuration::{Edit, Routes};
use crate::fleet::Fleet;

pub(super) async fn play(fleet: &mut Fleet, routes: &Routes) -> Findings {
    let ask = fleet.gateway("/api/v1/users/1");
    let by_name = ask.clone().with_header("x-canary", "v2").times(100, 4).await;
    ensure_no_failure("with x-canary: v2", &by_name)?;
    ensure(by_name.share_of("v2") == 100.0, || format!("x-canary: v2 reached v2 in {} %", by_name.share_of("v2")))?;

    let before = ask.times(2_000, 8).await;
    ensure_no_failure("at 90/10", &before)?;
    // Five standard deviations of 2,000 fair choices: 0.67 percentage points each.
    ensure((6.6..=13.4).contains(&before.share_of("v2")), || {
        format!("v2 got {:.1} % of {} calls instead of 10 %", before.share_of("v2"), before.total())
    })?;

    let load = ask.load(2, Duration::from_millis(1));
    routes.save(Edit::Weights(50, 50))?;
    // Of 40 calls at least 14 go to v2: one batch in 30 does that less at 50 %, none in 20,000 does it at 10 %.
    let took = until(EDIT_PATIENCE, "the share of v2 has grown", async || {
        Ok(ask.times(40, 4).await.versions.get("v2").is_some_and(|count| *count >= 14))
    })
    .await?;
    let after = ask.times(2_000, 8).await;
    ensure_no_failure("at 50/50", &after)?;
    ensure((44.4..=55.6).contains(&after.share_of("v2")), || {
        format!("v2 got {:.1} % of {} calls instead of 50 %", after.share_of("v2"), after.total())
    })?;
    let during = load.stop().await?;
    ensure_no_failure("while the file was edited", &during)?;
    Ok(vec![
        format!("x-canary: v2: {} of {} calls reached v2", by_name.versions["v2"], by_name.total()),
        format!("weights 90/10: {:.1} % of {} calls reached v2", before.share_of("v2"), before.total()),
        format!(
            "weights 50/50: {:.1} % of {} calls, first seen {:.0} ms after the file was saved",
            after.share_of("v2"),
            after.total(),
            took.as_secs_f64() * 1e3
        ),
        format!("0 of {} calls in between failed", during.total()),
    ])
}
