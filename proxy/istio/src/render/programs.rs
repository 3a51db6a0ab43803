//! Diagnostics for programs: JSON, annotations of GitHub's workflows, SARIF.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Severity};
use crate::source::Spot;

/// Diagnostics as an array of objects: `code`, `ist` if there is one, `severity`, `message`, `file`, `line`, `column`, `resource`,
/// `labels`, `help` if there is any.
pub fn to_json(diagnostics: &[Diagnostic]) -> Value {
    diagnostics.iter().map(one).collect()
}

fn one(diagnostic: &Diagnostic) -> Value {
    let label = |(spot, text): &(Spot, String)| json!({"file": &*spot.file, "line": spot.line, "column": spot.column, "length": spot.len, "message": text});
    let mut object = json!({
        "code": diagnostic.code.to_string(),
        "severity": diagnostic.severity.name(),
        "message": diagnostic.message,
        "file": &*diagnostic.primary.file,
        "line": diagnostic.primary.line,
        "column": diagnostic.primary.column,
        "length": diagnostic.primary.len,
        "resource": &*diagnostic.resource,
        "labels": diagnostic.labels.iter().map(label).collect::<Vec<_>>(),
    });
    if let Some(ist) = diagnostic.ist {
        object["ist"] = ist.into();
    }
    if let Some(help) = &diagnostic.help {
        object["help"] = help.as_str().into();
    }
    object
}

/// Diagnostics as commands of a GitHub workflow, which shows them beside the lines they are about.
pub fn to_github(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let command = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let spot = &diagnostic.primary;
        let _ = write!(text, "::{command} file={}", property(&spot.file));
        if spot.line > 0 {
            let _ = write!(text, ",line={},col={},endColumn={}", spot.line, spot.column, spot.column + spot.len);
        }
        let help = diagnostic.help.iter().map(|help| format!("\nhelp: {help}"));
        let labels = diagnostic.labels.iter().map(|(spot, label)| format!("\n{spot}: {label}"));
        let message: String = std::iter::once(diagnostic.message.clone()).chain(labels).chain(help).collect();
        let _ = writeln!(text, ",title={}::{}", property(&diagnostic.code.to_string()), data(&message));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Diagnostics as a SARIF 2.1.0 log of one run. `version` is that of the program.
pub fn to_sarif(diagnostics: &[Diagnostic], version: &str) -> Value {
    let mut used: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    used.sort();
    used.dedup();
    let rules: Vec<Value> = codes::ALL
        .iter()
        .filter(|entry| used.contains(&entry.code))
        .map(|entry| {
            json!({
                "id": entry.code.to_string(),
                "shortDescription": {"text": entry.title},
                "fullDescription": {"text": entry.page},
            })
        })
        .collect();
    let results: Vec<Value> = diagnostics.iter().map(|diagnostic| result(diagnostic, &used)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "leeboard", "version": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(diagnostic: &Diagnostic, used: &[Code]) -> Value {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let message = match &diagnostic.help {
        Some(help) => format!("{}\nhelp: {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let related: Vec<Value> = diagnostic.labels.iter().map(|(spot, text)| location(spot, Some(text))).collect();
    let mut result = json!({
        "ruleId": diagnostic.code.to_string(),
        "level": level,
        "message": {"text": message},
        "locations": [location(&diagnostic.primary, None)],
        "properties": {"resource": &*diagnostic.resource},
    });
    if let Ok(index) = used.binary_search(&diagnostic.code) {
        result["ruleIndex"] = index.into();
    }
    if !related.is_empty() {
        result["relatedLocations"] = related.into();
    }
    if let Some(ist) = diagnostic.ist {
        result["properties"]["ist"] = ist.into();
    }
    result
}

fn location(spot: &Spot, message: Option<&str>) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(&spot.file)}});
    if spot.line > 0 {
        physical["region"] =
            json!({"startLine": spot.line, "startColumn": spot.column, "endColumn": spot.column + spot.len});
    }
    match message {
        Some(text) => json!({"physicalLocation": physical, "message": {"text": text}}),
        None => json!({"physicalLocation": physical}),
    }
}

/// A path as a relative URI.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn found() -> [Diagnostic; 2] {
        let resource: Arc<str> = "VirtualService demo/a".into();
        let at = |line, column| Spot { file: "a, b/c:1.yaml".into(), line, column, len: 3 };
        [
            Diagnostic::error(codes::UNKNOWN_SUBSET, &resource, &at(4, 7), "100 %\nwrong")
                .ist("IST0101")
                .label(&at(9, 1), "defined here")
                .help("write v1"),
            Diagnostic::new(Severity::Info, codes::PASSED_OVER, &resource, &Spot::file(&"x".into()), "passed"),
        ]
    }

    #[test]
    fn github_gets_one_line_each() {
        let wanted = "::error file=a%2C b/c%3A1.yaml,line=4,col=7,endColumn=10,title=L0302::100 %25%0Awrong%0A\
                      a, b/c:1.yaml:9:1: defined here%0Ahelp: write v1\n\
                      ::notice file=x,title=L0006::passed\n";
        assert_eq!(to_github(&found()), wanted);
    }

    #[test]
    fn sarif_names_rules_places_and_levels() {
        let log = to_sarif(&found(), "1.2.3");
        let run = &log["runs"][0];
        assert_eq!(log["version"], "2.1.0");
        assert_eq!(run["tool"]["driver"]["version"], "1.2.3");
        let first = &run["results"][0];
        assert_eq!((&first["ruleId"], &first["level"]), (&json!("L0302"), &json!("error")));
        assert_eq!(run["tool"]["driver"]["rules"][first["ruleIndex"].as_u64().unwrap() as usize]["id"], "L0302");
        let place = &first["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%2C%20b/c%3A1.yaml");
        assert_eq!(place["region"], json!({"startLine": 4, "startColumn": 7, "endColumn": 10}));
        assert_eq!(first["relatedLocations"][0]["message"]["text"], "defined here");
        assert_eq!(first["properties"]["ist"], "IST0101");
        assert_eq!(run["results"][1]["level"], "note");
        assert!(run["results"][1]["locations"][0]["physicalLocation"].get("region").is_none());
    }
}
