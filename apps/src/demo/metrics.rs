//! Reads what a Leeboard exposes to Prometheus.

/// The samples of one or more scrapes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Metrics {
    /// Adds the samples of an exposition in the classic text format. Lines that are none are passed over.
    pub(crate) fn read(&mut self, exposition: &str) {
        self.samples.extend(exposition.lines().filter_map(sample));
    }

    /// Adds the samples of another scrape.
    pub(crate) fn add(&mut self, other: &Metrics) {
        self.samples.extend_from_slice(&other.samples);
    }

    /// The value of each sample of a metric.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = f64> {
        self.samples.iter().filter(move |sample| sample.name == name).map(|sample| sample.value)
    }

    /// The sum of the samples of a metric whose labels have the given values.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The values of one label over the samples of a metric that match and are above zero, sorted, once each.
    pub(crate) fn values_of(&self, label: &str, name: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let above_zero = self.matching(name, labels).filter(|sample| sample.value > 0.0);
        let mut values: Vec<String> = above_zero.filter_map(|sample| sample.label(label)).map(str::to_owned).collect();
        values.sort();
        values.dedup();
        values
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == Some(*value))
        })
    }
}

/// `name{label="value",…} 1.5`, perhaps with a time after it.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start_matches(',');
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.trim().to_owned(), value));
            rest = after.trim_start_matches(',');
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, with its escapes undone, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPOSITION: &str = r#"# HELP requests Requests.
# TYPE requests counter
requests{version="v1",code="200"} 90
requests{version="v1",code="503"} 2 1700000000000
requests{version="v2",code="200",} 10.5
odd{path="a\"b\\c\nd{,}= x"} 1
plain 4e2
broken{version="v1" 3
gauge{endpoint="b"} 1
gauge{endpoint="a"} 1
gauge{endpoint="c"} 0
infinite +Inf
"#;

    #[test]
    fn sums_are_over_the_samples_whose_labels_match() {
        let mut metrics = Metrics::default();
        metrics.read(EXPOSITION);
        for (name, labels, sum) in [
            ("requests", vec![], 102.5),
            ("requests", vec![("version", "v1")], 92.0),
            ("requests", vec![("version", "v1"), ("code", "503")], 2.0),
            ("requests", vec![("nothing", "v1")], 0.0),
            ("odd", vec![("path", "a\"b\\c\nd{,}= x")], 1.0),
            ("plain", vec![], 400.0),
            ("broken", vec![], 0.0),
            ("infinite", vec![], f64::INFINITY),
            ("absent", vec![], 0.0),
        ] {
            assert_eq!(metrics.sum(name, &labels), sum, "{name}{labels:?}");
        }
    }

    #[test]
    fn values_of_a_label_leave_out_what_is_zero() {
        let mut metrics = Metrics::default();
        metrics.read(EXPOSITION);
        assert_eq!(metrics.values_of("endpoint", "gauge", &[]), ["a", "b"]);
        assert_eq!(metrics.values_of("version", "requests", &[("code", "200")]), ["v1", "v2"]);
    }
}
