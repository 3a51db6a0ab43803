//! Reading is repeated until it succeeds; writing is sent once, even when the answer never comes.

use http::Method;
use serde_json::json;

use super::{Findings, ensure, ensure_no_failure};
use crate::fleet::Fleet;
use crate::layout::count;

pub(super) async fn play(fleet: &mut Fleet) -> Findings {
    fleet.behave("external-b", json!({ "fail_percent": 30, "status": 503 })).await?;
    let ask = fleet.gateway("/api/v1/external-call");
    let retried_before = retries(fleet).await?;
    let reading = ask.times(400, 4).await;
    let retried = retries(fleet).await? - retried_before;
    ensure_no_failure("reading", &reading)?;
    ensure(retried > 0.0, || "leeboard_retries_total counted no retry".to_owned())?;

    let writes = 40;
    for name in ["external-a", "external-b"] {
        fleet.behave(name, json!({ "fail_percent": 100, "status": 0 })).await?;
    }
    let writing = ask.sending(Method::POST, &json!({ "n": 1 })).times(writes, 1).await;
    let mut arrived = 0;
    for name in ["external-a", "external-b"] {
        arrived += fleet.seen(name, "POST").await?;
    }
    ensure(writing.failed() == writes, || format!("{} of {writes} POSTs failed", writing.failed()))?;
    // While both rest as ejected a POST may be refused before it is sent; none may arrive twice.
    ensure(arrived > 0 && arrived <= writes as u64, || format!("{writes} POSTs arrived {arrived} times"))?;
    Ok(vec![
        format!(
            "one replica of two fails 30 % of its calls: 0 of {} GETs failed, {}",
            reading.total(),
            count(retried, "retry", "retries")
        ),
        format!(
            "both hang up on every call: {writes} POSTs were sent and arrived {}, none twice",
            count(arrived as f64, "time", "times")
        ),
    ])
}

async fn retries(fleet: &Fleet) -> Result<f64, String> {
    Ok(fleet.metrics("gateway").await?.sum("leeboard_retries_total", &[]))
}
