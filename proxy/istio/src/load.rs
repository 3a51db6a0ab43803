//! Loading: all sources → all objects and all complaints, and what stays in force when an edit breaks something.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use crate::codes;
use crate::diagnostic::{self, Diagnostic, Severity};
use crate::read::{Reading, UnreadObject};
use crate::resources::{Kind, Meta, ObjectId, Resources};
use crate::source::{Source, Spot};
use crate::templates;

/// What came of loading.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The objects that are in order.
    pub resources: Resources,
    /// Every complaint, by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects with errors, as far as their names are legible.
    pub rejected: Vec<ObjectId>,
    /// Rejected objects, or objects of unreadable documents, whose last good version stays in force.
    pub kept: Vec<ObjectId>,
    /// Rejected objects, as far as they are legible: what refers to them is not to blame. Only [`load_guessing`] has them.
    pub(crate) set_aside: Resources,
    /// Objects of kinds that are not read. Only [`load_guessing`] has them.
    pub(crate) unread_objects: Vec<UnreadObject>,
    /// Files in which some document could not be parsed.
    broken: Vec<Arc<str>>,
}

impl Loaded {
    /// How many errors were found.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }
}

/// Loads sources; objects that name no namespace are in `default`. Never fails, and never stops at a mistake.
pub fn load(sources: &[Source]) -> Loaded {
    load_in(sources, "default")
}

/// Loads sources; objects that name no namespace are in `namespace`.
///
/// Much text is shared out among threads, by whole files. What comes of it does not depend on how many there are.
pub fn load_in(sources: &[Source], namespace: &str) -> Loaded {
    finish(shared_out(sources, namespace, false), sources)
}

/// Loads sources to find as many mistakes as there are, each once: a misspelt key is told and then taken for what it means,
/// and objects with errors are kept aside.
pub(crate) fn load_guessing(sources: &[Source], namespace: &str) -> Loaded {
    finish(shared_out(sources, namespace, true), sources)
}

fn finish(reading: Reading<'_>, sources: &[Source]) -> Loaded {
    let mut loaded = Loaded {
        resources: reading.resources,
        diagnostics: reading.diagnostics,
        rejected: reading.rejected,
        kept: Vec::new(),
        set_aside: reading.set_aside,
        unread_objects: reading.unread_objects,
        broken: reading.broken,
    };
    templates::sum_up(sources, &mut loaded.diagnostics);
    loaded.diagnostics.extend(reading.passed_over.summary());
    loaded.rejected.sort();
    loaded.rejected.dedup();
    diagnostic::sort(&mut loaded.diagnostics, sources);
    loaded
}

/// The least text that is worth a thread of its own, in bytes.
const LEAST_SHARE: usize = 128 * 1024;

/// Reads in threads of their own, be it one, so that the objects, which are let go of soon, have their memory apart from what
/// stays.
fn shared_out<'n>(sources: &[Source], namespace: &'n str, guessing: bool) -> Reading<'n> {
    let text: usize = sources.iter().map(|source| source.text.len()).sum();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(text / LEAST_SHARE);
    let together =
        if threads == 0 { None } else { read_together(sources, text.div_ceil(threads), namespace, guessing) };
    together.unwrap_or_else(|| read(sources, namespace, guessing))
}

fn read<'n>(sources: &[Source], namespace: &'n str, guessing: bool) -> Reading<'n> {
    let mut reading = Reading::new(namespace, guessing);
    sources.iter().for_each(|source| reading.file(source));
    reading
}

/// Reads files, in shares of about so many bytes, at the same time. `None` when an object in one share has a namesake in
/// another: only who reads them in order knows what to say of it.
fn read_together<'n>(sources: &[Source], share: usize, namespace: &'n str, guessing: bool) -> Option<Reading<'n>> {
    let mut end = 0;
    let ends = sources.iter().map(|source| {
        end += source.text.len();
        (end - source.text.len() / 2) / share
    });
    let ends: Vec<usize> = ends.collect();
    let mut rest = sources;
    let shares: Vec<&[Source]> = ends.chunk_by(|a, b| a == b).filter_map(|run| rest.split_off(..run.len())).collect();
    thread::scope(|scope| {
        let started: Vec<_> =
            shares.iter().map(|share| scope.spawn(move || read(share, namespace, guessing))).collect();
        started.into_iter().try_fold(Reading::new(namespace, guessing), |before, next| before.and(next.join().ok()?))
    })
}

impl Loaded {
    /// Whether anything was rejected or could not be read, so that [`Loaded::keep`] may have something to do.
    pub fn is_incomplete(&self) -> bool {
        !self.rejected.is_empty() || !self.broken.is_empty()
    }

    /// The objects that were kept, and no others.
    pub fn kept_objects(&self) -> Resources {
        let kept: BTreeSet<&ObjectId> = self.kept.iter().collect();
        let mut only = self.resources.clone();
        macro_rules! retain {
            ($($list:ident)*) => {$(only.$list.retain(|object| kept.contains(&object.meta.id));)*};
        }
        retain!(virtual_services destination_rules service_entries workload_entries gateways sidecars);
        retain!(services endpoints endpoint_slices pods);
        only.mesh = only.mesh.filter(|mesh| mesh.meta.as_ref().is_some_and(|meta| kept.contains(&meta.id)));
        only
    }

    /// Puts the last good version of broken objects back in force.
    ///
    /// An object is broken when it was rejected and is not there, or when it came from a file in which a document cannot be
    /// parsed now, for that document may be the one that held it.
    #[must_use]
    pub fn keep(mut self, previous: &Resources) -> Self {
        if !self.is_incomplete() {
            return self;
        }
        let mut kept: Vec<Meta> = Vec::new();
        let rejected: BTreeSet<&ObjectId> = self.rejected.iter().collect();
        macro_rules! keep {
            ($($list:ident)*) => {$(
                let now: BTreeSet<ObjectId> = self.resources.$list.iter().map(|object| object.meta.id.clone()).collect();
                for object in &previous.$list {
                    let meta = &object.meta;
                    let broken = rejected.contains(&meta.id) || self.broken.contains(&meta.spot.file);
                    if broken && !now.contains(&meta.id) {
                        self.resources.$list.push(object.clone());
                        kept.push(meta.clone());
                    }
                }
                self.resources.$list.sort_by(|a, b| a.meta.created.order.cmp(&b.meta.created.order));
            )*};
        }
        keep!(virtual_services destination_rules service_entries workload_entries gateways sidecars);
        keep!(services endpoints endpoint_slices pods);
        if let (None, Some(mesh)) = (&self.resources.mesh, &previous.mesh)
            && let Some(meta) = &mesh.meta
            && (rejected.iter().any(|id| id.kind == Kind::MeshConfig) || self.broken.contains(&meta.spot.file))
        {
            self.resources.mesh = Some(mesh.clone());
            kept.push(meta.clone());
        }
        for meta in kept {
            let at = Spot::file(&meta.spot.file);
            let message = format!("the last good version of {} stays in force", meta.id);
            self.diagnostics.push(Diagnostic::new(Severity::Info, codes::KEPT, &meta.resource, &at, message));
            self.kept.push(meta.id);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, host: &str) -> String {
        let kind = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n";
        format!("---\n{kind}metadata: {{name: {name}}}\nspec: {{host: {host}}}\n")
    }

    fn shown(reading: &Reading<'_>) -> String {
        let Reading { resources, diagnostics, rejected, broken, .. } = reading;
        format!("{resources:#?}\n{diagnostics:#?}\n{rejected:#?}\n{broken:#?}")
    }

    #[test]
    fn files_read_at_the_same_time_are_as_if_read_in_order() {
        let good = |n: usize| object(&format!("r{n}"), "a") + &object(&format!("s{n}"), "b");
        let mut texts: Vec<String> = (0..20).map(good).collect();
        texts[3] = object("bad", "''");
        texts[7] = "---\nkind: [\n".into();
        texts[11] = object("twice", "a") + &object("twice", "b");
        texts[19] = String::new();
        let source = |(n, text): (usize, String)| Source::new(format!("f{n}.yaml"), text);
        let mut sources: Vec<Source> = texts.into_iter().enumerate().map(source).collect();
        let in_order = shown(&read(&sources, "ns", false));
        assert!(in_order.contains("defined twice"), "{in_order}");
        for share in [1, 100, 500, 1_000, 1_000_000] {
            let together = read_together(&sources, share, "ns", false).expect("no file names an object of another");
            assert_eq!(shown(&together), in_order, "{share}");
        }
        sources[12].text = object("twice", "c").into();
        assert!(read_together(&sources, 1, "ns", false).is_none());
        assert!(read_together(&sources, 1_000_000, "ns", false).is_some());
    }

    #[test]
    fn expressions_of_all_files_are_bounded_together() {
        let object = |name: &str, expression: &str| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  \
                 hosts: [a.com]\n  http: [{{match: [{{uri: {{regex: '{expression}'}}}}], directResponse: {{status: 200}}}}]\n"
            )
        };
        let heavy = |n: usize| (format!("f{n}.yaml"), object(&format!("v{n}"), "(?:a{1000}){1000}"));
        let light = ("g.yaml".to_owned(), object("light", "/a+"));
        let sources: Vec<Source> =
            (0..6).map(heavy).chain([light]).map(|(name, text)| Source::new(name, text)).collect();
        let reading = read(&sources, "ns", false);
        let told = |text: &str| reading.diagnostics.iter().filter(|d| d.message.contains(text)).count();
        assert_eq!((told("does not compile"), told("all objects together")), (3, 3), "{:?}", reading.diagnostics);
        assert_eq!(reading.resources.virtual_services.len(), 1, "what has room is read");
        assert!(read_together(&sources, 1, "ns", false).is_none(), "only who reads in order knows which are too many");
    }
}
