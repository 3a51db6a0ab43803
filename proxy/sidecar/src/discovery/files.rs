//! Configuration in files and folders, and how a change of it is noticed.
//!
//! Kubernetes mounts a ConfigMap as a folder of links into a hidden folder, and changes it by swapping one link (`..data`).
//! So folders are watched, not files; what counts is whether the content differs; and whatever the watch misses (network
//! file systems, a swapped parent) is found by looking at the files' stamps twice a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leeboard_istio::codes;
use leeboard_istio::diagnostic::Diagnostic;
use leeboard_istio::source::{Source, Spot};
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::store::Update;

/// How often stamps are looked at, in case the watch has missed something.
const POLL: Duration = Duration::from_millis(500);
/// How long no event may come before the files are read: an editor writes in several steps.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// The most events that are waited out in a row.
const DEBOUNCE_TURNS: usize = 5;
/// How many moments a file that has just been emptied is given to be filled again.
const TORN_TURNS: usize = 8;
/// How deep folders are searched.
const DEEPEST: usize = 32;

/// All that was read, each file by its name, in order; and what could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reading {
    /// The files. One that cannot be read any more is here as it last was.
    pub(crate) sources: Vec<Source>,
    /// A complaint for each file or folder that could not be read.
    pub(crate) complaints: Vec<Diagnostic>,
}

/// The files and folders of a configuration.
#[derive(Debug)]
pub(crate) struct Files {
    roots: Vec<PathBuf>,
    /// The one among them that holds settings of the mesh.
    mesh: Option<PathBuf>,
    /// What each file said when it could last be read.
    texts: BTreeMap<PathBuf, Arc<str>>,
    complaints: Vec<Diagnostic>,
    stamps: Stamps,
    read: bool,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Files {
    /// The files and folders named on the command line. Nothing is read yet.
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, mesh: None, texts: BTreeMap::new(), complaints: Vec::new(), stamps: BTreeMap::new(), read: false }
    }

    /// Reads settings of the mesh from a file of their own, too.
    #[must_use]
    pub(crate) fn with_mesh(mut self, file: Option<PathBuf>) -> Self {
        self.roots.splice(0..0, file.clone());
        self.mesh = file;
        self
    }

    /// Reads everything; `None` when it is all as it was.
    pub(crate) fn read(&mut self) -> Option<Reading> {
        let found = Found::search(&self.roots);
        let mut reading = Reading::default();
        let mut texts = BTreeMap::new();
        for (path, error) in &found.unreadable {
            self.keep(path, &mut texts);
            reading.complaints.push(complaint(path, error));
        }
        for path in &found.files {
            match fs::read_to_string(path) {
                Ok(text) => {
                    // Of most files nothing changes, and what was made of their texts holds them.
                    let known = self.texts.get(path).filter(|known| ***known == *text);
                    texts.insert(path.clone(), known.map_or_else(|| text.as_str().into(), Arc::clone));
                }
                Err(error) => {
                    reading.complaints.push(complaint(path, &error));
                    self.keep(path, &mut texts);
                }
            }
        }
        let source = |(path, text): (&PathBuf, &Arc<str>)| match self.mesh.as_ref() == Some(path) {
            true => Source::mesh(name(path), text.clone()),
            false => Source::new(name(path), text.clone()),
        };
        reading.sources = ordered(&self.roots, &texts).map(source).collect();
        let same = self.read && self.texts == texts && self.complaints == reading.complaints;
        self.read = true;
        self.texts = texts;
        self.complaints.clone_from(&reading.complaints);
        self.stamps = found.stamps;
        (!same).then_some(reading)
    }

    /// Whether a file may have changed since it was read, as far as stamps tell.
    pub(crate) fn stale(&self) -> bool {
        Found::search(&self.roots).stamps != self.stamps
    }

    /// Whether a file that said something is empty now: whoever writes a file in place empties it first, and to believe that
    /// would take all of its objects out of force for a moment.
    pub(crate) fn torn(&self) -> bool {
        let mut said = self.texts.iter().filter(|(_, text)| !text.is_empty());
        said.any(|(path, _)| fs::metadata(path).is_ok_and(|meta| meta.len() == 0))
    }

    /// What was last read at or below a path that can no longer be read.
    fn keep(&self, path: &Path, texts: &mut BTreeMap<PathBuf, Arc<str>>) {
        for (known, text) in self.texts.iter().filter(|(known, _)| known.starts_with(path)) {
            texts.entry(known.clone()).or_insert_with(|| text.clone());
        }
    }

    /// The folders in which a change would be seen: folders themselves, and the parents of files.
    fn folders(&self) -> BTreeMap<PathBuf, RecursiveMode> {
        let mut folders = BTreeMap::new();
        for root in &self.roots {
            if root.is_dir() {
                folders.insert(root.clone(), RecursiveMode::Recursive);
            } else {
                let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                folders.entry(parent.to_owned()).or_insert(RecursiveMode::NonRecursive);
            }
        }
        folders
    }
}

/// What a search of the roots has found.
#[derive(Debug, Default)]
struct Found {
    files: BTreeSet<PathBuf>,
    stamps: Stamps,
    unreadable: Vec<(PathBuf, io::Error)>,
    /// Folders by what they really are, so that links cannot lead in circles.
    visited: BTreeSet<PathBuf>,
}

impl Found {
    fn search(roots: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for root in roots {
            found.visit(root, DEEPEST, true);
        }
        found
    }

    fn visit(&mut self, path: &Path, depth: usize, named: bool) {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) => return self.lost(path, error),
        };
        if meta.is_dir() {
            if depth > 0 {
                self.list(path, depth - 1);
            }
        } else if named || readable_name(path) {
            self.stamps.insert(path.to_owned(), Some(Stamp::of(&meta)));
            self.files.insert(path.to_owned());
        }
    }

    fn list(&mut self, folder: &Path, depth: usize) {
        match fs::canonicalize(folder) {
            Ok(real) if !self.visited.insert(real.clone()) => return,
            Ok(_) => {}
            Err(error) => return self.lost(folder, error),
        }
        let entries = match fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
            Ok(entries) => entries,
            Err(error) => return self.lost(folder, error),
        };
        let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(|path| !hidden(path)).collect();
        paths.sort();
        for path in paths {
            // A name of another kind may be anything, a socket or a broken link: it is none of ours.
            if (readable_name(&path) && !is_route_test(&path)) || path.is_dir() {
                self.visit(&path, depth, false);
            }
        }
    }

    fn lost(&mut self, path: &Path, error: io::Error) {
        self.stamps.insert(path.to_owned(), None);
        self.unreadable.push((path.to_owned(), error));
    }
}

/// Texts in the order of the command line, and by name below a folder; each once.
fn ordered<'a>(
    roots: &'a [PathBuf],
    texts: &'a BTreeMap<PathBuf, Arc<str>>,
) -> impl Iterator<Item = (&'a PathBuf, &'a Arc<str>)> {
    let mut seen = BTreeSet::new();
    roots
        .iter()
        .flat_map(|root| texts.iter().filter(move |(path, _)| path.starts_with(root)))
        .filter(move |(path, _)| seen.insert(*path))
}

fn readable_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Whether a file holds tests of routes, which stand beside the configuration and are no part of it.
pub(crate) fn is_route_test(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    name.ends_with(b".test.yaml") || name.ends_with(b".test.yml")
}

/// Kubernetes keeps what its links point at in hidden folders; reading those too would find everything twice.
fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

fn complaint(path: &Path, error: &io::Error) -> Diagnostic {
    let spot = Spot::file(&name(path));
    let message = format!("cannot be read: {error}");
    Diagnostic::error(codes::UNREADABLE, &"".into(), &spot, message)
}

/// Watches files and tells the store when they change. `forced` reads them at once, whatever has been noticed.
pub(crate) async fn watch(mut files: Files, forced: Arc<Notify>, updates: mpsc::Sender<Update>) {
    let noticed = Arc::new(Notify::new());
    // Dropping the watcher ends the watch.
    let _watcher = watcher(&files, &noticed);
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            () = forced.notified() => true,
            () = noticed.notified() => {
                settle(&noticed, &files).await;
                false
            }
            _ = poll.tick() => {
                if !files.stale() {
                    continue;
                }
                settle(&noticed, &files).await;
                false
            }
        };
        let update = match files.read() {
            Some(reading) => Update::Files(reading),
            None if asked => Update::Unchanged,
            None => continue,
        };
        if updates.send(update).await.is_err() {
            return;
        }
    }
}

/// Waits until nothing has been noticed for a moment and no file is half written, but not for ever.
async fn settle(noticed: &Notify, files: &Files) {
    let mut turns = DEBOUNCE_TURNS;
    while turns > 0 && timeout(DEBOUNCE, noticed.notified()).await.is_ok() {
        turns -= 1;
    }
    let mut turns = TORN_TURNS;
    while turns > 0 && files.torn() {
        // Whether something is noticed or not, the file itself tells.
        let _ = timeout(DEBOUNCE, noticed.notified()).await;
        turns -= 1;
    }
}

/// Starts watching. Without a watch there are still the stamps.
fn watcher(files: &Files, noticed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let bell = noticed.clone();
    let ring = move |event: notify::Result<notify::Event>| {
        // Our own reading is no news.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            bell.notify_one();
        }
    };
    let mut watcher = match notify::recommended_watcher(ring) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files are not watched, only polled");
            return None;
        }
    };
    for (folder, mode) in files.folders() {
        if let Err(error) = watcher.watch(&folder, mode) {
            tracing::warn!(folder = %folder.display(), %error, "a folder is not watched, only polled");
        }
    }
    Some(watcher)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
