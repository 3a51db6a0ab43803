//! One of the two replicas of v1 is killed, with its Leeboard, while calls come in.

use std::time::Duration;

use super::{Findings, ensure, ensure_no_failure};
use crate::fleet::Fleet;
use crate::layout::count;

const BEFORE: Duration = Duration::from_millis(700);
const AFTER: Duration = Duration::from_millis(2_500);

pub(super) async fn play(fleet: &mut Fleet) -> Findings {
    let ask = fleet.gateway("/api/v1/users/1");
    let load = ask.load(8, Duration::ZERO);
    tokio::time::sleep(BEFORE).await;
    let served = fleet.seen("user-v1-b", "GET").await?;
    ensure(served > 0, || "user-v1-b got no call before it was killed".to_owned())?;
    let retried = retries(fleet).await?;
    fleet.kill("user-v1-b").await;
    tokio::time::sleep(AFTER).await;
    let calls = load.stop().await?;
    let retried = retries(fleet).await? - retried;
    ensure_no_failure("under load", &calls)?;

    fleet.restart("user-v1-b").await?;
    let fleet = &*fleet;
    let back = super::until(Duration::from_secs(20), "the new replica gets calls", async || {
        ensure_no_failure("after the restart", &ask.times(20, 4).await)?;
        Ok(fleet.seen("user-v1-b", "GET").await? > 0)
    })
    .await?;
    Ok(vec![
        format!(
            "it had answered {} when it was killed (SIGKILL, app and Leeboard)",
            count(served as f64, "call", "calls")
        ),
        format!("0 of {} calls failed; {retried} were retried", calls.total()),
        format!("started again, it got calls after {:.1} s", back.as_secs_f64()),
    ])
}

async fn retries(fleet: &Fleet) -> Result<f64, String> {
    Ok(fleet.metrics("gateway").await?.sum("leeboard_retries_total", &[]))
}
