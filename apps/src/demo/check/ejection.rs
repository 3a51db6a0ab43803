//! One of two replicas fails all its calls. Its circuit opens, no caller notices, it is half-open when its ejection is over,
//! and closed when it has answered. Each state is read off what Leeboards count.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Findings, ensure, ensure_no_failure, until};
use crate::circuit::{Circuit, Seen, State};
use crate::fleet::Fleet;
use crate::layout::count;
use crate::topology::local;

/// `baseEjectionTime` of `external-service` in `destinations.yaml`, less what it takes to see that the rest has begun.
const REST: Duration = Duration::from_millis(4_500);

/// external-b, as Leeboards see it.
struct Endpoint<'a> {
    fleet: &'a Fleet,
    port: u16,
}

impl Endpoint<'_> {
    /// What the gateway's Leeboard says at `/clusters`, and how many good answers the endpoint's own counts.
    async fn seen(&self) -> Result<Seen, String> {
        let ejected = self.page().await?["health_status"]["failed_outlier_check"] == true;
        let own = self.fleet.metrics("external-b").await?;
        let answered = own.sum("istio_requests_total", &[("reporter", "destination"), ("response_code", "200")]);
        Ok(Seen { ejected, answered })
    }

    async fn page(&self) -> Result<Value, String> {
        self.fleet.endpoint("gateway", self.port).await
    }

    /// A counter of the gateway's Leeboard about this endpoint.
    async fn counter(&self, name: &str) -> Result<f64, String> {
        let endpoint = local(self.port).to_string();
        Ok(self.fleet.metrics("gateway").await?.sum(name, &[("endpoint", &endpoint)]))
    }

    /// Follows the circuit until it is in this state and went through no other on the way.
    async fn await_state(&self, circuit: &mut Circuit, patience: Duration, state: State) -> Result<Duration, String> {
        let followed = std::cell::RefCell::new((*circuit, Vec::new()));
        let took = until(patience, &format!("the circuit of external-b is {state}"), async || {
            let seen = self.seen().await?;
            let mut followed = followed.borrow_mut();
            let passed = followed.0.follow(seen);
            followed.1.extend(passed);
            Ok(!followed.1.is_empty())
        })
        .await?;
        let (now, passed) = followed.into_inner();
        ensure(passed == [state], || format!("the circuit of external-b went through {passed:?} instead of {state}"))?;
        *circuit = now;
        Ok(took)
    }
}

pub(super) async fn play(fleet: &mut Fleet) -> Findings {
    let fleet = &*fleet;
    let endpoint = Endpoint { fleet, port: fleet.ports("external-b").inbound };
    let mut circuit = Circuit::default();
    let (ejections, returns) = ("leeboard_ejections_total", "leeboard_ejection_returns_total");
    let (ejections_before, returns_before) = (endpoint.counter(ejections).await?, endpoint.counter(returns).await?);
    let ask = fleet.gateway("/api/v1/external-call");
    let closed = ask.times(40, 4).await;
    let well = fleet.seen("external-b", "GET").await?;
    ensure(well > 0 && circuit.follow(endpoint.seen().await?).is_empty(), || {
        format!("external-b got {} while its circuit was closed", count(well as f64, "call", "calls"))
    })?;

    let load = ask.load(4, Duration::from_millis(2));
    fleet.behave("external-b", json!({ "fail_percent": 100, "status": 503 })).await?;
    let took = endpoint.await_state(&mut circuit, Duration::from_secs(5), State::Open).await?;
    let since = Instant::now();
    let until_when = endpoint.page().await?["leeboard"]["ejected_until"].as_str().unwrap_or("nobody knows").to_owned();
    let failed = fleet.seen("external-b", "GET").await?;
    let resting = ask.times(300, 4).await;
    // A call that was on its way to it when it was ejected may still arrive: at most one for each caller.
    let while_open = fleet.seen("external-b", "GET").await? - failed;
    ensure(while_open <= 8, || {
        format!("external-b got {} while its circuit was open", count(while_open as f64, "call", "calls"))
    })?;
    // Nobody calls while it returns, so that half-open is a state to be seen and not a moment.
    let under_load = load.stop().await?;

    fleet.behave("external-b", json!({ "fail_percent": 0 })).await?;
    endpoint.await_state(&mut circuit, Duration::from_secs(15), State::HalfOpen).await?;
    let away = since.elapsed();
    ensure(away > REST, || format!("external-b was back after {:.1} s already", away.as_secs_f64()))?;
    let returned = endpoint.counter(returns).await? - returns_before;
    ensure(returned == 1.0, || format!("{returns} counted {returned}"))?;

    let after = ask.times(300, 4).await;
    endpoint.await_state(&mut circuit, Duration::from_secs(5), State::Closed).await?;
    let back = fleet.seen("external-b", "GET").await?;
    ensure(back > 0, || "external-b got no call after it came back".to_owned())?;
    let callers = closed.and(under_load).and(resting).and(after);
    ensure_no_failure("callers of external-service", &callers)?;
    let ejected = endpoint.counter(ejections).await? - ejections_before;
    ensure(ejected >= 1.0, || format!("{ejections} counted {ejected}"))?;
    Ok(vec![
        format!("closed: external-b answers {}", count(well as f64, "call", "calls")),
        format!(
            "open: it failed {} and was ejected after {:.0} ms, until {until_when} (/clusters)",
            count(failed as f64, "call", "calls"),
            took.as_secs_f64() * 1e3
        ),
        format!("      while open it got {while_open} of more than 300 calls; the other replica answered them"),
        format!("half-open: after {:.1} s it is picked again ({returns} +{returned:.0})", away.as_secs_f64()),
        format!(
            "closed: it answered {}; callers saw 0 errors in {}",
            count(back as f64, "call", "calls"),
            count(callers.total() as f64, "call", "calls")
        ),
    ])
}
