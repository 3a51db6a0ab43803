//! `leeboard test`: checks requests against the routes that tests expect for them.

mod judge;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use leeboard_istio::source::Source;
use leeboard_istio::{RouteTest, TestFile, render, route_tests};
use leeboard_policy::counted::counted;
use leeboard_policy::origin::Origin;
use leeboard_policy::snapshot::Snapshot;
use leeboard_sim::explain::Explanation;

use super::explain::Place;
use super::offline::{Endpoints, Offline};
use crate::config::files::is_route_test;
use crate::explain::question::RequestText;
use crate::host::exit::{COULD_NOT, DONE, FINDINGS};

/// The flags of `leeboard test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Files of tests, and folders that are searched for *.test.yaml.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Fail when a rule is reached by no test, too.
    #[arg(long, env = "LEEBOARD_ALL_RULES")]
    all_rules: bool,
    #[command(flatten)]
    place: Place,
}

/// How deep folders are searched.
const DEEPEST: usize = 32;

/// What came of all tests.
#[derive(Default)]
struct Results {
    passed: usize,
    failed: usize,
    /// Every rule that somebody wrote, by its place, and whether a test reached it.
    rules: BTreeMap<(String, u32, u32), (String, bool)>,
}

/// Tests and prints; the process' exit code: 0 when all hold, 1 when one does not, 2 when it could not be done.
pub(crate) fn run(args: &TestArgs, out: &mut dyn Write, complaints: &mut dyn Write) -> u8 {
    let mut results = Results::default();
    let tested = all(args, &mut results, out);
    let summed = tested.and_then(|()| results.sum_up(out).map_err(|error| error.to_string()));
    match summed {
        Err(complaint) => {
            // Where it goes may be closed already, and there is nobody else to tell.
            let _ = writeln!(complaints, "{}", complaint.trim_end());
            COULD_NOT
        }
        Ok(()) if results.failed > 0 || (args.all_rules && results.missed().next().is_some()) => FINDINGS,
        Ok(()) => DONE,
    }
}

fn all(args: &TestArgs, results: &mut Results, out: &mut dyn Write) -> Result<(), String> {
    let mut files = Vec::new();
    for path in &args.paths {
        gather(path, DEEPEST, true, &mut files).map_err(|error| format!("error: {}: {error}", path.display()))?;
    }
    if files.is_empty() {
        return Err("error: no file named *.test.yaml is there".into());
    }
    for path in &files {
        let text = fs::read_to_string(path).map_err(|error| format!("error: {}: {error}", path.display()))?;
        let source = Source::new(path.to_string_lossy(), text);
        let (file, wrong) = route_tests(&source);
        if !wrong.is_empty() {
            return Err(render(&wrong, &[source], false));
        }
        let offline = open(args, path, &file)?;
        results.expect_rules(offline.live.snapshot());
        for test in &file.tests {
            let told = explained(&offline, test)?;
            results.judge(test, &told, out).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The configuration that a file of tests is about.
fn open(args: &TestArgs, path: &Path, file: &TestFile) -> Result<Offline, String> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let config: Vec<PathBuf> = file.config.iter().map(|name| plain(&folder.join(&**name))).collect();
    let config = (!config.is_empty()).then_some(config.as_slice());
    let mut workload = args.place.workload();
    if let Some(namespace) = &file.namespace {
        workload.namespace = namespace.clone();
    }
    if !file.labels.is_empty() {
        workload.labels.clone_from(&file.labels);
    }
    args.place.open_at(config, workload, Endpoints::StandIn)
}

fn explained(offline: &Offline, test: &RouteTest) -> Result<Explanation, String> {
    let field =
        |(name, value): (&std::sync::Arc<str>, &std::sync::Arc<str>)| (name.to_string(), value.as_bytes().to_vec());
    let inquiry = RequestText {
        method: test.method.to_string(),
        url: test.url.to_string(),
        headers: test.headers.iter().map(field).collect(),
        seed: test.seed,
    };
    let question = inquiry.question().map_err(|words| format!("error: {}: {words}", test.spot))?;
    Ok(offline.explain(&question))
}

impl Results {
    fn expect_rules(&mut self, snapshot: &Snapshot) {
        for rule in snapshot.hosts().iter().flat_map(|host| host.routes.iter()) {
            // A service's own route was written by nobody.
            if rule.origin.resource.starts_with("VirtualService ") {
                let told = format!("{} of {}", rule.name, rule.origin.resource);
                self.rules.entry(place(&rule.origin)).or_insert((told, false));
            }
        }
    }

    fn judge(&mut self, test: &RouteTest, told: &Explanation, out: &mut dyn Write) -> io::Result<()> {
        if let Some((_, reached)) = told.rule.as_ref().and_then(|rule| self.rules.get_mut(&place(&rule.origin))) {
            *reached = true;
        }
        let missed = judge::missed(&test.expect, told);
        if missed.is_empty() {
            self.passed += 1;
            return writeln!(out, "ok    {}", test.name);
        }
        self.failed += 1;
        writeln!(out, "FAIL  {} ({})", test.name, test.spot)?;
        for what in missed {
            writeln!(out, "      {what}")?;
        }
        told.to_string().lines().try_for_each(|line| writeln!(out, "      | {line}"))
    }

    /// The rules that no test reached.
    fn missed(&self) -> impl Iterator<Item = String> {
        let missed = self.rules.iter().filter(|(_, (_, reached))| !reached);
        missed.map(|((file, line, column), (told, _))| format!("{told} ({file}:{line}:{column})"))
    }

    fn sum_up(&self, out: &mut dyn Write) -> io::Result<()> {
        let reached = self.rules.values().filter(|(_, reached)| *reached).count();
        writeln!(
            out,
            "{} passed, {} failed; {reached} of {} reached",
            self.passed,
            self.failed,
            counted(self.rules.len(), "rule")
        )?;
        self.missed().try_for_each(|rule| writeln!(out, "no test reaches {rule}"))
    }
}

fn place(origin: &Origin) -> (String, u32, u32) {
    (origin.file.to_string(), origin.line, origin.column)
}

/// A path without `..`, as far as it can be said without looking.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    // Nothing is left of the folder that one is in.
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

/// Files of tests at or below a path, by name.
fn gather(path: &Path, depth: usize, named: bool, into: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        if named || is_route_test(path) {
            into.push(path.to_owned());
        }
        return Ok(());
    }
    let mut below = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    below.sort();
    below.iter().filter(|_| depth > 0).try_for_each(|path| gather(path, depth - 1, false, into))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn tested(line: &str) -> (u8, String) {
        let line = format!("leeboard test {line}");
        let Verb::Test(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().verb else { panic!("test") };
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let code = run(&args, &mut out, &mut complaints);
        (code, [out, complaints].map(|text| String::from_utf8(text).unwrap()).concat())
    }

    #[test]
    fn paths_are_made_plain() {
        for (path, expected) in [
            (".", "."),
            ("", "."),
            ("a/..", "."),
            ("a/./b/../c", "a/c"),
            ("../a", "../a"),
            ("../../a", "../../a"),
            ("/a/..", "/"),
        ] {
            assert_eq!(plain(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn our_own_configuration_does_what_its_tests_say() {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
        let (code, out) = tested(&format!("{config} --all-rules"));
        assert_eq!(code, DONE, "{out}");
        assert!(out.contains(" 0 failed"), "{out}");
    }

    #[test]
    fn routes_are_tested_without_their_endpoints() {
        let folder = tempfile::tempdir().unwrap();
        let config = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: demo}\nspec: {ports: [{name: http, port: 80}]}\n---\n\
                      apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: demo}\nspec: {host: a, \
                      subsets: [{name: v1, labels: {version: v1}}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                      metadata: {name: a, namespace: demo}\nspec: {hosts: [a], http: [{route: [{destination: {host: a, subset: v1}}], \
                      rewrite: {uri: /b}, timeout: 2s}]}\n";
        fs::write(folder.path().join("a.yaml"), config).unwrap();
        let test = "namespace: demo\nconfig: [.]\ntests:\n- request: {url: http://a/x}\n  expect: {subset: v1, path: /bx, timeout: 2s}\n";
        fs::write(folder.path().join("a.test.yaml"), test).unwrap();
        let (code, out) = tested(&folder.path().display().to_string());
        assert_eq!(code, DONE, "{out}");
    }

    #[test]
    fn what_does_not_hold_fails_with_its_explanation() {
        let folder = tempfile::tempdir().unwrap();
        let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  hosts: [a.test]\n  \
                     resolution: DNS\n  ports: [{number: 80, name: http, protocol: HTTP}]\n---\n";
        let routes = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a.test]\n  \
                      http:\n  - name: api\n    match: [{uri: {prefix: /api/}}]\n    rewrite: {uri: /}\n    \
                      headers: {response: {set: {x-told: \"1\"}, remove: [server]}}\n    \
                      route: [{destination: {host: a.test}}]\n  - name: rest\n    route: [{destination: {host: a.test}}]\n";
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.yaml"), format!("{entry}{routes}")).unwrap();
        #[rustfmt::skip]
        let table = [
            ("{rule: api, path: /users, host: a.test}", "", DONE, "ok    a"),
            ("{rule: api, path: /users, host: a.test}", "--all-rules", FINDINGS, "no test reaches rest of VirtualService default/a"),
            ("{rule: rest}", "", FINDINGS, "rule is api, not rest"),
            ("{path: /api}", "", FINDINGS, "> 1 api"),
            ("{responseHeaders: {X-Told: '1'}, noResponseHeaders: [server]}", "", DONE, "ok    a"),
            ("{responseHeaders: {x-told: '2'}}", "", FINDINGS, "response header x-told is 1, not 2"),
            ("{noResponseHeaders: [x-told]}", "", FINDINGS, "response header x-told is given: 1"),
            ("{noResponseHeaders: [via]}", "", FINDINGS, "response header via is not removed from what an endpoint gives"),
            ("{pfad: /api}", "", COULD_NOT, "unknown field `pfad`"),
        ];
        for (expect, flags, code, words) in table {
            let test = format!("tests:\n- name: a\n  request: {{url: http://a.test/api/users}}\n  expect: {expect}\n");
            fs::write(at("a.test.yaml"), test).unwrap();
            let (found, out) = tested(&format!("{0} --config {0} {flags}", folder.path().display()));
            assert_eq!(found, code, "{expect}: {out}");
            assert!(out.contains(words), "{expect}: {out}");
        }
        assert_eq!(tested(&format!("{} --config x", at("none").display())).0, COULD_NOT);
    }
}
