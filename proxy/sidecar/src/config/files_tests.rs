//! Files and folders on a real disk, without waiting.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, FileType, mknodat};

use super::*;

/// A folder of its own for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leeboard-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn files(&self) -> Files {
        Files::new(vec![self.0.clone()])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// File names without their folders, and texts.
fn told(reading: &LoadedFiles) -> Vec<(&str, &str)> {
    reading.sources.iter().map(|s| (s.name.rsplit('/').next().unwrap(), &*s.text)).collect()
}

#[test]
fn folders_are_searched_in_order_for_the_known_names() {
    let folder = Folder::new();
    for name in [
        "b.yaml",
        "a.yml",
        "sub/c.json",
        "sub/deeper/d.yaml",
        "note.md",
        ".hidden.yaml",
        ".git/e.yaml",
        "a.test.yaml",
        "sub/b.test.yml",
    ] {
        folder.write(name, name);
    }
    let reading = folder.files().read().unwrap();
    let texts: Vec<_> = reading.sources.iter().map(|s| &*s.text).collect();
    assert_eq!(texts, ["a.yml", "b.yaml", "sub/c.json", "sub/deeper/d.yaml"]);
    assert!(reading.complaints.is_empty());
}

#[test]
fn what_is_named_is_read_whatever_its_name_and_only_once() {
    let folder = Folder::new();
    let (b, a) = (folder.write("b.conf", "b"), folder.write("a.yaml", "a"));
    let mut files = Files::new(vec![b, a, folder.0.clone()]);
    assert_eq!(told(&files.read().unwrap()), [("b.conf", "b"), ("a.yaml", "a")]);
}

#[test]
fn the_settings_of_the_mesh_come_first_and_are_told_apart() {
    let folder = Folder::new();
    folder.write("a.yaml", "a");
    let mesh = folder.write("mesh", "m");
    let mut files = folder.files().with_mesh(Some(mesh.clone()));
    let marks =
        |reading: &LoadedFiles| reading.sources.iter().map(|s| (s.text.to_string(), s.mesh)).collect::<Vec<_>>();
    assert_eq!(marks(&files.read().unwrap()), [("m".to_owned(), true), ("a".to_owned(), false)]);
    fs::write(&mesh, "n").unwrap();
    assert!(files.stale());
    assert_eq!(marks(&files.read().unwrap())[0], ("n".to_owned(), true));
}

#[test]
fn only_a_change_of_content_is_news() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", "one");
    let mut files = folder.files();
    assert!(files.read().is_some());
    assert!(files.read().is_none());
    fs::write(&path, "one").unwrap();
    assert!(files.read().is_none(), "the same text again");
    fs::write(&path, "two").unwrap();
    assert!(files.stale());
    assert_eq!(told(&files.read().unwrap()), [("a.yaml", "two")]);
    assert!(!files.stale());
    folder.write("new.yaml", "three");
    assert!(files.stale());
    assert_eq!(told(&files.read().unwrap()), [("a.yaml", "two"), ("new.yaml", "three")]);
}

#[test]
fn a_file_that_has_just_been_emptied_is_being_written() {
    let folder = Folder::new();
    folder.write("always-empty.yaml", "");
    let path = folder.write("a.yaml", "one");
    let mut files = folder.files();
    files.read().unwrap();
    assert!(!files.torn());
    fs::write(&path, "").unwrap();
    assert!(files.torn());
    fs::write(&path, "two").unwrap();
    assert!(!files.torn());
    fs::write(&path, "").unwrap();
    assert_eq!(told(&files.read().unwrap()), [("a.yaml", ""), ("always-empty.yaml", "")], "it stays empty");
    assert!(!files.torn());
}

#[test]
fn a_file_that_was_deleted_takes_its_objects_with_it() {
    let folder = Folder::new();
    folder.write("a.yaml", "a");
    let b = folder.write("b.yaml", "b");
    let mut files = folder.files();
    files.read().unwrap();
    fs::remove_file(b).unwrap();
    assert!(files.stale());
    let reading = files.read().unwrap();
    assert_eq!(told(&reading), [("a.yaml", "a")]);
    assert!(reading.complaints.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_keeps_its_text() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", "good");
    let mut files = folder.files();
    files.read().unwrap();
    fs::write(&path, b"\xff\xfe not text").unwrap();
    let reading = files.read().unwrap();
    assert_eq!(told(&reading), [("a.yaml", "good")]);
    assert!(reading.complaints[0].message.starts_with("cannot be read"), "{:?}", reading.complaints);
    assert!(files.read().is_none(), "the same complaint again");
    fs::write(&path, "better").unwrap();
    let reading = files.read().unwrap();
    assert_eq!((told(&reading), reading.complaints.len()), (vec![("a.yaml", "better")], 0));
}

#[test]
fn what_was_named_and_has_vanished_is_an_error_and_keeps_its_texts() {
    let folder = Folder::new();
    folder.write("conf/a.yaml", "a");
    let named = folder.write("b.yaml", "b");
    let mut files = Files::new(vec![folder.0.join("conf"), named.clone()]);
    files.read().unwrap();
    fs::remove_dir_all(folder.0.join("conf")).unwrap();
    fs::remove_file(&named).unwrap();
    assert!(files.stale());
    let reading = files.read().unwrap();
    assert_eq!((told(&reading), reading.complaints.len()), (vec![("a.yaml", "a"), ("b.yaml", "b")], 2));
    folder.write("conf/a.yaml", "back");
    assert!(files.stale());
    assert_eq!(told(&files.read().unwrap())[0], ("a.yaml", "back"));
}

#[test]
fn nothing_at_all_is_an_error() {
    let reading = Files::new(vec![PathBuf::from("/nowhere/at/all")]).read().unwrap();
    assert!(reading.sources.is_empty());
    assert_eq!(&*reading.complaints[0].primary.file, "/nowhere/at/all");
}

#[test]
fn a_config_map_swap_is_one_change() {
    let folder = Folder::new();
    folder.write("..2026_01/routes.yaml", "old");
    symlink("..2026_01", folder.0.join("..data")).unwrap();
    symlink("..data/routes.yaml", folder.0.join("routes.yaml")).unwrap();
    let mut files = folder.files();
    assert_eq!(told(&files.read().unwrap()), [("routes.yaml", "old")]);

    folder.write("..2026_02/routes.yaml", "new");
    assert!(!files.stale(), "nothing has been swapped yet");
    symlink("..2026_02", folder.0.join("..data_tmp")).unwrap();
    fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
    fs::remove_dir_all(folder.0.join("..2026_01")).unwrap();
    assert!(files.stale());
    assert_eq!(told(&files.read().unwrap()), [("routes.yaml", "new")]);
}

#[test]
fn links_in_circles_come_to_an_end() {
    let folder = Folder::new();
    folder.write("sub/a.yaml", "a");
    symlink("..", folder.0.join("sub/loop")).unwrap();
    assert_eq!(told(&folder.files().read().unwrap()), [("a.yaml", "a")]);
}

/// What is left out, by the end of its name, and why.
fn left_out(reading: &LoadedFiles) -> Vec<(&str, &str)> {
    let told = reading.complaints.iter();
    told.map(|d| (d.primary.file.rsplit('/').next().unwrap(), &d.message["cannot be read: ".len()..])).collect()
}

#[test]
fn what_is_no_file_is_told_and_keeps_nobody_waiting() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", "a");
    let mut files = folder.files();
    assert_eq!(told(&files.read().unwrap()), [("a.yaml", "a")]);
    let pipe = folder.0.join("pipe.yaml");
    mknodat(CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("s.yaml")).unwrap();
    symlink("/dev/zero", folder.0.join("zero.yaml")).unwrap();
    symlink("/", folder.0.join("everything")).unwrap();
    let reading = files.read().unwrap();
    assert_eq!(told(&reading), [("a.yaml", "a")]);
    let expected = [
        ("everything", "it is a link to /, in which it lies"),
        ("pipe.yaml", "it is a pipe and no file"),
        ("s.yaml", "it is a socket and no file"),
        ("zero.yaml", "it is a device and no file"),
    ];
    assert_eq!(left_out(&reading), expected);
    fs::write(&path, "b").unwrap();
    assert!(files.stale(), "the next edit is seen");
    assert_eq!(told(&files.read().unwrap()), [("a.yaml", "b")]);
    // What was a file when it was found, and is a pipe when it is opened, is not waited for either.
    assert_eq!(content(&pipe, 0, FileLimits::default()), Err("it is a pipe and no file".into()));
}

#[test]
fn what_is_named_may_be_a_pipe_for_who_reads_it_once() {
    let folder = Folder::new();
    let pipe = folder.0.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    let writing = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "text").unwrap()
    });
    let reading = Files::new(vec![pipe.clone()]).with_pipes().read().unwrap();
    writing.join().unwrap();
    assert_eq!(told(&reading), [("pipe", "text")]);
    let reading = Files::new(vec![pipe]).read().unwrap();
    assert_eq!(left_out(&reading), [("pipe", "it is a pipe and no file")]);
}

#[test]
fn files_and_their_bytes_are_bounded() {
    let folder = Folder::new();
    for name in ["a", "b", "c", "d"] {
        folder.write(&format!("{name}.yaml"), "12345");
    }
    folder.write("sub/e.yaml", "12345");
    let read = |most: FileLimits| {
        let reading = Files { most, ..folder.files() }.read().unwrap();
        let told: Vec<String> = left_out(&reading).iter().map(|(name, why)| format!("{name}: {why}")).collect();
        (reading.sources.len(), told.join("; "))
    };
    let most = FileLimits::default();
    assert_eq!(read(most), (5, String::new()));
    let few = "c.yaml: there are more than 2 files: this and those behind it are left out";
    assert_eq!(read(FileLimits { files: 2, ..most }), (2, few.into()));
    let (found, told) = read(FileLimits { entries: 3, ..most });
    assert!(found <= 3 && told.contains("more than 3 files and folders lie here"), "{found} {told}");
    let (found, told) = read(FileLimits { file_bytes: 4, ..most });
    assert!(found == 0 && told.starts_with("a.yaml: it has more than 4 bytes"), "{told}");
    let all = "c.yaml: all files together have more than 12 bytes; d.yaml: all files together have more than 12 bytes; \
               e.yaml: all files together have more than 12 bytes";
    assert_eq!(read(FileLimits { bytes: 12, ..most }), (2, all.into()));
}

#[test]
fn a_file_that_grew_too_large_keeps_its_text() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", "good");
    let mut files = Files { most: FileLimits { file_bytes: 8, ..FileLimits::default() }, ..folder.files() };
    files.read().unwrap();
    fs::write(&path, "far too much").unwrap();
    let reading = files.read().unwrap();
    assert_eq!((told(&reading), left_out(&reading).len()), (vec![("a.yaml", "good")], 1));
}

#[test]
fn a_folder_without_permission_is_an_error() {
    let folder = Folder::new();
    folder.write("locked/a.yaml", "a");
    let locked = folder.0.join("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    let mut files = folder.files();
    let reading = files.read().unwrap();
    // Whoever may read everything is not locked out.
    let all_powerful = fs::read_dir(&locked).is_ok();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(reading.complaints.len(), usize::from(!all_powerful));
}

#[tokio::test]
async fn the_store_is_told_of_an_edit_and_of_a_forced_look() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", "one");
    let mut files = folder.files();
    files.read().unwrap();
    let (sender, mut updates) = mpsc::channel(4);
    let forced = Arc::new(Notify::new());
    let watching = tokio::spawn(watch(files, forced.clone(), sender));
    let staged = folder.write("a.yaml.new", "two");
    fs::rename(staged, &path).unwrap();
    match updates.recv().await {
        Some(Update::Files(reading)) => assert_eq!(told(&reading), [("a.yaml", "two")]),
        other => panic!("{other:?}"),
    }
    forced.notify_one();
    assert!(matches!(updates.recv().await, Some(Update::Unchanged)));
    watching.abort();
}

#[tokio::test]
async fn an_edit_beside_what_is_no_file_is_seen() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", "one");
    let mut files = folder.files();
    files.read().unwrap();
    let (sender, mut updates) = mpsc::channel(4);
    let watching = tokio::spawn(watch(files, Arc::new(Notify::new()), sender));
    mknodat(CWD, folder.0.join("pipe.yaml"), FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("/dev/zero", folder.0.join("zero.yaml")).unwrap();
    symlink("/", folder.0.join("everything")).unwrap();
    fs::create_dir(folder.0.join("new")).unwrap();
    for text in ["two", "three"] {
        fs::write(&path, text).unwrap();
        loop {
            match updates.recv().await {
                Some(Update::Files(reading)) if told(&reading) == [("a.yaml", text)] => break,
                Some(_) => {}
                None => panic!("the watch has ended"),
            }
        }
    }
    // A folder that came later is watched like the others.
    folder.write("new/b.yaml", "b");
    while !matches!(updates.recv().await, Some(Update::Files(reading)) if reading.sources.len() == 2) {}
    watching.abort();
}
