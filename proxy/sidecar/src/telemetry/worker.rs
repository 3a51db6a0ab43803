//! One worker's telemetry. Once a series is known, counting takes no lock and hashes no labels.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use leeboard_policy::cluster::Address;
use leeboard_policy::mirror::Fate;
use leeboard_policy::step::{Retries, RetryEnd};
use rustc_hash::FxHashMap;

use super::log_sink::LogBuffer;
use super::metrics::{Event, KEEP_SECONDS, Metrics, Requests};
use super::record::{Destination, Record, Reporter};
use super::series::{Count, Share, Shared};
use super::{FaultKind, seconds};
use crate::body::upload::ReplayOverflow;

/// Handles that a worker keeps at a time. Beyond it all are let go and found anew.
const HANDLES: usize = 16 * 1024;

/// How often handles are looked through for ones that have not been used for long.
const SWEEP_SECONDS: u64 = 60;

/// Counts and logs on one thread.
#[derive(Debug)]
pub(crate) struct WorkerTelemetry {
    metrics: Arc<Metrics>,
    worker: usize,
    requests: RefCell<FxHashMap<RequestKey, RequestHandle>>,
    events: RefCell<FxHashMap<EventKey, EventHandle>>,
    log: RefCell<Option<LogBuffer>>,
    now: Cell<u64>,
    swept: Cell<u64>,
}

/// A series as a record names it: the destination by its place in memory, which its handle keeps from being reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct RequestKey {
    destination: usize,
    flags: u32,
    grpc: Option<Option<u16>>,
    status: u16,
    reporter: Reporter,
}

#[derive(Debug)]
struct RequestHandle {
    _destination: Rc<Destination>,
    used: u64,
    shared: Shared<Requests>,
}

/// A series of ours: its first label by its place in memory, the second as a constant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct EventKey {
    event: Event,
    owner: usize,
    detail: &'static str,
}

#[derive(Debug)]
struct EventHandle {
    _owner: Arc<str>,
    used: u64,
    shared: Shared<Count>,
}

impl WorkerTelemetry {
    pub(super) fn new(metrics: Arc<Metrics>, worker: usize, log: Option<LogBuffer>) -> Self {
        Self {
            metrics,
            worker,
            requests: RefCell::default(),
            events: RefCell::default(),
            log: RefCell::new(log),
            now: Cell::new(0),
            swept: Cell::new(0),
        }
    }

    /// Counts and logs a finished exchange.
    pub(crate) fn finish(&self, record: &Record) {
        let now = seconds(record.started) + record.duration.0 / 1_000_000_000;
        self.now.set(now);
        let key = RequestKey {
            destination: Rc::as_ptr(&record.destination) as usize,
            flags: record.flags.0,
            grpc: record.grpc.then_some(record.grpc_status),
            status: record.status,
            reporter: record.reporter,
        };
        let mut handles = self.requests.borrow_mut();
        if handles.len() >= HANDLES {
            handles.clear();
        }
        let handle = handles.entry(key).or_insert_with(|| RequestHandle {
            _destination: record.destination.clone(),
            used: now,
            shared: self.metrics.requests(record, self.worker, now),
        });
        handle.used = now;
        handle.shared.share.touch(now);
        handle.shared.share.tally.count(record);
        if !handle.shared.own {
            self.metrics.refuse_request();
        }
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.push(record);
        }
    }

    /// Which of the workers this is.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    /// Hands the log's lines over and lets go of what has not been used for long. To be called about twice a second.
    pub(crate) fn tick(&self, now: SystemTime) {
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.flush();
        }
        let now = seconds(now);
        self.now.set(now);
        if now.saturating_sub(self.swept.get()) >= SWEEP_SECONDS {
            self.swept.set(now);
            // What had no room is let go too: there may be room by now.
            self.requests.borrow_mut().retain(|_, h| h.shared.own && h.used.saturating_add(KEEP_SECONDS) > now);
            self.events.borrow_mut().retain(|_, h| h.shared.own && h.used.saturating_add(KEEP_SECONDS) > now);
        }
    }

    /// Counts what became of an exchange's retries to a cluster: each one that was made, as success or failure, and one
    /// that was wanted and not made.
    pub(crate) fn retries(&self, cluster: &Arc<str>, retries: Retries) {
        let (succeeded, refused) = match retries.end {
            None => (0, None),
            Some(RetryEnd::Success) => (1, None),
            Some(RetryEnd::LimitExceeded) => (0, Some("limit_exceeded")),
            Some(RetryEnd::Overflow) => (0, Some("overflow")),
            Some(RetryEnd::NotReplayable) => (0, Some("not_replayable")),
        };
        self.count(Event::Retry, cluster, "success", succeeded.min(retries.made));
        self.count(Event::Retry, cluster, "failure", retries.made.saturating_sub(succeeded));
        if let Some(outcome) = refused {
            self.count(Event::Retry, cluster, outcome, 1);
        }
    }

    /// Counts what became of a mirrored request to a cluster.
    pub(crate) fn mirror(&self, cluster: &Arc<str>, fate: Fate) {
        self.count(Event::Mirror, cluster, fate.as_str(), 1);
    }

    /// Counts a fault that was injected by a route.
    pub(crate) fn fault(&self, route: &Arc<str>, kind: FaultKind) {
        self.count(Event::Fault, route, kind.as_str(), 1);
    }

    /// Counts a request that was sent again since its reused connection had died unseen.
    pub(crate) fn stale_replay(&self, cluster: &Arc<str>) {
        self.count(Event::StaleReplay, cluster, "", 1);
    }

    /// Counts a request whose body was not kept to its end.
    pub(crate) fn replay_overflow(&self, cluster: &Arc<str>, replay_overflow: ReplayOverflow) {
        let limit = match replay_overflow {
            ReplayOverflow::Request => "request",
            ReplayOverflow::Process => "process",
        };
        self.count(Event::ReplayAbandoned, cluster, limit, 1);
    }

    /// Counts an exchange that was ended since nothing moved.
    pub(crate) fn stalled(&self, reason: &'static str) {
        self.rare(Event::Stalled, &[reason]);
    }

    /// Counts a request that could not be read; `reason` as `x-leeboard-reason` has it.
    pub(crate) fn bad_request(&self, reason: &'static str) {
        self.rare(Event::BadRequest, &[reason]);
    }

    /// Counters for the connections of a cluster to an endpoint, for as long as the pool lives.
    pub(crate) fn pool(&self, cluster: &Arc<str>, endpoint: Option<&Address>) -> PoolCounters {
        let endpoint = endpoint_label(endpoint);
        let share = |event| self.share(event, &[cluster, &endpoint]);
        PoolCounters {
            opened: Some(share(Event::UpstreamOpened)),
            closed: Some(share(Event::UpstreamClosed)),
            active: Some(share(Event::UpstreamActive)),
        }
    }

    /// Counts a connection that could not be made.
    pub(crate) fn connection_failed(&self, cluster: &Arc<str>, endpoint: Option<&Address>, cause: &str) {
        self.rare(Event::UpstreamFailed, &[cluster, &endpoint_label(endpoint), &cause.replace(' ', "_")]);
    }

    /// Counters for the connections that a listener accepts, for as long as it lives.
    pub(crate) fn listener(&self, name: &str) -> ListenerCounters {
        let share = |event| self.share(event, &[name]);
        ListenerCounters { opened: Some(share(Event::DownstreamOpened)), active: Some(share(Event::DownstreamActive)) }
    }

    /// Counts a connection of a caller that was closed before its caller closed it.
    pub(crate) fn caller_closed(&self, listener: &str, reason: &'static str) {
        self.rare(Event::DownstreamClosed, &[listener, reason]);
    }

    fn count(&self, event: Event, owner: &Arc<str>, detail: &'static str, by: u32) {
        if by == 0 {
            return;
        }
        let key = EventKey { event, owner: Arc::as_ptr(owner).cast::<u8>() as usize, detail };
        let now = self.now.get();
        let mut handles = self.events.borrow_mut();
        if handles.len() >= HANDLES {
            handles.clear();
        }
        let handle = handles.entry(key).or_insert_with(|| {
            let labels: &[&str] = if detail.is_empty() { &[owner] } else { &[owner, detail] };
            EventHandle {
                _owner: owner.clone(),
                used: now,
                shared: self.metrics.event(event, labels, self.worker, now),
            }
        });
        handle.used = now;
        handle.shared.share.touch(now);
        handle.shared.share.tally.add(by.into());
        if !handle.shared.own {
            self.metrics.refuse_event();
        }
    }

    fn rare(&self, event: Event, labels: &[&str]) {
        self.share(event, labels).tally.add(1);
    }

    fn share(&self, event: Event, labels: &[&str]) -> Arc<Share<Count>> {
        let shared = self.metrics.event(event, labels, self.worker, self.now.get());
        if !shared.own {
            self.metrics.refuse_event();
        }
        shared.share
    }
}

/// An endpoint's address; not one that only a caller has named, for a caller may name as many as it likes.
fn endpoint_label(endpoint: Option<&Address>) -> String {
    endpoint.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// Connections to one endpoint, counted. May cross threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolCounters {
    opened: Option<Arc<Share<Count>>>,
    closed: Option<Arc<Share<Count>>>,
    active: Option<Arc<Share<Count>>>,
}

impl PoolCounters {
    /// A connection was made; it is counted as open until the guard is dropped.
    pub(crate) fn opened(&self) -> OpenConnection {
        add(&self.opened);
        add(&self.active);
        OpenConnection { closed: self.closed.clone(), active: self.active.clone() }
    }
}

/// A connection that is counted as open.
#[must_use = "a guard that is dropped at once counts nothing"]
#[derive(Debug)]
pub(crate) struct OpenConnection {
    closed: Option<Arc<Share<Count>>>,
    active: Option<Arc<Share<Count>>>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        add(&self.closed);
        subtract(&self.active);
    }
}

/// Connections of one listener, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerCounters {
    opened: Option<Arc<Share<Count>>>,
    active: Option<Arc<Share<Count>>>,
}

impl ListenerCounters {
    /// A connection was accepted; it is counted as open until the guard is dropped.
    pub(crate) fn accepted(&self) -> OpenConnection {
        add(&self.opened);
        add(&self.active);
        OpenConnection { closed: None, active: self.active.clone() }
    }
}

fn add(share: &Option<Arc<Share<Count>>>) {
    if let Some(share) = share {
        share.tally.add(1);
    }
}

fn subtract(share: &Option<Arc<Share<Count>>>) {
    if let Some(share) = share {
        share.tally.subtract(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::access_log::Format;
    use crate::telemetry::exposition::Classic;
    use crate::telemetry::log_sink::Sink;
    use crate::telemetry::{Telemetry, samples};
    use std::time::{Duration, UNIX_EPOCH};

    fn telemetry() -> Telemetry {
        Telemetry::start(samples::workload("web", "v1", "shop"), &Sink::Off, Format::Text, None).unwrap()
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    /// The samples of the families whose name begins so, without their labels' values where they are Istio's.
    fn scrape(telemetry: &Telemetry, now: SystemTime, family: &str) -> Vec<String> {
        let text: String = Classic::new(telemetry.families(now)).collect();
        let lines = text.lines().filter(|line| line.starts_with(family));
        lines.map(|line| line.replace("outbound|80||b.default.svc.cluster.local", "B")).collect()
    }

    fn value(line: &str) -> u64 {
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_scrape_adds_workers_and_equal_destinations_up() {
        let telemetry = telemetry();
        let workers = [telemetry.worker(), telemetry.worker()];
        for worker in &workers {
            for _ in 0..3 {
                // Each record has a destination of its own with the same content, as after a reload.
                worker.finish(&samples::record());
            }
        }
        workers[0].finish(&Record { status: 503, ..samples::record() });
        let now = samples::record().started;
        let counts: Vec<u64> = scrape(&telemetry, now, "istio_requests_total").iter().map(|l| value(l)).collect();
        assert_eq!(counts, [6, 1]);
        let sum = scrape(&telemetry, now, "istio_request_duration_milliseconds_sum");
        assert!(sum[0].ends_with("} 15"), "{sum:?}");
        let buckets = scrape(&telemetry, now, "istio_response_bytes_bucket");
        let of_ok: Vec<u64> = buckets.iter().filter(|line| line.contains("\"200\"")).map(|line| value(line)).collect();
        assert_eq!(of_ok, [0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6], "592 bytes are at most 1000");
    }

    #[test]
    fn our_own_counters_have_their_labels() {
        let telemetry = telemetry();
        let worker = telemetry.worker();
        let cluster: Arc<str> = "outbound|80||b.default.svc.cluster.local".into();
        let endpoint = Address::Socket(([10, 0, 0, 1], 80).into());
        for (made, end) in [
            (0, None),
            (2, Some(RetryEnd::Success)),
            (1, Some(RetryEnd::LimitExceeded)),
            (0, Some(RetryEnd::Overflow)),
            (1, None),
            (0, Some(RetryEnd::NotReplayable)),
        ] {
            worker.retries(&cluster, Retries { made, end });
        }
        worker.mirror(&cluster, Fate::Dropped);
        worker.fault(&"canary".into(), FaultKind::Abort);
        worker.stale_replay(&cluster);
        worker.replay_overflow(&cluster, ReplayOverflow::Process);
        worker.stalled("reader");
        worker.bad_request("missing-host");
        worker.connection_failed(&cluster, Some(&endpoint), "connect-refused");
        let pool = worker.pool(&cluster, Some(&endpoint));
        let (first, second) = (pool.opened(), pool.opened());
        drop(second);
        let listener = worker.listener("outbound");
        drop(listener.accepted());
        let held = listener.accepted();
        let mut lines = scrape(&telemetry, at(0), "leeboard_");
        lines.retain(|line| !line.contains("telemetry") && !line.contains("log_lines"));
        assert_eq!(
            lines,
            [
                "leeboard_retries_total{cluster=\"B\",outcome=\"failure\"} 3",
                "leeboard_retries_total{cluster=\"B\",outcome=\"limit_exceeded\"} 1",
                "leeboard_retries_total{cluster=\"B\",outcome=\"not_replayable\"} 1",
                "leeboard_retries_total{cluster=\"B\",outcome=\"overflow\"} 1",
                "leeboard_retries_total{cluster=\"B\",outcome=\"success\"} 1",
                "leeboard_mirrors_total{cluster=\"B\",outcome=\"dropped\"} 1",
                "leeboard_faults_total{route=\"canary\",kind=\"abort\"} 1",
                "leeboard_stale_replays_total{cluster=\"B\"} 1",
                "leeboard_replay_abandoned_total{cluster=\"B\",limit=\"process\"} 1",
                "leeboard_stalled_total{reason=\"reader\"} 1",
                "leeboard_bad_requests_total{reason=\"missing-host\"} 1",
                "leeboard_downstream_connections_total{listener=\"outbound\"} 2",
                "leeboard_downstream_connections_active{listener=\"outbound\"} 1",
                "leeboard_upstream_connections_opened_total{cluster=\"B\",endpoint=\"10.0.0.1:80\"} 2",
                "leeboard_upstream_connections_closed_total{cluster=\"B\",endpoint=\"10.0.0.1:80\"} 1",
                "leeboard_upstream_connections_failed_total{cluster=\"B\",endpoint=\"10.0.0.1:80\",cause=\"connect-refused\"} 1",
                "leeboard_upstream_connections_active{cluster=\"B\",endpoint=\"10.0.0.1:80\"} 1",
            ]
        );
        drop((first, held));
        let active = scrape(&telemetry, at(0), "leeboard_upstream_connections_active");
        assert_eq!(value(&active[0]), 0);
    }

    #[test]
    fn series_leave_when_unused_and_stay_while_a_pool_holds_them() {
        let telemetry = telemetry();
        let worker = telemetry.worker();
        let record = samples::record();
        let began = seconds(record.started);
        worker.finish(&record);
        let pool = worker.pool(&"a".into(), Some(&Address::Socket(([10, 0, 0, 1], 80).into())));
        drop(pool.opened());
        for (after, requests, pools) in [(0, 1, 1), (599, 1, 1), (660, 0, 1), (100_000, 0, 1)] {
            worker.tick(at(began + after));
            let count = |family| scrape(&telemetry, at(began + after), family).len();
            assert_eq!(
                (count("istio_requests_total"), count("leeboard_upstream_connections_opened_total")),
                (requests, pools),
                "{after} s later"
            );
        }
        drop(pool);
        assert_eq!(scrape(&telemetry, at(began + 100_000), "leeboard_upstream").len(), 0);
    }

    #[test]
    fn what_has_no_room_is_counted_as_other() {
        let telemetry = telemetry();
        let worker = telemetry.worker();
        for status in 0..2_100 {
            worker.finish(&Record { status, ..samples::record() });
        }
        let now = samples::record().started;
        let counted = scrape(&telemetry, now, "istio_requests_total");
        assert_eq!((counted.len(), counted.iter().map(|line| value(line)).sum::<u64>()), (2_001, 2_100));
        let other = counted.iter().find(|line| line.contains("source_workload=\"other\"")).unwrap();
        assert!(other.contains("reporter=\"source\"") && other.contains("response_code=\"other\""), "{other}");
        assert_eq!(value(other), 100);
        let refused = scrape(&telemetry, now, "leeboard_telemetry_refused_total");
        assert_eq!(refused.iter().map(|line| value(line)).collect::<Vec<_>>(), [100, 0]);
        // Those that were counted before are counted on, and whoever has no room gets it when an old series leaves.
        let late = at(seconds(now) + 700);
        worker.tick(late);
        worker.finish(&Record { status: 2_099, started: late, ..samples::record() });
        assert!(scrape(&telemetry, late, "istio_requests_total").iter().any(|line| line.contains("\"2099\"")));
    }

    #[test]
    fn addresses_that_callers_make_up_are_one_series() {
        let telemetry = telemetry();
        let worker = telemetry.worker();
        for _ in 0..3 {
            worker.connection_failed(&"PassthroughCluster".into(), None, "connect-refused");
            drop(worker.pool(&"PassthroughCluster".into(), None).opened());
        }
        assert_eq!(
            scrape(&telemetry, at(0), "leeboard_upstream_connections_failed_total"),
            [
                "leeboard_upstream_connections_failed_total{cluster=\"PassthroughCluster\",endpoint=\"unknown\",cause=\"connect-refused\"} 3"
            ]
        );
    }
}
