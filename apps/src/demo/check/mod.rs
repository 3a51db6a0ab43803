//! The demo as a script: scenarios with figures.

mod canary;
mod ejection;
mod fault;
mod loss;
mod mirror;
mod retries;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::configuration::{Edit, Routes};
use crate::fleet::Fleet;
use crate::layout::count;
use crate::say;
use crate::topology::REPLICAS;
use crate::traffic::Tally;

/// What a scenario found out, one sentence with its figures a line; or what went wrong.
type Findings = Result<Vec<String>, String>;

/// How long an edit may take to have its effect.
const EDIT_PATIENCE: Duration = Duration::from_secs(1);
/// How often something that is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// The scenarios, in the order in which they run.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    Canary,
    Ejection,
    Retries,
    Mirror,
    Fault,
    Loss,
}

impl Scenario {
    const ALL: [Scenario; 6] =
        [Scenario::Canary, Scenario::Ejection, Scenario::Retries, Scenario::Mirror, Scenario::Fault, Scenario::Loss];

    fn title(self) -> &'static str {
        match self {
            Scenario::Canary => "canary: the share follows an edit of routes.yaml",
            Scenario::Ejection => "ejection: a circuit goes from closed to open, half-open and closed again",
            Scenario::Retries => "retries: a flaky service looks well, and nothing is written twice",
            Scenario::Mirror => "mirror: gets its share and slows nobody",
            Scenario::Fault => "fault: appears and disappears with an edit",
            Scenario::Loss => "loss: a replica killed under load loses no call",
        }
    }

    async fn play(self, fleet: &mut Fleet, routes: &Routes) -> Findings {
        match self {
            Scenario::Canary => canary::play(fleet, routes).await,
            Scenario::Ejection => ejection::play(fleet).await,
            Scenario::Retries => retries::play(fleet).await,
            Scenario::Mirror => mirror::play(fleet).await,
            Scenario::Fault => fault::play(fleet, routes).await,
            Scenario::Loss => loss::play(fleet).await,
        }
    }
}

/// Plays all scenarios, or those whose titles contain `only`, and says whether all went well.
pub(crate) async fn run(fleet: &mut Fleet, only: Option<&str>) -> Result<bool, String> {
    let routes = Routes::in_folder(fleet.config());
    let began = Instant::now();
    let chosen = Scenario::ALL.into_iter().filter(|scenario| only.is_none_or(|only| scenario.title().contains(only)));
    let (mut played, mut failed) = (0_u32, 0_u32);
    for scenario in chosen {
        calm(fleet, &routes).await?;
        let (title, started) = (scenario.title(), Instant::now());
        let findings = scenario.play(fleet, &routes).await;
        played += 1;
        let (word, lines) = match findings {
            Ok(lines) => ("ok", lines),
            Err(why) => {
                failed += 1;
                ("FAILED", vec![why])
            }
        };
        say(&format!("\n{word:<6} {title}   ({:.1} s)", started.elapsed().as_secs_f64()));
        for line in lines {
            say(&format!("       {line}"));
        }
    }
    let scenarios = count(played, "scenario", "scenarios");
    say(&format!("\n{} of {scenarios} went well, in {:.0} s", played - failed, began.elapsed().as_secs_f64()));
    Ok(played > 0 && failed == 0)
}

/// Puts everything back: the routes as they were delivered, all replicas alive, behaving and in their places.
async fn calm(fleet: &mut Fleet, routes: &Routes) -> Result<(), String> {
    routes.save(Edit::Weights(90, 10))?;
    routes.save(Edit::Faults(0, 0))?;
    if let Some(death) = fleet.bury().first() {
        return Err(format!("{death}, which nobody asked for"));
    }
    for replica in REPLICAS {
        fleet.restart(replica.name).await?;
        fleet.behave(replica.name, json!({ "fail_percent": 0, "delay_ms": 0, "status": 503 })).await?;
    }
    let patience = Duration::from_secs(20);
    let fleet = &*fleet;
    until(patience, "no replica is ejected", async || {
        Ok(fleet.each_metrics().await.iter().all(|(_, one)| one.sum("leeboard_endpoint_ejected", &[]) == 0.0))
    })
    .await?;
    let users = fleet.gateway("/api/v1/users/1");
    until(patience, "the gateway reaches user-service", async || Ok(users.times(10, 1).await.with_status(200) == 10))
        .await?;
    Ok(())
}

/// Waits until `done` says yes; gives the time that took, or says what did not happen.
async fn until(
    patience: Duration,
    what: &str,
    done: impl AsyncFn() -> Result<bool, String>,
) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        if done().await? {
            return Ok(began.elapsed());
        }
        if began.elapsed() > patience {
            return Err(format!("waited {:.1} s in vain until {what}", began.elapsed().as_secs_f64()));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Fails the scenario with the given words unless the condition holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Fails the scenario if a call of the tally failed.
fn ensure_no_failure(what: &str, tally: &Tally) -> Result<(), String> {
    ensure(tally.failed() == 0, || {
        format!(
            "{what}: {} of {} calls failed ({} without an answer; answers by status {:?})",
            tally.failed(),
            tally.total(),
            tally.unanswered,
            tally.statuses
        )
    })
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
