//! Reads a file of cases: Markdown whose `yaml` and `case` blocks mean something. `config/cases/README.md` has the notation.

use leeboard_policy::time::Span;

use crate::exchanges::{self, Entry};

/// A file of cases.
#[derive(Debug, Default)]
pub(crate) struct CaseFile {
    /// What stands before the first case, for all of them.
    pub(crate) common: Setup,
    /// The cases, in order.
    pub(crate) cases: Vec<Case>,
}

/// What a configuration and its caller are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Files to start from, as they are written; `None` when nothing is said.
    pub(crate) loads: Option<Vec<String>>,
    /// Namespace, labels and locality of the caller, as they are written.
    pub(crate) client: Client,
    /// Documents, in order.
    pub(crate) documents: Vec<Document>,
    /// What diagnostics must say; without any, there must be no errors.
    pub(crate) errors: Vec<String>,
}

/// Who is asking; `None` is what is said elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// `namespace=`.
    pub(crate) namespace: Option<String>,
    /// `locality=`.
    pub(crate) locality: Option<String>,
    /// `labels=`.
    pub(crate) labels: Option<Vec<(String, String)>>,
}

/// YAML of a case.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// `KIND NAME` of a block that holds a `spec` only: a later one stands in for an earlier.
    pub(crate) title: Option<String>,
    /// Whole documents.
    pub(crate) text: String,
}

/// One case.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// Its heading.
    pub(crate) title: String,
    /// Its line.
    pub(crate) line: usize,
    /// Its own configuration.
    pub(crate) setup: Setup,
    /// Its `case` blocks.
    pub(crate) blocks: Vec<Vec<Entry>>,
}

/// Something in a file that is not the notation.
pub(crate) type Misread = (usize, String);

/// Reads a file of cases, or says in which line it is not one.
pub(crate) fn read(text: &str) -> Result<CaseFile, Misread> {
    let mut file = CaseFile::default();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            file.cases.push(Case { title: title.into(), line: number, ..Case::default() });
        } else if let Some(info) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
            take_block(&mut file, number, info, &block)?;
        } else {
            let setup = file.cases.last_mut().map_or(&mut file.common, |case| &mut case.setup);
            take_line(setup, number, line)?;
        }
    }
    Ok(file)
}

fn take_block(file: &mut CaseFile, number: usize, info: &str, block: &[(usize, &str)]) -> Result<(), Misread> {
    let case = file.cases.last_mut();
    match (info.split(' ').collect::<Vec<_>>().as_slice(), case) {
        (["case"], Some(case)) => case.blocks.push(exchanges::read(block)?),
        (["yaml", rest @ ..], case) => {
            let setup = case.map_or(&mut file.common, |case| &mut case.setup);
            let body: Vec<&str> = block.iter().map(|(_, line)| *line).collect();
            setup.documents.push(match rest {
                [] => Document { title: None, text: body.join("\n") + "\n" },
                [kind, name, notes @ ..] => {
                    let pairs = notes.iter().map(|note| note.split_once('='));
                    let misread = || (number, format!("an annotation is `name=value`: `{info}`"));
                    let notes = pairs.collect::<Option<Vec<_>>>().ok_or_else(misread)?;
                    let text = envelope(kind, name, &notes, &body);
                    Document { title: Some(format!("{kind} {name}")), text }
                }
                _ => return Err((number, format!("a yaml block is `yaml` or `yaml KIND NAME`, not `{info}`"))),
            });
        }
        ([""], _) => {}
        (_, _) => return Err((number, format!("no block is called `{info}` here"))),
    }
    Ok(())
}

/// The whole document around a `spec`.
fn envelope(kind: &str, name: &str, notes: &[(&str, &str)], body: &[&str]) -> String {
    let (name, namespace) = name.split_once('.').unwrap_or((name, "demo"));
    let missing = |field: &str| !body.iter().any(|line| line.starts_with(field));
    let own = match kind {
        "VirtualService" if missing("hosts:") => format!("  hosts: [{name}]\n"),
        "DestinationRule" if missing("host:") => format!("  host: {name}\n"),
        _ => String::new(),
    };
    let notes: String = notes.iter().map(|(key, value)| format!("    {key}: \"{value}\"\n")).collect();
    let notes = if notes.is_empty() { notes } else { format!("  annotations:\n{notes}") };
    let spec: String = body.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\n\
         metadata:\n  name: {name}\n  namespace: {namespace}\n{notes}spec:\n{own}{spec}"
    )
}

fn take_line(setup: &mut Setup, number: usize, line: &str) -> Result<(), Misread> {
    if let Some(files) = line.strip_prefix("Loads ") {
        setup.loads = Some(files.split('`').skip(1).step_by(2).map(str::to_owned).collect());
    } else if let Some(text) = line.strip_prefix("Errors: ") {
        setup.errors.push(text.into());
    } else if let Some(facts) = line.strip_prefix("Client ") {
        for fact in facts.split(' ') {
            match fact.split_once('=') {
                Some(("namespace", namespace)) => setup.client.namespace = Some(namespace.into()),
                Some(("labels", labels)) => setup.client.labels = Some(read_labels(number, labels)?),
                Some(("locality", locality)) => setup.client.locality = Some(locality.into()),
                _ => {
                    return Err((
                        number,
                        format!("a client has `namespace=`, `labels=` and `locality=`, not `{fact}`"),
                    ));
                }
            }
        }
    }
    Ok(())
}

fn read_labels(number: usize, labels: &str) -> Result<Vec<(String, String)>, Misread> {
    let pair = |label: &str| label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    labels.split(',').map(|label| pair(label).ok_or((number, format!("`{label}` is no label")))).collect()
}

/// A time as it is written: a number and `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Option<Span> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Span::from_millis(number * milliseconds))
}
