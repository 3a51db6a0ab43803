//! `cargo demo`: all services as processes on 127.0.0.1, each with its own Leeboard, and something to look at.
//!
//! With `--check` it is a script instead: scenarios on a copy of the configuration and on free ports, each with its
//! figures, and an exit code.

mod check;
mod circuit;
mod configuration;
mod fleet;
mod layout;
mod live;
mod metrics;
mod process;
mod screen;
mod terminal;
mod topology;
mod traffic;
mod watch;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::fleet::{Fleet, Places};
use crate::layout::count;
use crate::topology::{Ports, REPLICAS};

/// Runs the services of apps/ on this machine, each with its own Leeboard, steered by config/.
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "cargo demo --")]
struct Arguments {
    /// Run the scenarios on a copy of the configuration, print their figures, and exit 0 if all went well, else 1
    #[arg(long)]
    check: bool,
    /// With --check: only the scenarios whose names contain this
    #[arg(long, requires = "check", value_name = "NAME")]
    only: Option<String>,
    /// The folder with routes.yaml, destinations.yaml and services.yaml [default: the project's config/]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Requests a second that the built-in traffic makes; 0 for none
    #[arg(long, default_value_t = 40, value_name = "N")]
    rate: u32,
    /// Take the programs as they are instead of building them first
    #[arg(long)]
    no_build: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == process::TETHER) {
        say(&process::become_child(&arguments.collect::<Vec<_>>()));
        return ExitCode::from(2);
    }
    let arguments = Arguments::parse();
    match prepare(&arguments).and_then(|places| run(&arguments, places)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("demo: {error}"));
            ExitCode::from(if arguments.check { 1 } else { 2 })
        }
    }
}

/// Builds the programs and makes the folder the processes work in.
fn prepare(arguments: &Arguments) -> Result<Places, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let binaries = own.parent().ok_or("the demo's own path has no folder")?.to_owned();
    // Cargo says where the package lies; without Cargo it is the folder one stands in.
    let project = std::env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|package| Path::new(&package).parent().map(Path::to_owned))
        .unwrap_or_else(|| PathBuf::from("."));
    if !arguments.no_build {
        build(&binaries, &project)?;
    }
    for name in ["leeboard", "leeboard-apps"] {
        if !binaries.join(name).is_file() {
            return Err(format!("there is no {name} in {}: run without --no-build", binaries.display()));
        }
    }
    let config = arguments.config.clone().unwrap_or_else(|| project.join("config"));
    let config = config.canonicalize().map_err(|error| format!("{}: {error}", config.display()))?;
    let work = tempfile::Builder::new().prefix("leeboard-demo-").tempdir().map_err(|error| error.to_string())?;
    Ok(Places { binaries, config, work: work.keep() })
}

/// Builds both programs the way the demo itself was built, and beside it.
fn build(binaries: &Path, project: &Path) -> Result<(), String> {
    let profile = match binaries.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = binaries.parent().ok_or("the demo's folder has no parent")?;
    say(&format!("building leeboard and leeboard-apps (profile {profile}; the first time this takes minutes):"));
    let began = Instant::now();
    let status = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--profile", profile, "--package", "leeboard", "--package", "leeboard-apps"])
        .args(["--bin", "leeboard", "--bin", "leeboard-apps", "--target-dir"])
        .arg(target)
        .current_dir(project)
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the build failed ({status})"));
    }
    say(&format!(
        "built in {:.0} s; starting {}",
        began.elapsed().as_secs_f64(),
        count(REPLICAS.len() as u32, "replica", "replicas")
    ));
    Ok(())
}

fn run(arguments: &Arguments, places: Places) -> Result<bool, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    // One thread: children are tied to the thread that starts them, and this one lives to the end.
    let work = places.work.clone();
    let outcome = runtime.block_on(LocalSet::new().run_until(perform(arguments, places)));
    match outcome {
        Ok(true) if arguments.check => drop(std::fs::remove_dir_all(&work)),
        Ok(true) => tidy(&work),
        // A folder is removed only when it is empty: then nothing was started.
        _ if std::fs::remove_dir(&work).is_ok() => {}
        _ => say(&format!("the logs are in {}", work.display())),
    }
    outcome
}

/// Removes databases, access logs and the apps' logs; what the demo and the Leeboards told is kept.
fn tidy(work: &Path) {
    for file in std::fs::read_dir(work).into_iter().flatten().flatten() {
        let name = file.file_name();
        let kept = name.to_str().is_some_and(|name| name == live::LOG || name.ends_with(".leeboard.log"));
        if !kept {
            drop(std::fs::remove_file(file.path()));
        }
    }
    say(&format!("the log is {}", work.join(live::LOG).display()));
}

/// Starts the fleet, does what was asked, and stops the fleet, whatever happened in between.
async fn perform(arguments: &Arguments, mut places: Places) -> Result<bool, String> {
    let told = leeboard_apps::serve::told_to_stop().map_err(|error| error.to_string())?;
    // The terminal is gone: the log is not.
    let mut hang_up = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    let stop = async {
        tokio::select! {
            () = told => {}
            _ = hang_up.recv() => {}
        }
    };
    let ports = if arguments.check {
        let ports = Ports::free(REPLICAS.len(), RandomState::new().hash_one(std::process::id()))?;
        let copy = places.work.join("config");
        std::fs::create_dir(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
        configuration::copy(&places.config, &copy, &ports)?;
        places.config = copy;
        ports
    } else {
        fixed_ports()?
    };
    let mut fleet = Fleet::new(places, ports, if arguments.check { 0 } else { live::EXTERNAL_FAILS });
    let act = async {
        fleet.start().await?;
        match arguments.check {
            true => check::run(&mut fleet, arguments.only.as_deref()).await,
            false => live::run(&mut fleet, arguments.rate).await.map(|()| true),
        }
    };
    let outcome = tokio::select! {
        outcome = act => outcome,
        () = stop => if arguments.check { Err("interrupted".to_owned()) } else { Ok(true) },
    };
    let (ended, killed) = fleet.stop().await;
    let ended = count(u32::try_from(ended).unwrap_or(u32::MAX), "process has", "processes have");
    say(&format!("\nstopped: {ended} ended, {} had to be killed{}", killed.len(), list(&killed)));
    Ok(outcome? && (killed.is_empty() || !arguments.check))
}

fn list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn fixed_ports() -> Result<Vec<Ports>, String> {
    let ports: Vec<Ports> = REPLICAS.iter().map(|replica| Ports::fixed(replica.number)).collect();
    let taken: Vec<String> = ports.iter().flat_map(Ports::taken).map(|port| port.to_string()).collect();
    if taken.is_empty() {
        Ok(ports)
    } else {
        Err(format!(
            "somebody listens on 127.0.0.1 already, at the ports {}: is another demo running?",
            taken.join(" ")
        ))
    }
}

/// Prints a line. A reader that has gone away (`| head`) is no reason to leave processes behind, so errors are dropped.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
