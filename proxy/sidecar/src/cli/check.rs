//! `leeboard check`: reports every mistake of a configuration in one run.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use leeboard_istio::check::{Checked, check};
use leeboard_istio::codes;
use leeboard_istio::compile::Site;
use leeboard_istio::diagnostic::{Diagnostic, Severity, first_of_each};
use leeboard_istio::source::Source;
use leeboard_istio::{render, to_github, to_json, to_sarif};
use leeboard_policy::cluster::Workload;
use leeboard_policy::counted::counted;

use super::colour::Colour;
use super::files::FileArgs;
use super::fix::{self, Fixed, mended};
use super::version::VERSION;
use crate::config::files::Files;
use crate::config::update::LoadedFiles;
use crate::host::exit::{COULD_NOT, DONE, FINDINGS};

/// The flags of `leeboard check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Files, and folders that are searched for *.yaml, *.yml and *.json; `-` is standard input.
    #[arg(value_name = "PATH", default_value = "config")]
    paths: Vec<PathBuf>,
    /// Puts right what is certain, in the files, and shows what changes.
    #[arg(long, env = "LEEBOARD_FIX", value_parser = BoolishValueParser::new())]
    fix: bool,
    /// When what is printed is coloured.
    #[arg(long, env = "LEEBOARD_COLOR", value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    color: Colour,
    /// How mistakes are printed.
    #[arg(long, env = "LEEBOARD_FORMAT", value_enum, default_value_t = Format::Human)]
    format: Format,
    /// What fails the check besides errors.
    #[arg(long, env = "LEEBOARD_DENY", value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
    /// How many mistakes of a kind are printed; 0 is all of them.
    #[arg(long, env = "LEEBOARD_MOST", value_name = "N", default_value_t = 100)]
    most: usize,
    /// The namespace of objects that name none.
    #[arg(long, env = "LEEBOARD_NAMESPACE", value_name = "NS", default_value = "default")]
    namespace: String,
    /// A file with Istio's MeshConfig: settings of the whole mesh.
    #[arg(long, env = "LEEBOARD_MESH_CONFIG", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// The end of every cluster service's name.
    #[arg(long, env = "LEEBOARD_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    #[command(flatten)]
    files: FileArgs,
}

/// How mistakes are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// As a compiler does, with the lines they are on.
    Human,
    /// An array of objects.
    Json,
    /// Annotations of a GitHub workflow.
    Github,
    /// SARIF 2.1.0, which code scanners exchange.
    Sarif,
}

/// What fails the check besides errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Deny {
    /// Warnings, too.
    Warnings,
}

/// Checks and prints; the process' exit code: 0 when all is well, 1 when something is to be mended, 2 when it could not be done.
pub(crate) fn run(args: &CheckArgs, out: &mut dyn Write, complaints: &mut dyn Write) -> u8 {
    let mut reading = match read(args) {
        Ok(reading) => reading,
        Err(complaint) => {
            let _ = complaints.write_all(complaint.as_bytes());
            return COULD_NOT;
        }
    };
    let site = Site {
        workload: Workload { namespace: args.namespace.as_str().into(), ..Workload::default() },
        cluster_domain: args.cluster_domain.as_str().into(),
        ..Site::default()
    };
    let mut checked = check(&reading.sources, &site);
    let mut printed = Ok(());
    if args.fix {
        let mended = mended(&checked.diagnostics, &reading.sources);
        if let Err(complaint) = fix::write(&mended) {
            let _ = writeln!(complaints, "{complaint}");
            return COULD_NOT;
        }
        printed = tell_mended(args, &mended, out, complaints);
        for mended in mended {
            let source = reading.sources.iter_mut().find(|source| source.name == mended.file);
            source.into_iter().for_each(|source| source.text = mended.text.as_str().into());
        }
        checked = check(&reading.sources, &site);
    }
    // Where it goes may be closed already, for who reads has seen enough: the verdict is the same.
    let _ = printed.and_then(|()| print(args, &checked, &reading, out, complaints));
    verdict(&checked.diagnostics, args.deny)
}

/// Reads what is named.
///
/// # Errors
/// In words, when something cannot be read, or nothing is there.
fn read(args: &CheckArgs) -> Result<LoadedFiles, String> {
    let stdin = |path: &&PathBuf| path.as_os_str() == "-";
    let paths: Vec<PathBuf> = args.paths.iter().filter(|path| !stdin(path)).cloned().collect();
    let files = Files::new(paths).with_mesh(args.mesh_config.clone()).within(args.files.most());
    let mut reading = files.with_pipes().read().unwrap_or_default();
    if !reading.complaints.is_empty() {
        return Err(render(&reading.complaints, &reading.sources, false));
    }
    if args.paths.iter().any(|path| stdin(&path)) {
        if args.fix {
            return Err("error: standard input cannot be put right: name files\n".into());
        }
        let mut text = String::new();
        let most = args.files.most().file_bytes as u64;
        let count = io::stdin().take(most.saturating_add(1)).read_to_string(&mut text);
        let count = count.map_err(|error| format!("error: standard input cannot be read: {error}\n"))?;
        if count as u64 > most {
            return Err(format!("error: standard input has more than {most} bytes (--max-config-file-bytes)\n"));
        }
        reading.sources.push(Source::new(STDIN, text));
    }
    if reading.sources.iter().all(|source| source.mesh) {
        let named = args.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(format!("error: nothing to check: no *.yaml, *.yml or *.json file in {named}\n"));
    }
    Ok(reading)
}

/// What standard input is called in complaints.
const STDIN: &str = "(standard input)";

/// Shows what was put right.
fn tell_mended(args: &CheckArgs, all: &[Fixed], out: &mut dyn Write, complaints: &mut dyn Write) -> io::Result<()> {
    let count: usize = all.iter().map(|mended| mended.count).sum();
    for mended in all.iter().filter(|_| args.format == Format::Human) {
        out.write_all(mended.diff.as_bytes())?;
    }
    let files = counted(all.len(), "file");
    writeln!(complaints, "{} put right in {files}", counted(count, "mistake"))
}

fn verdict(diagnostics: &[Diagnostic], deny: Option<Deny>) -> u8 {
    let worst = diagnostics.iter().map(|diagnostic| diagnostic.severity).min();
    match worst {
        Some(Severity::Error) => FINDINGS,
        Some(Severity::Warning) if deny == Some(Deny::Warnings) => FINDINGS,
        _ => DONE,
    }
}

fn print(
    args: &CheckArgs,
    checked: &Checked,
    reading: &LoadedFiles,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<()> {
    let (diagnostics, more) = first_of_each(&checked.diagnostics, args.most);
    match args.format {
        Format::Human => {
            // For people what is worst comes first, and of warnings what is not protected.
            let mut diagnostics = diagnostics;
            diagnostics.sort_by_key(|told| (told.severity, told.code != codes::UNPROTECTED));
            out.write_all(render(&diagnostics, &reading.sources, args.color.is_on()).as_bytes())?;
        }
        Format::Json => writeln!(out, "{:#}", to_json(&diagnostics))?,
        Format::Github => out.write_all(to_github(&diagnostics).as_bytes())?,
        Format::Sarif => writeln!(out, "{:#}", to_sarif(&diagnostics, VERSION))?,
    }
    for (code, count) in more {
        writeln!(complaints, "and {count} more of {code}, {}: `--most 0` prints them all", code.title())?;
    }
    if args.format == Format::Human {
        writeln!(complaints, "{}", summary(checked, reading.sources.len()))?;
    }
    Ok(())
}

fn summary(checked: &Checked, files: usize) -> String {
    let count = |severity| checked.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let looked_at = format!("{} in {}", counted(checked.objects, "object"), counted(files, "file"));
    if errors + warnings == 0 {
        return format!("{looked_at}: all is well");
    }
    let first = checked.diagnostics.iter().min_by_key(|diagnostic| diagnostic.severity);
    let about = first.map_or_else(String::new, |first| format!("; `leeboard help {}` says more", first.code));
    format!("{looked_at}: {}, {}{about}", counted(errors, "error"), counted(warnings, "warning"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    const GOOD: &str = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  \
                        hosts: [a.example.com]\n  resolution: DNS\n  ports: [{number: 80, name: http, protocol: HTTP}]\n";
    const WARNING: &str = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec:\n  \
                           host: b.example.com\n";
    const ERROR: &str =
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: b}\nspec: {}\n";

    fn checked(line: &str, text: &str) -> (u8, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, text).unwrap();
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let line = line.replace("FILE", file.to_str().unwrap()).replace("EMPTY", empty.to_str().unwrap());
        let line = format!("leeboard check {line}");
        let Verb::Check(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().verb else { panic!("check") };
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let code = run(&args, &mut out, &mut complaints);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(complaints).unwrap())
    }

    #[test]
    fn exit_codes() {
        let warned = [GOOD, WARNING].concat();
        let failed = [GOOD, WARNING, ERROR].concat();
        for (line, text, code) in [
            ("FILE", GOOD, DONE),
            ("FILE --deny warnings", GOOD, DONE),
            ("FILE", &*warned, DONE),
            ("FILE --deny warnings", &*warned, FINDINGS),
            ("FILE", &*failed, FINDINGS),
            ("FILE --format json", &*failed, FINDINGS),
            ("/no/such/folder", GOOD, COULD_NOT),
            ("FILE --fix", &*failed, FINDINGS),
            ("EMPTY", GOOD, COULD_NOT),
            ("EMPTY FILE", GOOD, DONE),
            ("FILE /no/such/folder", GOOD, COULD_NOT),
        ] {
            let (found, out, complaints) = checked(line, text);
            assert_eq!(found, code, "{line}: {out}{complaints}");
        }
    }

    #[test]
    fn every_format_tells_of_every_mistake() {
        let failed = [GOOD, WARNING, ERROR].concat();
        let (_, out, complaints) = checked("FILE", &failed);
        assert!(out.contains("error[L0103]") && out.contains("warning[L0301, IST0174]"), "{out}");
        assert!(complaints.contains("3 objects in 1 file: 1 error, 1 warning; `leeboard help L0103`"), "{complaints}");
        let (_, out, _) = checked("FILE --format json", &failed);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json.as_array().map(Vec::len), Some(2));
        let (_, out, _) = checked("FILE --format github", &failed);
        assert_eq!(out.lines().filter(|line| line.starts_with("::")).count(), 2, "{out}");
        let (_, out, _) = checked("FILE --format sarif", &failed);
        let sarif: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn one_mistake_a_thousand_times_is_told_a_hundred_times() {
        let wrong: String = (0..1_000).map(|n| ERROR.replace("name: b", &format!("name: b{n}"))).collect();
        let (code, out, complaints) = checked("FILE", &wrong);
        assert_eq!((code, out.matches("error[L0103]").count()), (FINDINGS, 100));
        assert!(complaints.contains("and 900 more of L0103") && complaints.contains("1000 errors"), "{complaints}");
        let (_, out, complaints) = checked("FILE --most 0", &wrong);
        assert_eq!(out.matches("error[L0103]").count(), 1_000);
        assert!(!complaints.contains("more of"), "{complaints}");
        let (_, out, _) = checked("FILE --most 7 --format json", &wrong);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json.as_array().map(Vec::len), Some(7));
        let fields: String = (0..5_000).map(|n| format!("  field{n}: 1\n")).collect();
        let (_, out, complaints) = checked("FILE", &[GOOD, &fields].concat());
        assert_eq!(out.matches("unknown field").count(), 100, "{complaints}");
        assert!(complaints.contains("and 901 more of"), "of one object a thousand are kept: {complaints}");
    }

    /// A reader that has seen enough.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_changes_no_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        for (text, code) in [(GOOD.to_owned(), DONE), ([GOOD, ERROR].concat(), FINDINGS)] {
            fs::write(&file, &text).unwrap();
            for format in ["human", "json", "github", "sarif"] {
                let line = ["leeboard", "check", "--format", format, file.to_str().unwrap()];
                let Verb::Check(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("check") };
                let mut complaints = Vec::new();
                assert_eq!(run(&args, &mut Closed, &mut complaints), code, "{format}");
            }
        }
    }

    #[test]
    fn what_is_certain_is_put_right_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let wrong = [
            GOOD,
            &WARNING.replace(
                "host: b.example.com",
                "host: a.example.com\n  trafficPolicy: {loadBalancer: {simple: random}}",
            ),
        ]
        .concat();
        fs::write(&file, &wrong).unwrap();
        let line = ["leeboard", "check", "--fix", file.to_str().unwrap()];
        let Verb::Check(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("check") };
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        assert_eq!(run(&args, &mut out, &mut complaints), DONE);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("-  trafficPolicy: {loadBalancer: {simple: random}}\n+  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n"), "{out}");
        assert!(String::from_utf8(complaints).unwrap().starts_with("1 mistake put right in 1 file\n"));
        assert_eq!(fs::read_to_string(&file).unwrap(), wrong.replace("random", "RANDOM"));
    }

    #[test]
    fn what_is_worst_comes_first() {
        let policy = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\n";
        let (code, out, _) = checked("FILE", &[GOOD, WARNING, policy, ERROR].concat());
        let places = ["error[L0103]", "warning[L0405]", "warning[L0301"].map(|code| out.find(code).unwrap());
        assert!(code == FINDINGS && places.is_sorted(), "{out}");
    }

    #[test]
    fn lines_that_are_refused() {
        for line in ["FILE --color sometimes", "FILE --format xml", "FILE --deny infos"] {
            let line = format!("leeboard check {line}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
