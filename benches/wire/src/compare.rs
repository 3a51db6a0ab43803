//! The run: every peer in every round, in an order that turns, so that what drifts on the machine meets them all.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::lab::Lab;
use crate::peers::{self, Peer, Places};
use crate::statistics::{median, paired_ratio};
use crate::suites::{Figures, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite};
use crate::trouble::Trouble;

/// How often a patient run measures one peer in one round before it takes what it has.
const PATIENT_TRIES: usize = 3;

/// A peer and what its rounds measured.
pub(crate) struct Measured {
    pub(crate) peer: &'static Peer,
    pub(crate) binary: PathBuf,
    pub(crate) version: String,
    /// One entry per round; `None` where the round failed or was not begun.
    pub(crate) rounds: Vec<Option<Figures>>,
    /// Why it was given up.
    pub(crate) failure: Option<String>,
    /// Why the suite has nothing to measure of it.
    pub(crate) unable: Option<&'static str>,
}

impl Measured {
    /// The figure of every round.
    pub(crate) fn values(&self, key: &str) -> Vec<Option<f64>> {
        self.rounds.iter().map(|round| round.as_ref()?.get(key).copied()).collect()
    }

    /// The median over the rounds that have the figure.
    pub(crate) fn median(&self, key: &str) -> Option<f64> {
        let values: Vec<f64> = self.values(key).into_iter().flatten().collect();
        median(&values)
    }

    /// The median of the round-by-round ratio to another peer.
    pub(crate) fn ratio(&self, base: &Measured, metric: &Metric) -> Option<f64> {
        paired_ratio(&self.values(metric.key), &base.values(metric.key))
    }
}

/// All peers of a run.
pub(crate) struct Comparison {
    pub(crate) suite: &'static Suite,
    pub(crate) measured: Vec<Measured>,
    /// Peers that are not installed.
    pub(crate) skipped: Vec<&'static Peer>,
}

impl Comparison {
    /// Looks for every wanted peer.
    pub(crate) fn of(suite: &'static Suite, wanted: &[&'static Peer], places: &Places) -> Self {
        let mut comparison = Self { suite, measured: Vec::new(), skipped: Vec::new() };
        for &peer in wanted {
            match (peer.locate)(places) {
                Some(binary) => comparison.measured.push(Measured {
                    peer,
                    version: peers::version(peer, &binary),
                    binary,
                    rounds: Vec::new(),
                    failure: None,
                    unable: None,
                }),
                None => comparison.skipped.push(peer),
            }
        }
        comparison
    }

    /// Runs the rounds. A peer that fails is given up; only an interrupt ends the run.
    pub(crate) fn run(&mut self, lab: &Lab, rounds: usize) -> Result<(), Trouble> {
        for round in 0..rounds {
            for index in turn(self.measured.len(), round) {
                let entry = &mut self.measured[index];
                if entry.failure.is_some() || entry.unable.is_some() {
                    entry.rounds.push(None);
                    continue;
                }
                let tries = if lab.plan.patience > 0.0 { PATIENT_TRIES } else { 1 };
                let result = calmest(tries, || (self.suite.measure)(lab, entry.peer, &entry.binary));
                lab.interrupt().check()?;
                let line = match result {
                    Ok(figures) => {
                        let line = progress(self.suite, &figures);
                        entry.rounds.push(Some(figures));
                        line
                    }
                    Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
                    Err(Trouble::Unable(reason)) => {
                        entry.rounds.push(None);
                        entry.unable = Some(reason);
                        format!("skipped: {reason}")
                    }
                    Err(Trouble::Failed(reason)) => {
                        entry.rounds.push(None);
                        entry.failure = Some(reason.clone());
                        format!("failed: {reason}")
                    }
                };
                let name = entry.peer.name;
                writeln!(io::stderr(), "round {}/{rounds} {name}: {line}", round + 1)?;
            }
        }
        Ok(())
    }

    /// The peer of that name, if it was measured.
    pub(crate) fn base(&self, name: &str) -> Option<&Measured> {
        self.measured.iter().find(|entry| entry.peer.name == name && entry.rounds.iter().any(Option::is_some))
    }
}

/// Measures until the machine was quiet, and no more than `tries` times; the measurement with the least other work counts.
/// What the peer itself did has no say in it.
fn calmest(tries: usize, mut measure: impl FnMut() -> Result<Figures, Trouble>) -> Result<Figures, Trouble> {
    let disturbance = |figures: &Figures| figures.get(OTHER).copied().unwrap_or(0.0);
    let mut best = measure()?;
    for _ in 1..tries {
        if disturbance(&best) <= MACHINE_IS_NOT_QUIET {
            break;
        }
        let next = measure()?;
        if disturbance(&next) < disturbance(&best) {
            best = next;
        }
    }
    Ok(best)
}

/// The order of a round: each begins one further on.
fn turn(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |position| (position + round) % count)
}

/// The first figures of a round, for whoever watches.
fn progress(suite: &Suite, figures: &Figures) -> String {
    let shown: Vec<String> = suite
        .metrics
        .iter()
        .filter_map(|metric| Some((metric, figures.get(metric.key)?)))
        .take(4)
        .map(|(metric, value)| format!("{} {value:.*}", metric.title, metric.decimals))
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_peer_and_another_first() {
        assert_eq!(turn(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(turn(3, 1).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(turn(3, 5).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(turn(0, 2).count(), 0);
    }

    #[test]
    fn the_calmest_of_a_few_measurements_counts() {
        // Other work met by each try, how many tries are allowed, and which try counts of how many made.
        for (other, tries, kept, made) in [
            (&[5.0, 0.0][..], 3, 0, 1),
            (&[50.0, 9.0], 3, 1, 2),
            (&[50.0, 30.0, 40.0], 3, 1, 3),
            (&[50.0, 0.0], 1, 0, 1),
        ] {
            let mut count = 0;
            let figures = calmest(tries, || {
                count += 1;
                Ok(Figures::from([(OTHER, other[count - 1]), ("try", (count - 1) as f64)]))
            });
            assert_eq!((figures.expect("measured")["try"], count), (f64::from(kept), made), "{other:?}");
        }
        assert!(calmest(3, || Err(Trouble::Interrupted)).is_err());
    }
}
