//! Samples that are made at the moment of a scrape.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::telemetry::exposition::{Family, Metric, Value};
use crate::telemetry::series::LabelValues;

/// A family without samples yet.
pub(super) fn empty(metric: &'static Metric) -> Family {
    Family { metric, samples: Vec::new() }
}

/// A family of one sample.
pub(super) fn one(metric: &'static Metric, values: &[&str], value: Value) -> Family {
    Family { metric, samples: vec![(labels(values), value)] }
}

/// Values of labels.
pub(super) fn labels(values: &[&str]) -> LabelValues {
    values.iter().map(|&value| Arc::from(value)).collect()
}

/// A number that is read as it is.
pub(super) fn gauge(value: usize) -> Value {
    Value::Gauge(value as f64)
}

/// Seconds since 1970, to the millisecond.
pub(super) fn timestamp(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3
}
