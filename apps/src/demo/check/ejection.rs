//! One of two replicas fails all its calls: it is ejected, no caller notices, and once it is well it serves again.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Findings, ensure, ensure_no_failure, until};
use crate::fleet::Fleet;
use crate::topology::local;

/// `baseEjectionTime` of `external-service` in `destinations.yaml`, less what it takes to see that the rest has begun.
const REST: Duration = Duration::from_millis(4_500);

pub(super) async fn play(fleet: &mut Fleet) -> Findings {
    let fleet = &*fleet;
    let endpoint = local(fleet.ports("external-b").inbound).to_string();
    let ejected = async || {
        let metrics = fleet.metrics("gateway").await?;
        Ok::<bool, String>(metrics.sum("leeboard_endpoint_ejected", &[("endpoint", &endpoint)]) > 0.0)
    };
    let events = async || {
        let metrics = fleet.metrics("gateway").await?;
        let labels = [("endpoint", endpoint.as_str()), ("enforced", "true")];
        Ok::<f64, String>(metrics.sum("leeboard_ejections_total", &labels))
    };
    let events_before = events().await?;
    let ask = fleet.gateway("/api/v1/external-call");
    let load = ask.load(4, Duration::from_millis(2));

    fleet.behave("external-b", json!({ "fail_percent": 100, "status": 503 })).await?;
    let took = until(Duration::from_secs(5), "external-b is ejected", &ejected).await?;
    let since = Instant::now();
    let before_rest = fleet.seen("external-b", "GET").await?;
    let resting = ask.times(300, 4).await;
    // A call that was on its way to it when it was ejected may still arrive: at most one for each caller.
    let while_resting = fleet.seen("external-b", "GET").await? - before_rest;
    ensure(while_resting <= 8, || format!("external-b got {while_resting} calls while it was ejected"))?;

    fleet.behave("external-b", json!({ "fail_percent": 0 })).await?;
    until(Duration::from_secs(15), "external-b is back", async || Ok(!ejected().await?)).await?;
    let away = since.elapsed();
    ensure(away > REST, || format!("external-b was back after {:.1} s already", away.as_secs_f64()))?;
    let after = ask.times(300, 4).await;
    let back = fleet.seen("external-b", "GET").await?;
    ensure(back > 0, || "external-b got no call after it came back".to_owned())?;
    let callers = load.stop().await?.and(resting).and(after);
    ensure_no_failure("callers of external-service", &callers)?;
    let events = events().await? - events_before;
    ensure(events >= 1.0, || format!("leeboard_ejections_total counted {events} ejections"))?;
    Ok(vec![
        format!("external-b failed {before_rest} calls and was ejected after {:.0} ms", took.as_secs_f64() * 1e3),
        format!(
            "while ejected it got {while_resting} of more than 300 calls; it was back after {:.1} s",
            away.as_secs_f64()
        ),
        format!("back, it answered {back} calls; callers saw 0 errors in {} calls", callers.total()),
    ])
}
