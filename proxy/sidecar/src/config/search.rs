//! Finding and reading configuration files, within limits. Entries that are no regular file, too large, too many or too
//! deep are left out with a diagnostic.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use leeboard_policy::counted::counted;
use rustix::fs::OFlags;

/// How much is read and looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileLimits {
    /// Files that are read.
    pub(crate) files: usize,
    /// Entries of folders that are looked at, whatever they are.
    pub(crate) entries: usize,
    /// Bytes of a file.
    pub(crate) file_bytes: usize,
    /// Bytes of all files together. A ConfigMap holds 1 MiB.
    pub(crate) bytes: usize,
    /// Folders within each other.
    pub(crate) depth: u16,
    /// Whether what is named may be a pipe, `<(…)`, which can be read once.
    pub(crate) pipes: bool,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { files: 20_000, entries: 50_000, file_bytes: 64 << 20, bytes: 256 << 20, depth: 32, pipes: false }
    }
}

/// What tells whether anything has changed: of each file, and of what cannot be looked at.
pub(crate) type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
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

/// What a search of some roots has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: BTreeSet<PathBuf>,
    pub(crate) folders: BTreeSet<PathBuf>,
    pub(crate) stamps: Stamps,
    /// What is not read, and why.
    pub(crate) left_out: Vec<(PathBuf, String)>,
    /// How many entries of folders were looked at.
    pub(crate) entries: usize,
    /// Folders by what they really are, so that links cannot lead in circles.
    visited: BTreeSet<PathBuf>,
    /// Those that are being searched, each in the one before.
    within: Vec<PathBuf>,
    most: FileLimits,
    full: bool,
}

impl Found {
    pub(crate) fn search(roots: &[PathBuf], most: FileLimits) -> Self {
        let mut found = Self { most, ..Self::default() };
        for root in roots {
            found.visit(root, most.depth, true);
        }
        found
    }

    fn visit(&mut self, path: &Path, depth: u16, named: bool) {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) => return self.leave_out(path, error.to_string()),
        };
        if meta.is_dir() {
            match depth {
                0 => self.leave_out(path, format!("folders are searched {} deep", self.most.depth)),
                _ => self.folder(path, depth - 1),
            }
        } else if named || readable_name(path) {
            match kind(&meta) {
                Some(PIPE) if named && self.most.pipes => {}
                Some(kind) => return self.leave_out(path, format!("it is {kind} and no file")),
                None => {}
            }
            if self.files.len() >= self.most.files {
                let most = counted(self.most.files, "file");
                return self.enough(path, format!("there are more than {most}: this and those behind it are left out"));
            }
            self.stamps.insert(path.to_owned(), Some(Stamp::of(&meta)));
            self.files.insert(path.to_owned());
        }
    }

    fn folder(&mut self, folder: &Path, depth: u16) {
        match fs::canonicalize(folder) {
            Ok(real) if self.visited.contains(&real) => {}
            // A link to a folder above leads to everything, over and over.
            Ok(real) if self.within.iter().any(|above| above.starts_with(&real)) => {
                self.leave_out(folder, format!("it is a link to {}, in which it lies", real.display()));
            }
            Ok(real) => {
                self.visited.insert(real.clone());
                self.within.push(real);
                self.list(folder, depth);
                self.within.pop();
            }
            Err(error) => self.leave_out(folder, error.to_string()),
        }
    }

    fn list(&mut self, folder: &Path, depth: u16) {
        self.folders.insert(folder.to_owned());
        let room = self.most.entries.saturating_sub(self.entries);
        let entries = fs::read_dir(folder).and_then(|entries| entries.take(room + 1).collect::<Result<Vec<_>, _>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.leave_out(folder, error.to_string()),
        };
        self.entries += entries.len();
        if entries.len() > room {
            entries.truncate(room);
            let most = self.most.entries;
            self.enough(folder, format!("more than {most} files and folders lie here: not all of them are looked at"));
        }
        entries.retain(|entry| !hidden(&entry.path()));
        entries.sort_by_cached_key(fs::DirEntry::path);
        for entry in entries {
            let path = entry.path();
            // A name of another kind may be anything, a socket or a broken link: it is none of ours.
            let folder = || match entry.file_type() {
                Ok(kind) if kind.is_symlink() => path.is_dir(),
                Ok(kind) => kind.is_dir(),
                Err(_) => false,
            };
            if (readable_name(&path) && !is_route_test(&path)) || folder() {
                self.visit(&path, depth, false);
            }
        }
    }

    fn leave_out(&mut self, path: &Path, why: String) {
        self.stamps.insert(path.to_owned(), None);
        self.left_out.push((path.to_owned(), why));
    }

    /// Says once that there is too much.
    fn enough(&mut self, path: &Path, why: String) {
        if !std::mem::replace(&mut self.full, true) {
            self.leave_out(path, why);
        }
    }
}

/// What is no file, in words.
const PIPE: &str = "a pipe";

/// What it is, if it is no file.
fn kind(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_fifo() => Some(PIPE),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// The text of a file, when so many bytes were read before.
///
/// # Errors
/// Why it cannot be had.
pub(crate) fn content(path: &Path, before: usize, most: FileLimits) -> Result<String, String> {
    let text = |error: io::Error| error.to_string();
    if most.pipes && fs::metadata(path).is_ok_and(|meta| kind(&meta) == Some(PIPE)) {
        return piped(path, most.file_bytes);
    }
    // What was a file when it was found may be something else by now, which nobody must wait for.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).map_err(text)?;
    let meta = file.metadata().map_err(text)?;
    if let Some(kind) = kind(&meta) {
        return Err(format!("it is {kind} and no file"));
    }
    let room = most.bytes.saturating_sub(before);
    let too_large = || match room < most.file_bytes {
        true => format!("all files together have more than {}", counted(most.bytes, "byte")),
        false => format!("it has more than {}", counted(most.file_bytes, "byte")),
    };
    let room = room.min(most.file_bytes);
    if meta.len() > room as u64 {
        return Err(too_large());
    }
    bounded(file, meta.len() as usize, room)?.ok_or_else(too_large)
}

/// What somebody writes to a pipe that was named on the command line.
fn piped(path: &Path, most: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    bounded(file, 0, most)?.ok_or_else(|| format!("it has more than {}", counted(most, "byte")))
}

/// `None` when there is more.
fn bounded(file: File, expected: usize, most: usize) -> Result<Option<String>, String> {
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Ok(None);
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is no text in UTF-8".to_owned())
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
