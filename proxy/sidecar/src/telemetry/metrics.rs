//! The counters that workers increment for each request, and the samples that a scrape makes of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leeboard_policy::cluster::Workload;

use super::exposition::{Family, Metric, Value};
use super::histogram::{Histogram, HistogramTotal, Scale};
use super::record::Record;
use super::series::{Count, LabelValues, SeriesTable, Shared, Tally};
use super::{families, labels};

/// Label sets of Istio's metrics that are counted at a time. Each is some 70 lines of a scrape.
const REQUEST_SERIES: usize = 2_000;

/// Label sets of our own metrics that are counted at a time.
const EVENT_SERIES: usize = 20_000;

/// How long a series is shown after its last use.
pub(crate) const KEEP_SECONDS: u64 = 600;

/// What is counted of the requests of one label set. The duration's count is the number of requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl Requests {
    /// Counts a request. Only the share's own worker may do this.
    pub(crate) fn count(&self, record: &Record) {
        self.duration.observe(Scale::Nanos, record.duration.0);
        self.request_bytes.observe(Scale::Bytes, record.request_head_bytes.saturating_add(record.bytes_received));
        self.response_bytes.observe(Scale::Bytes, record.response_head_bytes.saturating_add(record.bytes_sent));
    }
}

/// The requests of one label set in all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestsTotal {
    duration: HistogramTotal,
    request_bytes: HistogramTotal,
    response_bytes: HistogramTotal,
}

impl Tally for Requests {
    type Total = RequestsTotal;

    fn add_to(&self, total: &mut RequestsTotal) {
        self.duration.add_to(&mut total.duration);
        self.request_bytes.add_to(&mut total.request_bytes);
        self.response_bytes.add_to(&mut total.response_bytes);
    }
}

/// One of our own metrics, with its place in the order of a scrape.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Event {
    Retry,
    Mirror,
    Fault,
    StaleReplay,
    ReplayAbandoned,
    Stalled,
    BadRequest,
    DownstreamOpened,
    DownstreamActive,
    DownstreamClosed,
    UpstreamOpened,
    UpstreamClosed,
    UpstreamFailed,
    UpstreamActive,
    Ejection,
    Return,
    Reload,
    CallerDismissed,
}

impl Event {
    const ALL: [Event; 18] = [
        Event::Retry,
        Event::Mirror,
        Event::Fault,
        Event::StaleReplay,
        Event::ReplayAbandoned,
        Event::Stalled,
        Event::BadRequest,
        Event::DownstreamOpened,
        Event::DownstreamActive,
        Event::DownstreamClosed,
        Event::UpstreamOpened,
        Event::UpstreamClosed,
        Event::UpstreamFailed,
        Event::UpstreamActive,
        Event::Ejection,
        Event::Return,
        Event::Reload,
        Event::CallerDismissed,
    ];

    fn metric(self) -> &'static Metric {
        match self {
            Event::Retry => &families::RETRIES,
            Event::Mirror => &families::MIRRORS,
            Event::Fault => &families::FAULTS,
            Event::StaleReplay => &families::STALE_REPLAYS,
            Event::ReplayAbandoned => &families::REPLAY_ABANDONED,
            Event::Stalled => &families::STALLED,
            Event::BadRequest => &families::BAD_REQUESTS,
            Event::DownstreamOpened => &families::DOWNSTREAM_OPENED,
            Event::DownstreamActive => &families::DOWNSTREAM_ACTIVE,
            Event::DownstreamClosed => &families::DOWNSTREAM_CLOSED,
            Event::UpstreamOpened => &families::UPSTREAM_OPENED,
            Event::UpstreamClosed => &families::UPSTREAM_CLOSED,
            Event::UpstreamFailed => &families::UPSTREAM_FAILED,
            Event::UpstreamActive => &families::UPSTREAM_ACTIVE,
            Event::Ejection => &families::EJECTIONS,
            Event::Return => &families::RETURNS,
            Event::Reload => &families::CONFIG_RELOADS,
            Event::CallerDismissed => &families::CALLERS_DISMISSED,
        }
    }

    fn value(self, total: u64) -> Value {
        match self.metric().kind {
            // A gauge's shares wrap below zero; their sum, read while two of them change, may too for a moment.
            super::exposition::Kind::Gauge => Value::Gauge((total as i64).max(0) as f64),
            _ => Value::Counter(total),
        }
    }
}

/// All series of all workers.
#[derive(Debug)]
pub(crate) struct Metrics {
    own: Workload,
    requests: Mutex<SeriesTable<LabelValues, Requests>>,
    events: Mutex<SeriesTable<(Event, LabelValues), Count>>,
    refused: [AtomicU64; 2],
}

impl Metrics {
    /// Nothing counted yet, by the proxy of this workload.
    pub(crate) fn new(own: Workload) -> Self {
        Self {
            own,
            requests: Mutex::new(SeriesTable::new(REQUEST_SERIES, KEEP_SECONDS)),
            events: Mutex::new(SeriesTable::new(EVENT_SERIES, KEEP_SECONDS)),
            refused: Default::default(),
        }
    }

    /// A worker's share of the series that a record belongs to.
    pub(crate) fn requests(&self, record: &Record, worker: usize, now: u64) -> Shared<Requests> {
        let labels = labels::values(&self.own, record);
        held(&self.requests).share(labels, || labels::other(record.reporter), worker, now)
    }

    /// A worker's share of one of our own series.
    pub(crate) fn event(&self, event: Event, labels: &[&str], worker: usize, now: u64) -> Shared<Count> {
        debug_assert_eq!(labels.len(), event.metric().labels.len(), "{event:?}");
        let other = || (event, labels.iter().map(|_| Arc::from(labels::OTHER)).collect());
        let own = labels.iter().map(|&label| Arc::from(label)).collect();
        held(&self.events).share((event, own), other, worker, now)
    }

    /// Notes that a request had no room for a series of its own.
    pub(crate) fn refuse_request(&self) {
        self.refused[0].fetch_add(1, Relaxed);
    }

    /// Notes that an event had no room for a series of its own.
    pub(crate) fn refuse_event(&self) {
        self.refused[1].fetch_add(1, Relaxed);
    }

    /// What has been counted until now, after forgetting what is no longer used. The locks are held for the adding only,
    /// not for the writing.
    pub(crate) fn families(&self, now: u64) -> Vec<Family> {
        let requests = {
            let mut table = held(&self.requests);
            table.expire(now);
            table.totals()
        };
        let events = {
            let mut table = held(&self.events);
            table.expire(now);
            table.totals()
        };
        let sizes = [("requests", requests.len()), ("events", events.len())];
        let mut families = request_families(requests);
        families.extend(event_families(events));
        families.push(Family {
            metric: &families::SERIES,
            samples: sizes.iter().map(|(table, len)| (one(table), Value::Gauge(*len as f64))).collect(),
        });
        families.push(Family {
            metric: &families::SERIES_REFUSED,
            samples: (sizes.iter().zip(&self.refused))
                .map(|((table, _), refused)| (one(table), Value::Counter(refused.load(Relaxed))))
                .collect(),
        });
        families
    }
}

fn one(label: &str) -> LabelValues {
    [Arc::from(label)].into()
}

/// A panic while a table was held leaves counts that are still good.
fn held<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request_families(totals: Vec<(LabelValues, RequestsTotal)>) -> Vec<Family> {
    let family = |metric, value: fn(&RequestsTotal) -> Value| Family {
        metric,
        samples: totals.iter().map(|(labels, total)| (labels.clone(), value(total))).collect(),
    };
    vec![
        family(&families::REQUESTS, |total| Value::Counter(total.duration.count())),
        family(&families::DURATION, |total| histogram(&total.duration, Scale::Nanos)),
        family(&families::REQUEST_BYTES, |total| histogram(&total.request_bytes, Scale::Bytes)),
        family(&families::RESPONSE_BYTES, |total| histogram(&total.response_bytes, Scale::Bytes)),
    ]
}

fn histogram(total: &HistogramTotal, scale: Scale) -> Value {
    Value::Histogram(Box::new((total.buckets, total.shown_sum(scale))))
}

fn event_families(totals: Vec<((Event, LabelValues), u64)>) -> Vec<Family> {
    let mut families: Vec<Family> =
        Event::ALL.iter().map(|event| Family { metric: event.metric(), samples: Vec::new() }).collect();
    for ((event, labels), total) in totals {
        families[event as usize].samples.push((labels, event.value(total)));
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition::Kind;

    #[test]
    fn events_are_listed_in_their_order_and_named_as_prometheus_asks() {
        for (index, event) in Event::ALL.into_iter().enumerate() {
            let metric = event.metric();
            assert_eq!(event as usize, index, "{event:?}");
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("leeboard_") && !metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
