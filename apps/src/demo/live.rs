//! The demo that people watch: a little traffic, and a screen that says what becomes of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::circuit::{Circuit, Seen, State};
use crate::fleet::Fleet;
use crate::layout::count;
use crate::metrics::Metrics;
use crate::say;
use crate::screen::{Counters, View};
use crate::terminal::Terminal;
use crate::topology::{REPLICAS, local};
use crate::traffic::Ask;
use crate::watch::{Watch, shown};

/// The share of calls that `external-service` fails while the demo runs, in percent: enough to see retries at work.
pub(crate) const EXTERNAL_FAILS: u32 = 20;
/// The name of the file that keeps what the demo shows.
pub(crate) const LOG: &str = "demo.log";

const GLANCE: Duration = Duration::from_secs(1);
/// How many glances a lost replica stays away.
const AWAY: u32 = 10;

/// Runs until the future is dropped.
pub(crate) async fn run(fleet: &mut Fleet, rate: u32) -> Result<(), String> {
    let mut show = Show::begin(fleet)?;
    if rate > 0 {
        tokio::task::spawn_local(traffic(Rc::from(asks(fleet)), rate));
    }
    let mut resized = signal(SignalKind::window_change()).map_err(|error| error.to_string())?;
    let mut beat = tokio::time::interval(GLANCE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut glances = Glances::begin(fleet).await;
    show.draw();
    beat.tick().await;
    loop {
        tokio::select! {
            _ = beat.tick() => glances.next(fleet, &mut show).await?,
            _ = resized.recv() => {}
        }
        show.draw();
    }
}

/// Where everything is told: the screen or, where there is none, standard output; and the log.
struct Show {
    view: View,
    screen: Option<Terminal>,
    log: File,
}

impl Show {
    fn begin(fleet: &Fleet) -> Result<Show, String> {
        let path = fleet.work().join(LOG);
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|error| format!("{}: {error}", path.display()))?;
        let view = View {
            rows: fleet.roll(),
            routes: shown(&fleet.config().join("routes.yaml")).display().to_string(),
            log: path.display().to_string(),
            status: vec!["the first figures come in a second".to_owned()],
            ..View::default()
        };
        let introduction = view.introduction();
        let mut show = Show { view, screen: None, log };
        show.write(&introduction);
        show.screen = Terminal::enter();
        if show.screen.is_none() {
            say(&format!("\n{introduction}"));
        }
        Ok(show)
    }

    /// Something happened.
    fn tell(&mut self, event: &str) {
        let event = format!("{} {event}", &leeboard_apps::clock::now()[11..19]);
        self.write(&event);
        if self.screen.is_none() {
            say(&event);
        }
        self.view.happened(&event);
    }

    /// What goes on now.
    fn status(&mut self, status: Vec<String>) {
        let line = status.join(" | ");
        self.write(&line);
        if self.screen.is_none() {
            say(&line);
        }
        self.view.status = status;
    }

    /// What is wrong with the configuration.
    fn complain(&mut self, heading: &str, text: &str) {
        self.write(text);
        if self.screen.is_none() {
            say(text);
        }
        self.view.complaint = Some((heading.to_owned(), text.to_owned()));
    }

    /// A full disk must not end the demo.
    fn write(&mut self, text: &str) {
        drop(writeln!(self.log, "{text}"));
    }

    fn draw(&self) {
        if let Some(screen) = &self.screen {
            let (width, height) = screen.size();
            screen.show(&self.view.frame(width, height));
        }
    }
}

/// What is remembered from one glance to the next.
struct Glances {
    before: Counters,
    at: Instant,
    /// How many glances the lost replicas still stay away.
    away: u32,
    circuits: BTreeMap<&'static str, Circuit>,
    watch: Watch,
    /// A complaint was shown whose mend has not been told.
    broken: bool,
}

impl Glances {
    async fn begin(fleet: &Fleet) -> Glances {
        Glances {
            before: Counters::of(&together(&fleet.each_metrics().await)),
            at: Instant::now(),
            away: 0,
            circuits: BTreeMap::new(),
            watch: Watch::new(fleet.config(), fleet.binaries()),
            broken: false,
        }
    }

    async fn next(&mut self, fleet: &mut Fleet, show: &mut Show) -> Result<(), String> {
        for death in fleet.bury() {
            show.tell(&format!("{death}; it comes back in {}", count(AWAY, "second", "seconds")));
            self.away = AWAY;
        }
        if self.away > 0 {
            self.away -= 1;
            if self.away == 0 {
                let revived = fleet.revive()?;
                show.tell(&format!("started again: {}", revived.join(", ")));
            }
        }
        let each = fleet.each_metrics().await;
        let all = together(&each);
        self.circuits(fleet, &each, &all, show);
        self.configuration(&all, show).await?;
        let ejected = all.values_of("endpoint", "leeboard_endpoint_ejected", &[]);
        let ejected: Vec<String> = ejected.iter().map(|endpoint| fleet.name_of(endpoint)).collect();
        let now = Counters::of(&all);
        show.status(now.status(&self.before, self.at.elapsed().as_secs_f64(), &ejected));
        show.view.rows = fleet.roll();
        (self.before, self.at) = (now, Instant::now());
        Ok(())
    }

    /// Tells which circuits have changed.
    fn circuits(&mut self, fleet: &Fleet, each: &[(&'static str, Metrics)], all: &Metrics, show: &mut Show) {
        for (name, own) in each {
            let endpoint = local(fleet.ports(name).inbound).to_string();
            let ejected = all.sum("leeboard_endpoint_ejected", &[("endpoint", &endpoint)]) > 0.0;
            let answered = own.sum("istio_requests_total", &[("reporter", "destination"), ("response_code", "200")]);
            for state in self.circuits.entry(name).or_default().follow(Seen { ejected, answered }) {
                show.tell(&format!(
                    "{name}: circuit {state}: {}",
                    match state {
                        State::Open => "it fails, is ejected, and requests go to the others",
                        State::HalfOpen => "the ejection is over and it is picked again",
                        State::Closed => "it answers again",
                    }
                ));
            }
        }
    }

    /// Tells what is wrong with an edit, how many Leeboards keep the last good version, and when it is mended.
    async fn configuration(&mut self, all: &Metrics, show: &mut Show) -> Result<(), String> {
        let kept = all.values("leeboard_config_objects_kept").filter(|kept| *kept > 0.0).count();
        let (complaint, news) = self.watch.look().await?;
        match complaint {
            Some(text) => {
                if news {
                    self.broken = true;
                    show.tell("the configuration was edited, and `leeboard check` complains");
                }
                let leeboards = format!("{kept} of {}", count(REPLICAS.len() as u32, "Leeboard", "Leeboards"));
                let heading = format!("{leeboards} went on with the last good version of what is broken:");
                match news {
                    true => show.complain(&heading, text),
                    false => show.view.complaint = Some((heading, text.to_owned())),
                }
            }
            None if self.broken => {
                show.view.complaint = None;
                let good = all.values("leeboard_config_last_reload_successful").filter(|good| *good == 1.0).count();
                if kept == 0 && good == REPLICAS.len() {
                    self.broken = false;
                    show.tell(&format!("mended: {good} of {good} Leeboards read the configuration without an error"));
                }
            }
            None => {}
        }
        Ok(())
    }
}

fn together(each: &[(&'static str, Metrics)]) -> Metrics {
    let mut all = Metrics::default();
    for (_, metrics) in each {
        all.add(metrics);
    }
    all
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
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in (0..asks.len()).cycle() {
        beat.tick().await;
        let asks = asks.clone();
        // What became of the call is in the metrics, where the screen takes it from.
        tokio::task::spawn_local(async move { asks[turn].once().await });
    }
}
