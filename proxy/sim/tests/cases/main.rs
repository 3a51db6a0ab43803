//! Runs the literate cases of `config/`: what a configuration means, written as YAML, requests and results.
//!
//! The notation is explained in `config/cases/README.md`. Loading, compiling and deciding are the proxy's own.

mod exchanges;
mod expectations;
mod notation;
mod played;
mod policies;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leeboard_istio::compile::{Site, compile};
use leeboard_istio::diagnostic::{Diagnostic, Severity};
use leeboard_istio::source::{Source, Spot};
use leeboard_istio::{Loaded, load};
use leeboard_policy::cluster::Workload;
use leeboard_policy::live::Live;
use leeboard_sim::World;

use crate::exchanges::Entry;
use crate::notation::{Case, CaseFile, Document, Setup};
use crate::played::play;

macro_rules! files {
    ($($test:ident $path:literal,)*) => {
        $(#[test] fn $test() { check_file($path); })*
        const FILES: &[&str] = &[$($path),*];
    };
}

files! {
    balancing "cases/balancing.md",
    bookinfo "bookinfo/variants.md",
    cors "cases/cors.md",
    delegates "cases/delegates.md",
    demo "cases/demo.md",
    errors "cases/errors.md",
    faults "cases/faults.md",
    headers "cases/headers.md",
    hosts "cases/hosts.md",
    limits "cases/limits.md",
    locality "cases/locality.md",
    matching "cases/matching.md",
    mesh "cases/mesh.md",
    mirrors "cases/mirrors.md",
    mistakes "cases/mistakes.md",
    outlier "cases/outlier.md",
    policies "cases/policies.md",
    redirect "cases/redirect.md",
    retries "cases/retries.md",
    rewrite "cases/rewrite.md",
    services "cases/services.md",
    sidecars "cases/sidecars.md",
    timeouts "cases/timeouts.md",
    tls "cases/tls.md",
    weights "cases/weights.md",
}

#[test]
fn every_file_of_cases_is_run() {
    let written = fs::read_dir(config().join("cases")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = written.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    let run = FILES.iter().filter_map(|path| path.strip_prefix("cases/"));
    let mut expected: Vec<&str> = run.chain(["README.md"]).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn the_files_we_hand_out_have_nothing_to_complain_about() {
    for files in [
        &["services.yaml", "destinations.yaml", "routes.yaml"],
        &["../manifests/registry.yaml", "destinations.yaml", "routes.yaml"],
        &["bookinfo/services.yaml", "bookinfo/destinations.yaml", "bookinfo/routes.yaml"],
    ] {
        let sources = files.map(|name| Source::new(name, fs::read_to_string(config().join(name)).unwrap()));
        let Loaded { resources, mut diagnostics, .. } = load(&sources);
        diagnostics.extend(compile(&resources, &site(&Setup::default(), &Setup::default())).1);
        let said: Vec<_> = diagnostics.iter().map(|said| format!("{}: {}", said.primary, said.message)).collect();
        assert!(said.is_empty(), "{}", said.join("\n"));
    }
}

/// What the runner would say of a case that is wrong.
fn complaints(text: &str) -> Vec<String> {
    let file = notation::read(text).expect("the notation is right");
    file.cases.iter().flat_map(|case| check_case(&config().join("cases"), &file, case).1).collect()
}

#[test]
fn what_does_not_hold_is_noticed() {
    let case = |expectation: &str| {
        let yaml = "```yaml VirtualService user-service\nhttp:\n  - name: r\n    timeout: 1s\n    \
                    route: [{destination: {host: user-service}}]\n```";
        format!("## Wrong\n\n{yaml}\n\n```case\nGET http://user-service:5000/a x 2\n=> {expectation}\n```\n")
    };
    #[rustfmt::skip]
    let table = [
        ("route r", None), ("route s", Some("Route is `r`, not `s`")),
        ("status 404", Some("Status is `200`, not `404`")), ("flag NR", Some("Flag is `-`, not `NR`")),
        ("path /b", Some("Path is `/a`, not `/b`")), ("attempts 2", Some("Attempts is `1`, not `2`")),
        ("header x: 1", Some("Header(\"x\") is `(absent)`, not `1`")), ("no header x", None),
        ("took 1ms..2ms", Some("it took 0s")), ("ejected 127.0.0.1:25000", Some("ejected are {}")),
        ("statuses 200x1 503x1", Some("there were {\"200\": 2}")), ("statuses 200x2", None),
        ("share status 200 50% ±1 of 100", Some("the share is 100.000%")), ("share status 200 100% of 100", None),
        ("mirror outbound|1||a", Some("Mirror is ``, not `outbound|1||a`")), ("no mirror", None),
        ("running 1", Some("there were 2 of 2")), ("limit connections 1", Some("is `none`, not `1`")),
    ];
    for (expectation, complaint) in table {
        let found = complaints(&case(expectation));
        match complaint {
            None => assert!(found.is_empty(), "{expectation}: {found:?}"),
            Some(words) => assert!(found.len() == 1 && found[0].contains(words), "{expectation}: {found:?}"),
        }
    }
}

#[test]
fn an_error_in_a_configuration_is_noticed() {
    let wrong = "## Wrong\n\n```yaml VirtualService user-service\nhttp:\n  - timeout: 0s\n    \
                 directResponse: {status: 200}\n```\n";
    let found = complaints(wrong);
    assert!(found.len() == 1 && found[0].contains("timeout"), "{found:?}");
    let expected = wrong.replace("## Wrong\n", "## Wrong\n\nErrors: no such words\n");
    assert!(complaints(&expected)[0].contains("no such words"));
}

#[test]
fn what_is_not_the_notation_is_refused() {
    for block in [
        "GET http://user-service:5000/",
        "GET http://user-service:5000/ => colour red",
        "GET http://user-service:5000/ y 3 => status 200",
        "GET http://user-service:5000\n=> status 200",
        "GET http://user-service:5000/\nupstream sideways\n=> status 200",
        "wait a bit",
    ] {
        assert!(notation::read(&format!("## A\n```case\n{block}\n```\n")).is_err(), "{block}");
    }
}

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn check_file(name: &str) {
    let path = config().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("config/{name}: {error}"));
    let file = notation::read(&text).unwrap_or_else(|(line, what)| panic!("config/{name}:{line}: {what}"));
    assert!(!file.cases.is_empty(), "config/{name} has no case");
    let folder = path.parent().expect("a file has a folder");
    let mut complaints = Vec::new();
    let mut checked = 0;
    for case in &file.cases {
        let (count, found) = check_case(folder, &file, case);
        assert!(count > 0 || !case.setup.errors.is_empty(), "config/{name}:{}: nothing is expected", case.line);
        checked += count;
        complaints.extend(found.into_iter().map(|complaint| format!("config/{name}:{complaint}")));
    }
    assert!(complaints.is_empty(), "{} of {checked} do not hold:\n{}", complaints.len(), complaints.join("\n"));
}

/// How many expectations were checked, and what is wrong.
fn check_case(folder: &Path, file: &CaseFile, case: &Case) -> (usize, Vec<String>) {
    let sources = sources(folder, file, case);
    let Loaded { resources, mut diagnostics, .. } = load(&sources);
    let (snapshot, more) = compile(&resources, &site(&file.common, &case.setup));
    diagnostics.extend(more);
    let mut complaints = judge(&case.setup.errors, &diagnostics, &sources, case);
    let snapshot = Arc::new(snapshot);
    let mut checked = 0;
    for block in &case.blocks {
        let mut world = World::new(Live::adopt(None, snapshot.clone(), &Default::default(), Default::default()), 0);
        for entry in block {
            match entry {
                Entry::Wait(time) => world.wait(*time),
                Entry::Endpoint(address, conduct) => world.set_endpoint(address.clone(), *conduct),
                Entry::Exchange(spec) => {
                    let played = play(&mut world, spec, spec.count);
                    let sample = spec.expectations.iter().map(|(_, e)| e.sample()).max().unwrap_or(0);
                    let sample = if sample > 0 { play(&mut world, spec, sample).seen } else { Vec::new() };
                    for (line, expectation) in &spec.expectations {
                        checked += 1;
                        let missed = expectation.missed(spec, &played, &sample);
                        complaints.extend(missed.map(|what| format!("{line}: {}: {what}", case.title)));
                    }
                }
            }
        }
    }
    (checked, complaints)
}

/// Compares the errors with those that are expected. What an error says is its message and the line that it is about.
fn judge(expected: &[String], diagnostics: &[Diagnostic], sources: &[Source], case: &Case) -> Vec<String> {
    let line_of = |spot: &Spot| {
        let source = sources.iter().find(|source| source.name == spot.file)?;
        source.text.lines().nth((spot.line as usize).checked_sub(1)?)
    };
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let said = errors.map(|error| {
        let line = line_of(&error.primary).unwrap_or_default().trim();
        format!("{}: {}: `{line}`", error.primary, error.message)
    });
    let said: Vec<String> = said.collect();
    let at = |what: String| format!("{}: {}: {what}", case.line, case.title);
    if expected.is_empty() {
        return said.into_iter().map(at).collect();
    }
    let missing = expected.iter().filter(|words| !said.iter().any(|error| error.contains(words.as_str())));
    missing.map(|words| at(format!("no error says `{words}`, but: {said:?}"))).collect()
}

fn site(common: &Setup, own: &Setup) -> Site {
    let namespace = own.client.namespace.as_ref().or(common.client.namespace.as_ref());
    let usual = [("app", "order-service"), ("version", "v1")];
    let labels = match own.client.labels.as_ref().or(common.client.labels.as_ref()) {
        Some(labels) => labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
        None => usual.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
    };
    let namespace = namespace.map_or("demo", String::as_str).into();
    let locality = own.client.locality.as_ref().or(common.client.locality.as_ref());
    let locality = locality.map_or("", String::as_str).into();
    Site { workload: Workload { namespace, labels, locality, ..Workload::default() }, ..Site::default() }
}

fn sources(folder: &Path, file: &CaseFile, case: &Case) -> Vec<Source> {
    let usual = || vec![config().join("services.yaml").to_string_lossy().into_owned()];
    let loads = case.setup.loads.clone().or_else(|| file.common.loads.clone()).unwrap_or_else(usual);
    let replaced = |document: &Document| {
        document.title.is_some() && case.setup.documents.iter().any(|own| own.title == document.title)
    };
    let common = file.common.documents.iter().filter(|document| !replaced(document));
    let loaded = loads.iter().map(|name| {
        let path = folder.join(name);
        Source::new(name.as_str(), fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    });
    let written = common.chain(&case.setup.documents).enumerate();
    loaded
        .chain(written.map(|(index, document)| Source::new(format!("yaml {}", index + 1), document.text.clone())))
        .collect()
}
