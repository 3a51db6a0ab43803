//! The harness as a whole: a short run against the built-in peers, refusals, and Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const WIRE: &str = env!("CARGO_BIN_EXE_leeboard-wire");

fn wire(line: &str) -> Output {
    Command::new(WIRE).args(line.split_whitespace()).output().expect("the harness starts")
}

/// The folder of a harness with this process id.
fn scratch(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("leeboard-wire-{pid}"))
}

/// Processes that work in a folder: every child of the harness does.
fn processes_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir("/proc")
        .expect("a mounted /proc")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .collect()
}

#[test]
fn a_short_run_measures_the_built_in_peers() {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("run.json");
    let output = wire(&format!(
        "--peers direct,relay,haproxy --haproxy /nonexistent/haproxy --rounds 2 --seconds 0.2 --warmup 0.05 --rate 200 \
         --connections 4 --json {}",
        json.display()
    ));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("skipped haproxy: not installed"), "{text}");

    let document: Value = serde_json::from_slice(&fs::read(&json).expect("written")).expect("JSON");
    for (index, name) in ["direct", "relay"].into_iter().enumerate() {
        let peer = &document["peers"][index];
        assert_eq!(peer["name"], name);
        assert_eq!(peer["rounds"].as_array().map(Vec::len), Some(2));
        let medians = &peer["medians"];
        assert!(medians["rps"].as_f64() > Some(0.0), "{peer}");
        assert!(medians["open_p50_us"].as_f64() > Some(0.0), "{peer}");
        assert_eq!(medians["errors"], 0.0, "{peer}");
    }
    assert_eq!(document["peers"][0]["medians"].get("cpu_us"), None);
    assert!(document["peers"][1]["medians"]["rss_idle_mib"].as_f64() > Some(0.0));
}

#[test]
fn every_suite_of_the_built_in_relay_runs_without_errors() {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("suites.json");
    for (suite, figure) in [("h2", "grpc_rps"), ("bodies", "up_large_rate"), ("churn", "rps")] {
        let output = wire(&format!(
            "--suite {suite} --peers relay --rounds 1 --seconds 0.2 --warmup 0.05 --rate 200 --connections 4 \
             --large 5000000 --json {}",
            json.display()
        ));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{suite}: {errors}");
        let document: Value = serde_json::from_slice(&fs::read(&json).expect("written")).expect("JSON");
        let medians = &document["peers"][0]["medians"];
        assert!(medians[figure].as_f64() > Some(0.0), "{suite}: {document}");
        assert_eq!(medians["errors"], 0.0, "{suite}: {document}");
    }
}

#[test]
fn what_a_peer_cannot_do_is_said_and_is_no_failure() {
    for (suite, reason) in [("tls", "does not terminate TLS"), ("routes", "has no routes"), ("scale", "has one thread")]
    {
        let output = wire(&format!("--suite {suite} --peers relay --rounds 1 --seconds 0.1 --warmup 0 --rate 100"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{suite}: {text}");
        let line = text.lines().find(|line| line.starts_with("skipped relay: ")).unwrap_or_default();
        assert!(line.contains(reason), "{suite}: {text}");
    }
}

#[test]
fn what_is_unknown_is_refused_with_the_list() {
    for (line, message) in [
        ("--suite h9", "there is no suite `h9`; there are: h1"),
        ("--peers squid", "there is no peer `squid`; there are: direct, relay, leeboard,"),
        ("--rate 1e9", "--rate must be between 1 and 200000"),
    ] {
        let output = wire(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(message), "{line}: {errors}");
    }
}

#[test]
fn ctrl_c_prints_what_there_is_and_leaves_nothing_running() {
    let mut harness = Command::new(WIRE)
        .args(["--peers", "relay", "--rounds", "1000", "--seconds", "0.1", "--warmup", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the harness starts");
    let folder = scratch(harness.id());
    let mut lines = BufReader::new(harness.stderr.take().expect("piped")).lines();
    let first = lines.next().expect("a round").expect("text");
    assert!(first.starts_with("round 1/1000 relay: "), "{first}");
    assert!(!processes_in(&folder).is_empty(), "the upstream runs");

    kill(Pid::from_raw(harness.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let output = harness.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| relay "), "what was measured is printed: {text}");
    assert_eq!(processes_in(&folder), Vec::<PathBuf>::new());
    assert!(!folder.exists());
}
