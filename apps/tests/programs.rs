//! The two programs from outside: how they start, how they refuse, how they end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const APPS: &str = env!("CARGO_BIN_EXE_leeboard-apps");
const DEMO: &str = env!("CARGO_BIN_EXE_demo");

/// Runs a program to its end with a clean environment and these variables.
fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("Cargo has built the program")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[test]
fn what_cannot_be_understood_is_said_and_ends_with_2() {
    for (program, arguments, variables, words) in [
        (APPS, vec![], vec![], "usage: leeboard-apps SERVICE"),
        (APPS, vec!["mail-service"], vec![], "api-gateway"),
        (APPS, vec!["api-gateway"], vec![("PORT", "x")], "PORT: `x` is not a number"),
        (APPS, vec!["api-gateway"], vec![("LOG_LEVEL", "loud"), ("PORT", "0")], "api-gateway:"),
        (APPS, vec!["user-service"], vec![("DATABASE_URL", "mysql://h/d")], "DATABASE_URL must begin with"),
        (DEMO, vec!["--no-build", "--config", "/nowhere/at/all"], vec![], "demo: "),
        (DEMO, vec!["--only", "canary"], vec![], "--check"),
        (DEMO, vec!["--tether", "1"], vec![], "needs a process id and a program"),
    ] {
        let output = run(program, &arguments, &variables);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?} {variables:?}: {}", said(&output));
    }
}

#[test]
fn a_service_logs_json_lines_and_ends_well_when_told_to() {
    let mut service = Command::new(APPS)
        .arg("api-gateway")
        .env_clear()
        .envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("SERVICE_INSTANCE", "g-1")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let listening: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&listening["message"], &listening["instance"]), (&"listening".into(), &"g-1".into()));
    assert!(listening["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{listening}");
    kill(Pid::from_raw(service.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let last: serde_json::Value = serde_json::from_str(&lines.last().unwrap().unwrap()).unwrap();
    assert_eq!(last["message"], "stopped");
    assert_eq!(service.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tethered_child_becomes_the_program_and_needs_its_parent() {
    let own = std::process::id().to_string();
    let output = run(DEMO, &["--tether", &own, "/bin/sh", "-c", "echo became; exit 7"], &[]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(7), "became\n"));
    let output = run(DEMO, &["--tether", "999999999", "/bin/sh", "-c", "echo became"], &[]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(2), "the parent is gone\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_tethered_child_does_not_outlive_its_parent() {
    let began = Instant::now();
    // The shell is the parent: it ends as soon as its child has spoken, and would leave it behind for a minute.
    let script = r#""$DEMO" --tether $$ /bin/sh -c 'echo ready; exec sleep 60' > "$PIPE" & read word < "$PIPE"; echo "$word"; kill -9 $$"#;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script])
        .env("DEMO", DEMO)
        .env("PIPE", &pipe)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut spoken, mut errors) = (String::new(), String::new());
    shell.stdout.take().unwrap().read_to_string(&mut spoken).unwrap();
    // The child inherited this pipe: it closes when the last of both is gone.
    shell.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((spoken.as_str(), errors.as_str()), ("ready\n", ""));
    assert!(began.elapsed() < Duration::from_secs(30), "the child outlived its parent");
    shell.wait().unwrap();
}
