//! The children of the demo: started so that they cannot outlive it, stopped in order, always reaped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};

/// The hidden first argument with which the demo runs itself to become a child: see [`become_child`].
pub(crate) const TETHER: &str = "--tether";

/// A running process whose output goes to a file.
#[derive(Debug)]
pub(crate) struct Process {
    /// What people call it.
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
}

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The whole environment beside `PATH` and `HOME`.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Process {
    /// Starts a program in `folder`; what it prints is appended to `NAME.log` there.
    ///
    /// It gets a process group of its own: Ctrl-C reaches the demo alone, which then stops its children in order.
    pub(crate) fn start(program: &Program, folder: &Path) -> Result<Process, String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", program.name);
        let log = folder.join(format!("{}.log", program.name));
        let output = File::options().create(true).append(true).open(&log).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg(TETHER).arg(std::process::id().to_string()).arg(&program.path).args(&program.arguments);
        command.env_clear();
        command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(program.environment.iter().map(|(name, value)| (*name, value)));
        command.current_dir(folder).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(failed)?).stderr(output);
        let child = command.spawn().map_err(failed)?;
        Ok(Process { name: program.name.clone(), child, log })
    }

    /// The process id, until the process was seen to have ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_some() {
            return;
        }
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            // It may end between the question and the signal; it is not reaped in between, so its id is still its own.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }

    /// Waits until the process has ended, and reaps it; kills it when it has not ended after `patience`.
    /// Says whether it ended by itself.
    pub(crate) async fn wait(&mut self, patience: Duration) -> bool {
        if tokio::time::timeout(patience, self.child.wait()).await.is_ok() {
            return true;
        }
        // `kill` also waits; what it can report is that the process has ended already.
        drop(self.child.kill().await);
        false
    }

    /// The last lines it printed.
    pub(crate) fn last_words(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Ties this process to its parent and becomes the given program. `arguments` are the parent's id, the program and its
/// arguments. Returns only when that fails, and says why.
///
/// The tie survives the change of program, so a parent that dies of SIGKILL still takes its children along.
pub(crate) fn become_child(arguments: &[OsString]) -> String {
    let [parent, program, arguments @ ..] = arguments else {
        return format!("{TETHER} needs a process id and a program");
    };
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return format!("cannot tie the process to its parent: {error}");
    }
    // A parent that was gone before the tie was made does not pull it.
    if parent.to_str() != Some(getppid().to_string().as_str()) {
        return "the parent is gone".to_owned();
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    format!("{}: {error}", program.display())
}
