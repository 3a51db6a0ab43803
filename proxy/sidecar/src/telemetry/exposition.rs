//! Samples as plain values, and Prometheus' classic text format. OpenMetrics is written by prometheus-client.

use std::fmt::{self, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::histogram::{BOUNDS, BUCKETS};
use super::series::LabelValues;

/// What a family's samples are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Goes up only.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts per bucket.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    fn openmetrics(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
    }
}

/// A metric: all that is said of it whatever its samples are.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Metric {
    /// The name as classic text has it: a counter's ends in `_total`.
    pub(crate) name: &'static str,
    /// One sentence without an end mark.
    pub(crate) help: &'static str,
    /// What its samples are.
    pub(crate) kind: Kind,
    /// The names of its labels, in order.
    pub(crate) labels: &'static [&'static str],
}

/// A sample's value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of a counter of seconds.
    Seconds(f64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram: counts per bucket, not cumulative, and the sum.
    Histogram(Box<([u64; BUCKETS], f64)>),
}

/// A metric with its samples at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// What it is.
    pub(crate) metric: &'static Metric,
    /// In the order of their labels.
    pub(crate) samples: Vec<(LabelValues, Value)>,
}

/// The content type of [`Classic`].
pub(crate) const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The content type of [`openmetrics`].
pub(crate) const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Classic text, written piece by piece so that a big scrape is never in memory as a whole.
#[derive(Debug)]
pub(crate) struct Classic {
    families: std::vec::IntoIter<Family>,
    current: Option<(&'static Metric, std::vec::IntoIter<(LabelValues, Value)>)>,
}

impl Classic {
    /// Ready to write these. A family without samples is left out.
    pub(crate) fn new(families: Vec<Family>) -> Self {
        Self { families: families.into_iter(), current: None }
    }
}

impl Iterator for Classic {
    type Item = String;

    /// The next piece of whole lines, of about [`PIECE`] bytes.
    fn next(&mut self) -> Option<String> {
        let mut out = String::new();
        while out.len() < PIECE {
            if let Some((metric, samples)) = &mut self.current
                && let Some((labels, value)) = samples.next()
            {
                write_sample(&mut out, metric, &labels, &value).expect("a String takes all that is written");
                continue;
            }
            let Some(family) = self.families.next() else { break };
            if !family.samples.is_empty() {
                let Metric { name, help, kind, .. } = family.metric;
                writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.name()).expect("a String takes all");
                self.current = Some((family.metric, family.samples.into_iter()));
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

/// Bytes of text that are made at a time.
const PIECE: usize = 64 * 1024;

fn write_sample(out: &mut String, metric: &Metric, labels: &LabelValues, value: &Value) -> fmt::Result {
    let mut pairs = String::new();
    for (name, value) in metric.labels.iter().zip(labels.iter()) {
        let comma = if pairs.is_empty() { "" } else { "," };
        write!(pairs, "{comma}{name}=\"{}\"", Escaped(value))?;
    }
    let name = metric.name;
    let braced = if pairs.is_empty() { String::new() } else { format!("{{{pairs}}}") };
    match value {
        Value::Counter(value) => writeln!(out, "{name}{braced} {value}"),
        Value::Seconds(value) | Value::Gauge(value) => writeln!(out, "{name}{braced} {value}"),
        Value::Histogram(histogram) => {
            let (buckets, sum) = &**histogram;
            let comma = if pairs.is_empty() { "" } else { "," };
            let mut count = 0;
            for (i, bucket) in buckets.iter().enumerate() {
                count += bucket;
                match BOUNDS.get(i) {
                    Some(bound) => writeln!(out, "{name}_bucket{{{pairs}{comma}le=\"{bound}\"}} {count}")?,
                    None => writeln!(out, "{name}_bucket{{{pairs}{comma}le=\"+Inf\"}} {count}")?,
                }
            }
            writeln!(out, "{name}_sum{braced} {sum}\n{name}_count{braced} {count}")
        }
    }
}

/// A label's value with backslash, quote and line feed escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// OpenMetrics text of the same samples.
pub(crate) fn openmetrics(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(families)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a String takes all that is written");
    out
}

/// Samples that prometheus-client asks for when it encodes.
#[derive(Debug)]
struct Collected(Vec<Family>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, samples } in self.0.iter().filter(|family| !family.samples.is_empty()) {
            // OpenMetrics names a counter's family without the suffix that its samples carry.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let mut encoder = encoder.encode_descriptor(name, metric.help, None, metric.kind.openmetrics())?;
            for (labels, value) in samples {
                let pairs: Vec<(&str, &str)> = metric.labels.iter().copied().zip(labels.iter().map(|v| &**v)).collect();
                if pairs.is_empty() {
                    encode_value(&mut encoder, value)?;
                } else {
                    encode_value(&mut encoder.encode_family(&pairs)?, value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_value(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Counter(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        Value::Seconds(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram(histogram) => {
            let (counts, sum) = &**histogram;
            let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            encoder.encode_histogram::<NoLabelSet>(*sum, counts.iter().sum(), &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::families;
    use std::sync::Arc;

    fn labels(values: &[&str]) -> LabelValues {
        values.iter().map(|&value| Arc::from(value)).collect()
    }

    fn state() -> Vec<Family> {
        let mut buckets = [0; BUCKETS];
        (buckets[0], buckets[2], buckets[BUCKETS - 1]) = (1, 2, 1);
        static SIZES: Metric = Metric { name: "sizes", help: "Sizes", kind: Kind::Histogram, labels: &["of"] };
        vec![
            Family {
                metric: &families::RETRIES,
                samples: vec![(labels(&["a\"b\\c\nd", "success"]), Value::Counter(7))],
            },
            Family { metric: &families::MIRRORS, samples: Vec::new() },
            Family { metric: &families::READY, samples: vec![(labels(&[]), Value::Gauge(1.0))] },
            Family { metric: &SIZES, samples: vec![(labels(&["x"]), Value::Histogram(Box::new((buckets, 12.5))))] },
        ]
    }

    #[test]
    fn classic_text_is_whole_and_escaped() {
        let text: String = Classic::new(state()).collect();
        let mut expected = String::from(
            "# HELP leeboard_retries_total Retries made, by success or failure, and retries wanted but not made, by why\n\
             # TYPE leeboard_retries_total counter\n\
             leeboard_retries_total{cluster=\"a\\\"b\\\\c\\nd\",outcome=\"success\"} 7\n\
             # HELP leeboard_ready 1 while the proxy takes new requests\n\
             # TYPE leeboard_ready gauge\n\
             leeboard_ready 1\n\
             # HELP sizes Sizes\n\
             # TYPE sizes histogram\n",
        );
        for (bound, count) in [("0.5", 1), ("1", 1)] {
            expected += &format!("sizes_bucket{{of=\"x\",le=\"{bound}\"}} {count}\n");
        }
        for bound in
            [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000]
        {
            expected += &format!("sizes_bucket{{of=\"x\",le=\"{bound}\"}} 3\n");
        }
        expected += "sizes_bucket{of=\"x\",le=\"+Inf\"} 4\nsizes_sum{of=\"x\"} 12.5\nsizes_count{of=\"x\"} 4\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn big_text_comes_in_pieces_of_whole_lines() {
        let samples: Vec<_> = (0..5_000).map(|i| (labels(&[&i.to_string(), "success"]), Value::Counter(i))).collect();
        let pieces: Vec<String> = Classic::new(vec![Family { metric: &families::RETRIES, samples }]).collect();
        assert!(pieces.len() > 2, "{}", pieces.len());
        assert!(pieces.iter().all(|piece| piece.ends_with('\n') && piece.len() < 2 * PIECE));
        assert_eq!(pieces.concat().lines().count(), 5_002);
    }

    #[test]
    fn openmetrics_names_a_counters_family_without_its_suffix() {
        let text = openmetrics(state());
        for line in [
            "# TYPE leeboard_retries counter\n",
            "leeboard_retries_total{cluster=\"a\\\"b\\\\c\\nd\",outcome=\"success\"} 7\n",
            "# TYPE leeboard_ready gauge\nleeboard_ready 1.0\n",
            "sizes_bucket{le=\"+Inf\",of=\"x\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
        assert!(!text.contains("leeboard_mirrors") && text.ends_with("# EOF\n"));
    }
}
