//! The configuration that ships with the project loads and compiles without a complaint.

use std::path::Path;

use leeboard_istio::check::check;
use leeboard_istio::compile::{Site, compile};
use leeboard_istio::diagnostic::{Diagnostic, Severity};
use leeboard_istio::source::Source;
use leeboard_istio::{load, render};
use leeboard_policy::cluster::Workload;

fn folder(path: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("legible").path()).collect();
    entries.sort();
    for entry in entries {
        // Tests of routes stand beside the configuration and are no part of it.
        let is_test = entry.to_string_lossy().ends_with(".test.yaml");
        if entry.extension().is_some_and(|ext| ext == "yaml") && !is_test {
            let text = std::fs::read_to_string(&entry).expect("legible");
            into.push(Source::new(entry.to_string_lossy().into_owned(), text));
        }
    }
}

#[test]
fn the_shipped_configuration_is_in_order() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    for part in ["", "bookinfo"] {
        let mut sources = Vec::new();
        folder(&config.join(part), &mut sources);
        assert!(!sources.is_empty());
        let loaded = load(&sources);
        assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics, &sources, false));
        assert!(loaded.resources.service_entries.len() + loaded.resources.services.len() > 3);
        let namespace = loaded.resources.virtual_services[0].meta.namespace().clone();
        let workload = Workload { namespace, ..Workload::default() };
        let (snapshot, diagnostics) = compile(&loaded.resources, &Site { workload, ..Site::default() });
        assert!(diagnostics.is_empty(), "{}", render(&diagnostics, &sources, false));
        assert!(snapshot.hosts().len() > 3 && snapshot.clusters().len() > 3);
    }
}

/// What `leeboard check` has to say of a folder and those below it.
fn checked(path: &Path) -> (Vec<Source>, Vec<Diagnostic>) {
    let mut sources = Vec::new();
    folder(path, &mut sources);
    for entry in std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("legible").path()) {
        if entry.is_dir() {
            folder(&entry, &mut sources);
        }
    }
    let diagnostics = check(&sources, &Site::default()).diagnostics;
    (sources, diagnostics)
}

#[test]
fn check_finds_nothing_in_the_shipped_configuration() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    for path in [config.clone(), config.join("bookinfo")] {
        let (sources, diagnostics) = checked(&path);
        assert!(sources.len() >= 3 && diagnostics.is_empty(), "{}", render(&diagnostics, &sources, false));
    }
}

#[test]
fn check_finds_nothing_to_mend_in_the_manifests() {
    let (sources, mut diagnostics) = checked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests"));
    diagnostics.retain(|diagnostic| diagnostic.severity != Severity::Info);
    assert!(diagnostics.is_empty(), "{}", render(&diagnostics, &sources, false));
}

#[test]
fn the_manifests_are_understood_or_passed_over() {
    let mut sources = Vec::new();
    folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests"), &mut sources);
    let mut loaded = load(&sources);
    loaded.diagnostics.retain(|diagnostic| diagnostic.severity != Severity::Info);
    assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics, &sources, false));
    assert!(loaded.resources.services.len() > 3);
}
