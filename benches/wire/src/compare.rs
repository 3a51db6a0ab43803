//! The run: every peer in every round, in an order that turns, so that what drifts on the machine meets them all.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::lab::Lab;
use crate::peers::{self, Peer, Places};
use crate::statistics::{median, paired_ratio};
use crate::suites::{Figures, Metric, Suite};
use crate::trouble::Trouble;

/// A peer and what its rounds measured.
pub(crate) struct Measured {
    pub(crate) peer: &'static Peer,
    pub(crate) binary: PathBuf,
    pub(crate) version: String,
    /// One entry per round; `None` where the round failed or was not begun.
    pub(crate) rounds: Vec<Option<Figures>>,
    /// Why it was given up.
    pub(crate) failure: Option<String>,
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
                if entry.failure.is_some() {
                    entry.rounds.push(None);
                    continue;
                }
                let result = (self.suite.measure)(lab, entry.peer, &entry.binary);
                lab.interrupt().check()?;
                let line = match result {
                    Ok(figures) => {
                        let line = progress(self.suite, &figures);
                        entry.rounds.push(Some(figures));
                        line
                    }
                    Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
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
}
