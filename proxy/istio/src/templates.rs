//! Files that are no configuration yet: Helm's templates, and what kustomize lays over other files. One word of advice takes
//! the place of all that is wrong with them as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Source, Spot};
use crate::yaml::{self, Node, Value};

/// What a file turns out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Helm,
    Patch,
}

/// Leaves one error of each template and patch in which there are any.
pub(crate) fn sum_up(sources: &[Source], diagnostics: &mut Vec<Diagnostic>) {
    let wrong = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let wrong: BTreeSet<&str> = wrong.map(|diagnostic| &*diagnostic.primary.file).collect();
    if wrong.is_empty() {
        return;
    }
    let patches = patches(sources);
    let mut forms: BTreeMap<Arc<str>, (Form, Spot)> = BTreeMap::new();
    for source in sources.iter().filter(|source| wrong.contains(&*source.name)) {
        if let Some(found) = form(source, &patches) {
            forms.insert(source.name.clone(), found);
        }
    }
    if forms.is_empty() {
        return;
    }
    diagnostics.retain(|diagnostic| !forms.contains_key(&diagnostic.primary.file));
    for (form, spot) in forms.into_values() {
        let (message, help) = match form {
            Form::Helm => (
                "this is a template, and not rendered yet",
                "render it first: `helm template CHART | leeboard check -`",
            ),
            Form::Patch => (
                "this is a patch, which means nothing by itself",
                "apply it first: `kubectl kustomize FOLDER | leeboard check -`",
            ),
        };
        diagnostics.push(Diagnostic::error(codes::TEMPLATE, &"".into(), &spot, message).help(help));
    }
}

/// What a file with errors is, and where that shows.
fn form(source: &Source, patches: &BTreeSet<PathBuf>) -> Option<(Form, Spot)> {
    let mut lines = source.text.lines().zip(1u32..);
    let shows = lines.find_map(|(line, number)| {
        let indent = line.chars().take_while(|letter| *letter == ' ').count() as u32;
        let len = line.trim().chars().count().max(1) as u32;
        let spot = Spot { file: source.name.clone(), line: number, column: indent + 1, len };
        if is_action(line) {
            return Some((Form::Helm, spot));
        }
        let patch = line.trim_start_matches([' ', '-', '{']).starts_with("$patch:");
        patch.then_some((Form::Patch, spot))
    });
    let named = || patches.contains(&plain(Path::new(&*source.name)));
    shows.or_else(|| named().then(|| (Form::Patch, Spot::file(&source.name))))
}

/// Whether a line holds an action of Go's templates outside of quotes: other tools have their own words in quoted braces.
fn is_action(line: &str) -> bool {
    let text = line.trim_start();
    let Some((before, inside)) = text.split_once("{{") else { return false };
    !text.starts_with('#')
        && (inside.contains("}}") || before.is_empty())
        && !before.contains('#')
        && (before.is_empty() || before.matches(['"', '\'']).count() % 2 == 0)
}

/// The files that some kustomization lays over others.
fn patches(sources: &[Source]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for source in sources {
        let name = Path::new(&*source.name);
        let is_one = name.file_stem().is_some_and(|stem| stem == "kustomization");
        if !is_one && !source.text.contains("kind: Kustomization") {
            continue;
        }
        let folder = name.parent().unwrap_or(Path::new(""));
        yaml::parse(&source.text, |document| {
            for list in ["patches", "patchesStrategicMerge", "patchesJson6902"] {
                let Some(Value::Seq(items)) = document.root.get(list).map(|node| &node.value) else { continue };
                let path =
                    |node: &Node| node.raw().or_else(|| node.get("path")?.raw()).map(|path| plain(&folder.join(path)));
                found.extend(items.iter().filter_map(path));
            }
        });
    }
    found
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if found.file_name().is_some() => _ = found.pop(),
            part => found.push(part),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    const GOOD: &str =
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a}\n";

    #[test]
    fn one_hint_takes_the_place_of_a_flood() {
        let body =
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: @\nspec:\n  hosts: [a]\n";
        let table = [
            ("a.yaml", format!("{{{{- if .Values.on }}}}\n{body}{{{{- end }}}}\n"), Some((Form::Helm, 1))),
            ("a.yaml", body.replace('@', "{{ .Values.name }}"), Some((Form::Helm, 4))),
            ("a.yaml", body.replace('@', "x-{{ .Release.Name }}"), Some((Form::Helm, 4))),
            ("a.yaml", format!("{}$patch: delete\n", body.replace('@', "x")), Some((Form::Patch, 7))),
            ("over/p.yaml", body.replace('@', "x"), Some((Form::Patch, 0))),
            ("over/q.yaml", body.replace('@', "x"), None),
            ("a.yaml", body.replace('@', "x # {{ no }}"), None),
            (
                "a.yaml",
                format!("{}  http: [{{match: [{{uri: {{exact: '{{{{x}}}}'}}}}]}}]\n", body.replace('@', "x")),
                None,
            ),
        ];
        let over = "kind: Kustomization\npatches: [{path: ./p.yaml}]\npatchesStrategicMerge: [../a.yaml]\n";
        for (name, text, wanted) in table {
            let over = if name == "a.yaml" { over.replace("../a.yaml", "b.yaml") } else { over.into() };
            let sources = [
                Source::new(name, &*text),
                Source::new("good.yaml", GOOD),
                Source::new("over/kustomization.yaml", &*over),
            ];
            let loaded = load(&sources);
            let errors: Vec<_> = loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
            let hints = errors.iter().filter(|d| d.code == codes::TEMPLATE).count();
            match wanted {
                Some((_, line)) => {
                    assert_eq!((errors.len(), hints), (1, 1), "{text}: {errors:?}");
                    assert_eq!(errors[0].primary.line, line, "{text}");
                }
                None => assert!(hints == 0 && !errors.is_empty(), "{text}: {errors:?}"),
            }
            assert_eq!(loaded.resources.destination_rules.len(), 1, "{text}");
        }
        let sources = [Source::new("a.yaml", GOOD.replace("name: a", "name: a, annotations: {x: '{{y}}'}"))];
        assert_eq!(load(&sources).diagnostics, [], "what is in order is no template");
    }
}
