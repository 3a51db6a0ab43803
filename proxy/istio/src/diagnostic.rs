//! What is wrong with a configuration, where, and what to do about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codes::Code;
use crate::source::{Source, Spot};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The object is set aside.
    Error,
    /// The object is used; something in it will not do what it seems to.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// `error`, `warning` or `info`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One complaint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Diagnostic {
    /// Its code.
    pub code: Code,
    /// The code of `istioctl analyze` for the same thing, as `IST0101`.
    pub ist: Option<&'static str>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one terse line.
    pub message: String,
    /// The object, as `VirtualService demo/reviews`; empty when it is about a whole file.
    pub resource: Arc<str>,
    /// Where.
    pub primary: Spot,
    /// Other places that have to do with it, and what is there.
    pub labels: Vec<(Spot, String)>,
    /// What to do.
    pub help: Option<String>,
    /// What to write instead, when it is certain what is meant.
    pub fix: Option<Fix>,
}

/// A text that certainly is what was meant, for the text at a place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fix {
    /// What gives way.
    pub at: Spot,
    /// What takes its place.
    pub with: String,
}

impl Diagnostic {
    /// A complaint without labels or help.
    pub fn new(severity: Severity, code: Code, resource: &Arc<str>, at: &Spot, message: impl Into<String>) -> Self {
        Self {
            code,
            ist: None,
            severity,
            message: message.into(),
            resource: resource.clone(),
            primary: at.clone(),
            labels: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// An error.
    pub fn error(code: Code, resource: &Arc<str>, at: &Spot, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, resource, at, message)
    }

    /// A warning.
    pub fn warning(code: Code, resource: &Arc<str>, at: &Spot, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, resource, at, message)
    }

    /// Names the `istioctl analyze` code of the same thing.
    #[must_use]
    pub fn ist(mut self, code: &'static str) -> Self {
        self.ist = Some(code);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to write instead of what is here.
    #[must_use]
    pub fn fix(mut self, with: impl Into<String>) -> Self {
        self.fix = Some(Fix { at: self.primary.clone(), with: with.into() });
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn label(mut self, at: &Spot, text: impl Into<String>) -> Self {
        self.labels.push((at.clone(), text.into()));
        self
    }
}

/// The first `most` complaints of each code, in their order, and how many more there are of which; 0 is no limit.
pub fn first_of_each(diagnostics: &[Diagnostic], most: usize) -> (Vec<Diagnostic>, BTreeMap<Code, usize>) {
    let mut counts: BTreeMap<Code, usize> = BTreeMap::new();
    let mut first = Vec::new();
    for diagnostic in diagnostics {
        let count = counts.entry(diagnostic.code).or_default();
        *count += 1;
        if most == 0 || *count <= most {
            first.push(diagnostic.clone());
        }
    }
    let more = |count: &mut usize| {
        *count = if most == 0 { 0 } else { count.saturating_sub(most) };
        *count > 0
    };
    counts.retain(|_, count| more(count));
    (first, counts)
}

/// Puts complaints in the order of the sources, then of place, each once.
pub fn sort(diagnostics: &mut Vec<Diagnostic>, sources: &[Source]) {
    let order: BTreeMap<&str, usize> = sources.iter().enumerate().map(|(i, source)| (&*source.name, i)).rev().collect();
    diagnostics.sort_by_cached_key(|d| {
        let file = order.get(&*d.primary.file).copied().unwrap_or(usize::MAX);
        (file, d.primary.line, d.primary.column, d.severity, d.code)
    });
    diagnostics.dedup();
}
