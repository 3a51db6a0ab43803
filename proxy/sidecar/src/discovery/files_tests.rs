//! Files and folders on a real disk, read without waiting for anything.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

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
fn told(reading: &Reading) -> Vec<(&str, &str)> {
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
    let marks = |reading: &Reading| reading.sources.iter().map(|s| (s.text.to_string(), s.mesh)).collect::<Vec<_>>();
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
