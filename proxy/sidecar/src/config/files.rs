//! Configuration in files and folders, and how changes are noticed.
//!
//! Kubernetes mounts a ConfigMap as a folder of links into a hidden folder, and swaps one link (`..data`) on a change.
//! So folders are watched and not files, and contents are compared. File metadata is polled twice a second for changes
//! that the watch misses, for instance on network file systems.
//!
//! Searching and reading always end, whatever the folders contain: pipes, devices, links in a circle, a million files.
//! What is left out is reported, and the next change is still noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leeboard_istio::codes;
use leeboard_istio::diagnostic::Diagnostic;
use leeboard_istio::source::{Source, Spot};
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::search::{FileLimits, Found, Stamps, content};
use super::update::{LoadedFiles, Update};
use crate::host::background;

pub(crate) use super::search::is_route_test;

/// How often stamps are looked at, in case the watch has missed something.
const POLL: Duration = Duration::from_millis(500);
/// How long no event may come before the files are read: an editor writes in several steps.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// The most events that are waited out in a row.
const DEBOUNCE_TURNS: usize = 5;
/// So many entries of folders are looked at for each pause between two looks.
const ENTRIES_PER_POLL: usize = 5_000;
/// The most folders that are watched.
const MOST_WATCHED: usize = 1_000;
/// How many moments a file that has just been emptied is given to be filled again.
const TORN_TURNS: usize = 8;

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
    /// The folders that were searched.
    folders: BTreeSet<PathBuf>,
    /// How many entries these have.
    entries: usize,
    most: FileLimits,
    read: bool,
}

impl Files {
    /// The files and folders named on the command line. Nothing is read yet.
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        Self {
            roots,
            mesh: None,
            texts: BTreeMap::new(),
            complaints: Vec::new(),
            stamps: BTreeMap::new(),
            folders: BTreeSet::new(),
            entries: 0,
            most: FileLimits::default(),
            read: false,
        }
    }

    /// Reads settings of the mesh from a file of their own, too.
    #[must_use]
    pub(crate) fn with_mesh(mut self, file: Option<PathBuf>) -> Self {
        self.roots.splice(0..0, file.clone());
        self.mesh = file;
        self
    }

    /// Reads no more than this.
    #[must_use]
    pub(crate) fn within(mut self, most: FileLimits) -> Self {
        self.most = FileLimits { pipes: self.most.pipes, ..most };
        self
    }

    /// Reads pipes that are named, too: once, for nobody can read them again.
    #[must_use]
    pub(crate) fn with_pipes(mut self) -> Self {
        self.most.pipes = true;
        self
    }

    /// The same files and folders, of which nothing is read yet.
    fn anew(&self) -> Self {
        Self { mesh: self.mesh.clone(), most: self.most, ..Self::new(self.roots.clone()) }
    }

    /// Reads everything; `None` when it is all as it was.
    pub(crate) fn read(&mut self) -> Option<LoadedFiles> {
        let found = Found::search(&self.roots, self.most);
        let mut reading = LoadedFiles::default();
        let mut texts = BTreeMap::new();
        for (path, why) in &found.left_out {
            self.keep(path, &mut texts);
            reading.complaints.push(complaint(path, why));
        }
        let mut bytes = 0;
        for path in &found.files {
            match content(path, bytes, self.most) {
                Ok(text) => {
                    bytes += text.len();
                    // Of most files nothing changes, and what was made of their texts holds them.
                    let known = self.texts.get(path).filter(|known| ***known == *text);
                    texts.insert(path.clone(), known.map_or_else(|| text.as_str().into(), Arc::clone));
                }
                Err(why) => {
                    reading.complaints.push(complaint(path, &why));
                    if let Some(text) = self.texts.get(path) {
                        texts.insert(path.clone(), text.clone());
                    }
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
        self.folders = found.folders;
        self.entries = found.entries;
        (!same).then_some(reading)
    }

    /// Whether a file may have changed since it was read, as far as stamps tell.
    pub(crate) fn stale(&self) -> bool {
        Found::search(&self.roots, self.most).stamps != self.stamps
    }

    /// Whether a file that said something is empty now: whoever writes a file in place empties it first, and to believe that
    /// would take all of its objects out of force for a moment.
    pub(crate) fn torn(&self) -> bool {
        let mut said = self.texts.iter().filter(|(_, text)| !text.is_empty());
        said.any(|(path, _)| fs::metadata(path).is_ok_and(|meta| meta.len() == 0))
    }

    /// What was last read at or below a path that can no longer be read.
    fn keep(&self, path: &Path, texts: &mut BTreeMap<PathBuf, Arc<str>>) {
        // What lies below a folder comes right behind it.
        let below = self.texts.range(path.to_owned()..).take_while(|(known, _)| known.starts_with(path));
        for (known, text) in below {
            texts.entry(known.clone()).or_insert_with(|| text.clone());
        }
    }

    /// The folders in which a change would be seen: those that were searched, and the parents of files. Of many the first: what
    /// happens in the others is found by the stamps.
    fn watched(&self) -> BTreeSet<PathBuf> {
        let parents = self.roots.iter().filter(|root| !root.is_dir()).map(|root| {
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        });
        parents.chain(self.folders.iter().cloned()).take(MOST_WATCHED).collect()
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

/// What a file is called in complaints.
pub(crate) fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

fn complaint(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::error(codes::UNREADABLE, &"".into(), &Spot::file(&name(path)), format!("cannot be read: {why}"))
}

/// Watches files and tells the store when they change. `forced` reads them at once, whatever has been noticed.
pub(crate) async fn watch(mut files: Files, forced: Arc<Notify>, updates: mpsc::Sender<Update>) {
    let noticed = Arc::new(Notify::new());
    // Dropping the watcher ends the watch.
    let mut watch = Watch::new(&noticed);
    watch.follow(&files);
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pauses = 0;
    loop {
        let asked = tokio::select! {
            () = forced.notified() => true,
            () = noticed.notified() => {
                settle(&noticed, &files).await;
                false
            }
            _ = poll.tick() => {
                let rests = pauses > 0;
                pauses = if rests { pauses - 1 } else { files.entries / ENTRIES_PER_POLL };
                if rests || !files.stale() {
                    continue;
                }
                settle(&noticed, &files).await;
                false
            }
        };
        // Much text is long work, and a disk may be slow.
        let anew = files.anew();
        let read = background::start(move || {
            let reading = files.read();
            (files, reading)
        });
        let Ok((back, reading)) = read.await else {
            tracing::error!("the files could not be read: they are read anew at the next change");
            files = anew;
            continue;
        };
        files = back;
        watch.follow(&files);
        let update = match reading {
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

/// What notices at once that something happens in a folder. Without it there are still the stamps.
struct Watch {
    watcher: Option<notify::RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    fn new(noticed: &Arc<Notify>) -> Self {
        let wake_flag = noticed.clone();
        let ring = move |event: notify::Result<notify::Event>| {
            // Our own reading is no news.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                wake_flag.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(ring);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files are not watched, only polled");
        }
        Self { watcher: watcher.ok(), folders: BTreeSet::new() }
    }

    /// Watches the folders that there are now, each by itself: what a link leads to is not followed any further.
    fn follow(&mut self, files: &Files) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders = files.watched();
        for gone in self.folders.difference(&folders) {
            // It may be gone with its watch.
            let _ = watcher.unwatch(gone);
        }
        for folder in &folders {
            // One that was there before may be another by now, whose watch is to be made anew.
            let watched = watcher.watch(folder, RecursiveMode::NonRecursive);
            if let Some(error) = watched.err().filter(|_| !self.folders.contains(folder)) {
                tracing::warn!(folder = %folder.display(), %error, "a folder is not watched, only polled");
            }
        }
        self.folders = folders;
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
