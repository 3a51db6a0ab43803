//! From the command line and the environment to settings: the one place that reads the environment.

use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;

use clap::error::ErrorKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::{Cli, Verb, check, drain, explain, help, test, version};
use crate::run::run;
use crate::{listener, log};

/// What the process says when it is over: everything was done.
pub(crate) const DONE: u8 = 0;
/// It was done, and there is something to mend.
pub(crate) const FINDINGS: u8 = 1;
/// It could not be done: usage, unreadable input, an address that is taken.
pub(crate) const COULD_NOT: u8 = 2;

/// Does what the command line asks for.
pub(crate) fn begin() -> ExitCode {
    decline_huge_pages();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(complaint) => return refuse(&complaint),
    };
    let code = match cli.verb {
        Verb::Version => version::print(&mut std::io::stdout().lock()).map_or(COULD_NOT, |()| DONE),
        Verb::Drain(args) => drain::run(&args, &mut std::io::stderr().lock()),
        Verb::Check(args) => check::run(&args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()),
        Verb::Explain(args) => explain::run(*args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()),
        Verb::Test(args) => test::run(&args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()),
        Verb::Help(args) => help::print(&args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()),
        Verb::Run(args) => {
            begin_again_with_little_memory();
            let settings = args.settings(cpus());
            match log::start(&settings.log_level, settings.log_format) {
                Ok((log, level, _last_lines)) => run(settings, &log, level, listener::serve),
                Err(complaint) => {
                    eprintln!("error: {complaint}");
                    COULD_NOT
                }
            }
        }
    };
    ExitCode::from(code)
}

/// How many descriptors the process may have open. It takes as many as it is allowed to: each caller needs one, and mostly another
/// to an endpoint.
pub(crate) fn descriptors() -> usize {
    let limits = getrlimit(Resource::Nofile);
    let allowed = Rlimit { current: limits.maximum, maximum: limits.maximum };
    // What cannot be had leaves what there is.
    let current = if setrlimit(Resource::Nofile, allowed).is_ok() { limits.maximum } else { limits.current };
    current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The kernel clears a huge page whole when it is first touched, which stalls a worker for milliseconds just when memory
/// grows, and a small process leaves most of each unused.
fn decline_huge_pages() {
    // A kernel without them has nothing to decline.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// How long the allocator keeps what has been freed before it gives that back, in milliseconds: long enough that a busy process
/// gives back little that it is about to use.
pub(crate) const FREE_FOR_MS: u64 = 10;

/// The allocator takes memory in large steps, and keeps what has been freed for a second and until someone asks for memory
/// again: a process that is quiet after a burst keeps it for ever. It takes its options from the environment only, and only
/// when a process begins, so the process begins again with them set.
fn begin_again_with_little_memory() {
    use std::os::unix::process::CommandExt;
    const OPTIONS: [(&str, u64); 2] = [("MIMALLOC_PURGE_DELAY", FREE_FOR_MS), ("MIMALLOC_ARENA_EAGER_COMMIT", 0)];
    let mut words = std::env::args_os();
    if let (None, Ok(program)) = (environment(OPTIONS[0].0), std::env::current_exe()) {
        let mut again = std::process::Command::new(program);
        if let Some(name) = words.next() {
            again.arg0(name);
        }
        // It returns only when it failed, and then this process does as well without.
        let _ = again.args(words).envs(OPTIONS.map(|(name, value)| (name, value.to_string()))).exec();
    }
}

fn refuse(complaint: &clap::Error) -> ExitCode {
    let asked = matches!(complaint.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Where it goes may be closed already, and there is nobody else to tell.
    let _ = complaint.print();
    ExitCode::from(if asked { DONE } else { COULD_NOT })
}

/// How many CPUs the process may use, by its affinity and its cgroup's quota.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The name of this host, as it was when first asked for. Envoy: `%HOSTNAME%`.
pub(crate) fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| environment("HOSTNAME"));
        name.map_or_else(|| "-".into(), |name| name.trim().to_owned())
    })
}

/// A variable of the environment. Envoy: `%ENVIRONMENT(X)%`.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
