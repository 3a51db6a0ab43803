//! Child processes: started on a core, their announcements read, stopped by process id.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A peer gets this long between each of SIGTERM, a second SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Open files of a child: twice the most idle connections, for a relay has two sockets for each.
const OPEN_FILES: u64 = 65_536;

/// A command line.
pub(crate) struct CommandLine {
    /// The program to run.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
}

impl CommandLine {
    /// A command line from anything that turns into arguments.
    pub(crate) fn new<A: Into<OsString>>(program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        Self { program: program.to_path_buf(), args: args.into_iter().map(Into::into).collect() }
    }
}

/// A running child; dropping it stops it.
pub(crate) struct Child {
    inner: process::Child,
    stderr: PathBuf,
}

impl Child {
    /// Starts a program pinned to `cores`, its output in `dir/name.stdout` and `dir/name.stderr`. It is in a process group of its
    /// own, so that a terminal's Ctrl-C reaches the harness alone, and the kernel ends it when the harness dies.
    pub(crate) fn start(name: &str, cores: &[usize], command: &CommandLine, dir: &Path) -> io::Result<Self> {
        let stderr = dir.join(format!("{name}.stderr"));
        let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
        let inner = Command::new(std::env::current_exe()?)
            .args(["launch", "--cores", &cores.join(","), "--"])
            .arg(&command.program)
            .args(&command.args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(File::create(dir.join(format!("{name}.stdout")))?)
            .stderr(File::create(&stderr)?)
            .process_group(0)
            .spawn()?;
        Ok(Self { inner, stderr })
    }

    /// The process id; the launcher becomes the program, so it is the program's too.
    pub(crate) fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// Whether it ended, and how.
    pub(crate) fn ended(&mut self) -> io::Result<Option<process::ExitStatus>> {
        self.inner.try_wait()
    }

    /// The address in the line `listening kind=KIND address=ADDRESS` on its standard error, if it is there yet.
    pub(crate) fn announced(&self, kind: &str) -> Option<SocketAddr> {
        announced_in(&fs::read_to_string(&self.stderr).ok()?, kind)
    }

    /// The last lines of its standard error.
    pub(crate) fn complaint(&self) -> String {
        let text = fs::read(&self.stderr).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join(" | ")
    }

    fn wait(&mut self, limit: Duration) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if !matches!(self.inner.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !matches!(self.inner.try_wait(), Ok(None)) {
            return;
        }
        // The child is not reaped yet, so its id cannot belong to anyone else.
        let pid = Pid::from_raw(self.inner.id().cast_signed());
        for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGKILL] {
            // It may have ended in between: then there is nothing left to signal.
            let _ = kill(pid, signal);
            if self.wait(PATIENCE) {
                return;
            }
        }
    }
}

fn announced_in(text: &str, kind: &str) -> Option<SocketAddr> {
    let wanted = format!("kind={kind}");
    text.lines()
        .filter(|line| line.contains("listening"))
        .filter(|line| line.split_whitespace().any(|word| word == wanted))
        .flat_map(str::split_whitespace)
        .find_map(|word| word.strip_prefix("address=")?.parse().ok())
}

/// Thousands of connections need thousands of files. Without the right to raise the hard limit, that is all there is. Children
/// inherit it.
pub(crate) fn raise_open_files() -> io::Result<()> {
    if setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES).is_err() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// How many files a child may open.
pub(crate) fn open_files() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Restricts this process to these cores.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A folder that goes away with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new empty folder under the system's temporary one.
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("leeboard-wire-{}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover folder of a few configuration files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        let log = "INFO starting\n\
                   listening kind=inbound address=127.0.0.1:1\n\
                   2026-01-01 INFO leeboard: listening kind=outbound address=127.0.0.1:4242 workers=1\n";
        assert_eq!(announced_in(log, "outbound"), "127.0.0.1:4242".parse().ok());
        assert_eq!(announced_in(log, "inbound"), "127.0.0.1:1".parse().ok());
        assert_eq!(announced_in(log, "out"), None);
        assert_eq!(announced_in("listening kind=outbound address=127.0.0", "outbound"), None);
    }
}
