//! Metrics and logs, made of the records that exchanges leave.

pub(crate) mod access_log;
pub(crate) mod exposition;
pub(crate) mod families;
pub(crate) mod histogram;
pub(crate) mod labels;
pub(crate) mod line_queue;
pub(crate) mod log_sink;
pub(crate) mod metrics;
pub(crate) mod program_log;
pub(crate) mod record;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod series;
pub(crate) mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use leeboard_policy::cluster::Workload;
use leeboard_policy::outlier::{OutlierEvent, OutlierKind};

use self::access_log::Format;
use self::exposition::{Family, Value};
use self::log_sink::{LogBuffer, LogWriter, Sink};
use self::metrics::{Event, Metrics};
use self::program_log::ProgramLog;
pub(crate) use self::worker::WorkerTelemetry;

/// What was injected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultKind {
    /// A wait.
    Delay,
    /// An answer of the proxy's own.
    Abort,
}

impl FaultKind {
    fn as_str(self) -> &'static str {
        match self {
            FaultKind::Delay => "delay",
            FaultKind::Abort => "abort",
        }
    }
}

/// Who counts when it is not a worker.
const NO_WORKER: usize = usize::MAX;

/// All that is counted and logged. Cheap to clone; workers get a part of their own by [`Telemetry::worker`].
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    metrics: Arc<Metrics>,
    workers: Arc<AtomicUsize>,
    log: Option<LogWriter>,
    format: Format,
    own_log: Option<ProgramLog>,
}

impl Telemetry {
    /// Counts for the proxy beside `workload`, and logs to `sink`; `own_log` is the program's own, whose losses are counted.
    ///
    /// # Errors
    /// When the sink cannot be opened.
    pub(crate) fn start(
        workload: Workload,
        sink: &Sink,
        format: Format,
        own_log: Option<ProgramLog>,
    ) -> io::Result<Self> {
        Ok(Self {
            metrics: Arc::new(Metrics::new(workload)),
            workers: Arc::default(),
            log: LogWriter::start(sink)?,
            format,
            own_log,
        })
    }

    /// A part for one worker's thread.
    pub(crate) fn worker(&self) -> WorkerTelemetry {
        let index = self.workers.fetch_add(1, Relaxed);
        let log = self.log.clone().map(|writer| LogBuffer::new(writer, self.format));
        WorkerTelemetry::new(self.metrics.clone(), index, log)
    }

    /// Whether records need their [`record::LoggedHead`].
    pub(crate) fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Counts what happened to an endpoint. Rare: it goes the long way, through the table's lock.
    pub(crate) fn outlier(&self, event: &OutlierEvent, now: SystemTime) {
        let endpoint = event.endpoint.to_string();
        let (cluster, endpoint) = (&*event.cluster, &*endpoint);
        match event.kind {
            OutlierKind::Ejected { cause, .. } => {
                self.rare(Event::Ejection, &[cluster, endpoint, cause.as_str(), "true"], now);
            }
            OutlierKind::Suppressed { cause } => {
                self.rare(Event::Ejection, &[cluster, endpoint, cause.as_str(), "false"], now);
            }
            OutlierKind::Returned => self.rare(Event::Return, &[cluster, endpoint], now),
        }
    }

    /// Counts a reading of the configuration, with or without errors.
    pub(crate) fn reloaded(&self, good: bool, now: SystemTime) {
        self.rare(Event::Reload, &[if good { "success" } else { "failure" }], now);
    }

    /// Counts a caller of an admin port that had to leave.
    pub(crate) fn caller_dismissed(&self, port: &str, reason: &str, now: SystemTime) {
        self.rare(Event::CallerDismissed, &[port, reason], now);
    }

    /// What has been counted until now.
    pub(crate) fn families(&self, now: SystemTime) -> Vec<Family> {
        let mut families = self.metrics.families(seconds(now));
        let dropped = [
            (&families::LOG_DROPPED, self.log.as_ref().map_or(0, LogWriter::dropped)),
            (&families::OWN_LOG_DROPPED, self.own_log.as_ref().map_or(0, ProgramLog::dropped)),
        ];
        families.extend(
            dropped.map(|(metric, lines)| Family { metric, samples: vec![([].into(), Value::Counter(lines))] }),
        );
        families
    }

    /// Waits, for a second at most, for the last lines of the log. The workers' parts must be gone by then.
    pub(crate) fn finish(&self) {
        if let Some(log) = &self.log {
            log.finish();
        }
    }

    fn rare(&self, event: Event, labels: &[&str], now: SystemTime) {
        let shared = self.metrics.event(event, labels, NO_WORKER, seconds(now));
        shared.share.tally.add(1);
        if !shared.own {
            self.metrics.refuse_event();
        }
    }
}

/// Seconds since 1970: fine enough to tell what is no longer used.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
