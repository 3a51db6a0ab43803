//! Configurations after the shapes of those that are found: what `check` says of each stands in it, as `#: CODE OBJECT`, in the order in
//! which people are told. None has an error.

use std::fs;
use std::path::Path;

use leeboard_istio::check::check;
use leeboard_istio::codes::NOT_ENFORCED;
use leeboard_istio::compile::Site;
use leeboard_istio::diagnostic::Severity;
use leeboard_istio::source::Source;
use leeboard_istio::{load, render};

fn sources() -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/found");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("legible").path()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    files.iter().map(|path| Source::new(name(path), fs::read_to_string(path).expect("legible"))).collect()
}

#[test]
fn each_is_told_what_it_should_be_and_nothing_else() {
    let sources = sources();
    assert!(sources.len() >= 10);
    let mut wrong = String::new();
    for source in sources {
        let promised: Vec<&str> =
            source.text.lines().filter_map(|line| line.strip_prefix("#: ")).map(str::trim).collect();
        let told = check(std::slice::from_ref(&source), &Site::default()).diagnostics;
        // What the proxy does not serve yet is not what this is about.
        let told: Vec<_> = told.into_iter().filter(|one| one.code != NOT_ENFORCED).collect();
        let mut found: Vec<String> =
            told.iter().map(|one| format!("{} {}", one.code, one.resource).trim().to_owned()).collect();
        let mut wanted: Vec<String> = promised.iter().map(|line| (*line).to_owned()).collect();
        found.sort();
        wanted.sort();
        let sums = told.iter().filter(|one| one.severity == Severity::Info && one.code.to_string() == "L0006").count();
        if found != wanted || sums > 1 || told.iter().any(|one| one.severity == Severity::Error) {
            wrong += &format!(
                "{}: wanted {wanted:#?}, found {found:#?}\n{}\n",
                source.name,
                render(&told, std::slice::from_ref(&source), false)
            );
        }
        assert_eq!(load(std::slice::from_ref(&source)).rejected, [], "{}: a proxy takes all of it", source.name);
    }
    assert!(wrong.is_empty(), "{wrong}");
}
