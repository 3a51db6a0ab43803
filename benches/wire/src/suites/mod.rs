//! The suites: what is measured of every peer. One row here and one file per suite.

mod bodies;
mod churn;
mod conns;
mod h1;
mod h2;
mod reload;
mod routes;
mod scale;
mod tls;

use std::collections::BTreeMap;
use std::path::Path;

use crate::lab::Lab;
use crate::peers::Peer;
use crate::role::load::LoadReport;
use crate::trouble::Trouble;

/// What one round measured of one peer, by `Metric::key`. A figure that a peer does not have is absent.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// A set of measurements.
pub(crate) struct Suite {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it does, in a line.
    pub(crate) about: &'static str,
    /// What it measures, in the order of the columns.
    pub(crate) metrics: &'static [Metric],
    /// Starts the peer, measures one round of it and stops it.
    pub(crate) measure: fn(&Lab, &Peer, &Path) -> Result<Figures, Trouble>,
}

/// One column.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its key in the JSON.
    pub(crate) key: &'static str,
    /// Its title in the tables, with the unit.
    pub(crate) title: &'static str,
    /// Digits after the point.
    pub(crate) decimals: usize,
    /// Which table it belongs to.
    pub(crate) table: Table,
    /// A round above this is pointed out below the tables; infinite when no value is suspicious.
    pub(crate) limit: f64,
}

/// The table that a column belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// A result, of which ratios between peers are printed too.
    Compared,
    /// A result of which only the figure is printed.
    Shown,
    /// Says whether the measurement was sound.
    Check,
}

/// The key of what every suite reports: CPU time of anything else on the machine, in percent of one core.
pub(crate) const OTHER: &str = "other";
/// The most of it that does not disturb the figures much.
pub(crate) const MACHINE_IS_NOT_QUIET: f64 = 10.0;

/// Percent of a core; above it the load core, not the proxy, bounds requests per second.
const LOAD_IS_THE_LIMIT: f64 = 95.0;

const fn metric(key: &'static str, title: &'static str, decimals: usize, table: Table) -> Metric {
    Metric { key, title, decimals, table, limit: f64::INFINITY }
}

const fn check(key: &'static str, title: &'static str, limit: f64) -> Metric {
    Metric { key, title, decimals: 0, table: Table::Check, limit }
}

/// CPU time of the proxy for each answered request, in microseconds.
fn per_request_us(report: &LoadReport) -> f64 {
    report.proxy_cpu * 1e6 / report.answered.max(1) as f64
}

/// CPU time of everything else on the machine, in percent of one core.
fn other_share(report: &LoadReport) -> f64 {
    100.0 * report.other_cpu / report.seconds
}

/// All suites.
pub(crate) const SUITES: &[Suite] = &[
    h1::SUITE,
    h2::SUITE,
    tls::SUITE,
    bodies::SUITE,
    conns::SUITE,
    routes::SUITE,
    reload::SUITE,
    churn::SUITE,
    scale::SUITE,
];

/// The suite of that name, or a message that lists those there are.
pub(crate) fn find(name: &str) -> Result<&'static Suite, String> {
    SUITES.iter().find(|suite| suite.name == name).ok_or_else(|| {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        format!("there is no suite `{name}`; there are: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_is_refused_with_the_list() {
        assert_eq!(find("h1").map(|suite| suite.name), Ok("h1"));
        let refusal = find("h9").map(|suite| suite.name);
        assert_eq!(
            refusal,
            Err("there is no suite `h9`; there are: h1, h2, tls, bodies, conns, routes, reload, churn, scale"
                .to_owned())
        );
    }

    #[test]
    fn keys_are_unique_within_a_suite() {
        for suite in SUITES {
            let keys: std::collections::BTreeSet<_> = suite.metrics.iter().map(|m| m.key).collect();
            assert_eq!(keys.len(), suite.metrics.len(), "{}", suite.name);
            assert!(keys.contains(OTHER), "{}", suite.name);
        }
    }
}
