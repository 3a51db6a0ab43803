//! What the log says about a configuration.

use std::collections::HashSet;

use leeboard_istio::diagnostic::{Diagnostic, Severity};
use leeboard_istio::render;
use leeboard_istio::source::Source;
use leeboard_policy::snapshot::Snapshot;

use super::candidate::{Candidate, ConfigReport};

/// The most complaints of a kind that one reading puts into the log.
const MOST_TOLD: usize = 100;

/// The most objects that one line names.
const MOST_NAMED: usize = 10;

/// How many complaints are of a severity.
pub(super) fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
}

/// Logs what was not complained of before, all of a kind together, as people read a compiler's output.
pub(super) fn tell(before: &[Diagnostic], now: &[Diagnostic], sources: &[Source]) {
    // There may be as many as there are objects.
    let before: HashSet<&Diagnostic> = before.iter().collect();
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let mut new = now.iter().filter(|diagnostic| diagnostic.severity == severity && !before.contains(diagnostic));
        let told: Vec<Diagnostic> = new.by_ref().take(MOST_TOLD).cloned().collect();
        if told.is_empty() {
            continue;
        }
        let mut text = render(&told, sources, false);
        let more = new.count();
        if more > 0 {
            text += &format!("and {more} more of this kind: see /config_dump");
        }
        match severity {
            Severity::Error => tracing::error!("{}", text.trim_end()),
            Severity::Warning => tracing::warn!("{}", text.trim_end()),
            Severity::Info => tracing::info!("{}", text.trim_end()),
        }
    }
}

/// Says, at a start, that it goes on without some objects.
pub(super) fn tell_left_out(first: &Candidate) {
    let errors = count(&first.diagnostics, Severity::Error);
    let names: Vec<String> = first.left_out.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    let objects = first.left_out.len();
    tracing::error!(
        errors,
        objects,
        "{} broken and left out; everything else is served: {}{}",
        if objects == 1 { "an object is" } else { "objects are" },
        if names.is_empty() { "what cannot be read has no name".into() } else { names.join(", ") },
        if objects > MOST_NAMED { ", ..." } else { "" },
    );
}

/// Says what is in force now, and how it is.
pub(super) fn tell_loaded(snapshot: &Snapshot, report: &ConfigReport) {
    tracing::info!(
        version = snapshot.version(),
        clusters = snapshot.clusters().len(),
        hosts = snapshot.hosts().len(),
        errors = count(&report.diagnostics, Severity::Error),
        warnings = count(&report.diagnostics, Severity::Warning),
        kept = report.kept.len(),
        left_out = report.left_out.len(),
        waiting = report.waiting.len(),
        "configuration loaded"
    );
}
