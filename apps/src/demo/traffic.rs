//! A caller of the services: asks, counts the answers, takes their times.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use leeboard_apps::client::Client;
use leeboard_apps::settings::ProxySettings;
use tokio::task::JoinSet;

/// How long a call may take before it counts as failed: far beyond any time-out of the configuration.
const PATIENCE: Duration = Duration::from_secs(20);

/// One kind of call.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    client: Client,
}

/// What came of some calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, usize>,
    /// Calls without an answer.
    pub(crate) unanswered: usize,
    /// Good answers by the version of the replica that gave them.
    pub(crate) versions: BTreeMap<String, usize>,
    times: Vec<Duration>,
}

impl Ask {
    /// `GET url`.
    pub(crate) fn get(url: String) -> Ask {
        let client = Client::new(&ProxySettings::default());
        Ask { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), client }
    }

    /// The same with another method and a body.
    pub(crate) fn sending(self, method: Method, body: &serde_json::Value) -> Ask {
        Ask { method, body: Bytes::from(body.to_string()), ..self }
    }

    /// The same with a header. Only routing headers (`x-…`) are sent.
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Ask {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// The same through a proxy.
    pub(crate) fn through(self, proxy: std::net::SocketAddr) -> Ask {
        let client = Client::new(&ProxySettings { http: format!("http://{proxy}"), no: String::new() });
        Ask { client, ..self }
    }

    /// Calls once.
    pub(crate) async fn once(&self) -> Result<http::Response<Bytes>, String> {
        let call = self.client.call(self.method.clone(), &self.url, &self.headers, self.body.clone());
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{} {}: no answer in {PATIENCE:?}", self.method, self.url)),
        }
    }

    async fn counted(&self, tally: &mut Tally) {
        let began = Instant::now();
        let answer = self.once().await;
        tally.count(&answer, began.elapsed());
    }

    /// Calls `total` times, `at_once` at a time.
    pub(crate) async fn times(&self, total: usize, at_once: usize) -> Tally {
        let left = Rc::new(Cell::new(total));
        self.while_true(at_once, Duration::ZERO, move || match left.get() {
            0 => false,
            some => {
                left.set(some - 1);
                true
            }
        })
        .await
    }

    /// Calls `at_once` at a time, each caller resting for `pause` after a call, as long as `go_on` says.
    pub(crate) async fn while_true(
        &self,
        at_once: usize,
        pause: Duration,
        go_on: impl Fn() -> bool + Clone + 'static,
    ) -> Tally {
        let mut callers = JoinSet::new();
        for _ in 0..at_once {
            let (ask, go_on) = (self.clone(), go_on.clone());
            callers.spawn_local(async move {
                let mut tally = Tally::default();
                while go_on() {
                    ask.counted(&mut tally).await;
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
                tally
            });
        }
        callers.join_all().await.into_iter().fold(Tally::default(), Tally::and)
    }

    /// Calls in the background until [`Load::stop`].
    pub(crate) fn load(&self, at_once: usize, pause: Duration) -> Load {
        let running = Rc::new(Cell::new(true));
        let (ask, go_on) = (self.clone(), running.clone());
        let calls = tokio::task::spawn_local(async move { ask.while_true(at_once, pause, move || go_on.get()).await });
        Load { running, calls }
    }
}

/// Calls that go on in the background.
#[derive(Debug)]
pub(crate) struct Load {
    running: Rc<Cell<bool>>,
    calls: tokio::task::JoinHandle<Tally>,
}

impl Load {
    /// Lets the calls in hand finish and tells what came of all.
    pub(crate) async fn stop(self) -> Result<Tally, String> {
        self.running.set(false);
        self.calls.await.map_err(|error| error.to_string())
    }
}

impl Tally {
    fn count(&mut self, answer: &Result<http::Response<Bytes>, String>, time: Duration) {
        self.times.push(time);
        let Ok(answer) = answer else {
            self.unanswered += 1;
            return;
        };
        *self.statuses.entry(answer.status().as_u16()).or_default() += 1;
        let version = ["x-app-upstream-version", "x-app-version"].iter().find_map(|name| answer.headers().get(*name));
        if let Some(version) = version.and_then(|version| version.to_str().ok())
            && answer.status().is_success()
        {
            *self.versions.entry(version.to_owned()).or_default() += 1;
        }
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Tally) -> Tally {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.times.extend(other.times);
        self
    }

    /// How many calls were made.
    pub(crate) fn total(&self) -> usize {
        self.times.len()
    }

    /// How many calls had no answer below 500.
    pub(crate) fn failed(&self) -> usize {
        self.unanswered + self.statuses.range(500..).map(|(_, count)| count).sum::<usize>()
    }

    /// How many calls had an answer with this status.
    pub(crate) fn with_status(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// The share in percent of the good answers that this version gave; 0 when there were none.
    pub(crate) fn share_of(&self, version: &str) -> f64 {
        let all: usize = self.versions.values().sum();
        let its = self.versions.get(version).copied().unwrap_or_default();
        if all == 0 { 0.0 } else { its as f64 * 100.0 / all as f64 }
    }

    /// The time that `share` (0 to 1) of the calls took at most; zero when there were none.
    pub(crate) fn time_of(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        let rank = (share * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Result<http::Response<Bytes>, String> {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        Ok(answer.body(Bytes::new()).unwrap())
    }

    #[test]
    fn answers_are_counted_by_status_version_and_time() {
        let mut tally = Tally::default();
        // The gateway signs too; the version that counts is the one behind it.
        let behind = [("x-app-version", "v1"), ("x-app-upstream-version", "v2")];
        for (count, given) in [
            (3, answer(200, &[("x-app-version", "v1")])),
            (1, answer(200, &behind)),
            (2, answer(503, &[("x-app-version", "v1")])),
            (1, answer(404, &[])),
            (1, Err("refused".to_owned())),
        ] {
            for _ in 0..count {
                let time = Duration::from_millis(tally.total() as u64 + 1);
                tally.count(&given, time);
            }
        }
        assert_eq!((tally.total(), tally.failed(), tally.unanswered), (8, 3, 1));
        assert_eq!((tally.with_status(200), tally.with_status(418)), (4, 0));
        assert_eq!((tally.share_of("v2"), tally.share_of("v1"), tally.share_of("v9")), (25.0, 75.0, 0.0));
        for (share, milliseconds) in [(0.0, 1), (0.5, 4), (0.99, 8), (1.0, 8)] {
            assert_eq!(tally.time_of(share), Duration::from_millis(milliseconds), "{share}");
        }
        assert_eq!(Tally::default().time_of(0.5), Duration::ZERO);
        assert_eq!(Tally::default().share_of("v1"), 0.0);
        let twice = tally.clone().and(tally);
        assert_eq!((twice.total(), twice.with_status(503), twice.share_of("v2")), (16, 4, 25.0));
    }
}
