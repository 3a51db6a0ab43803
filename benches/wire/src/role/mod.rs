//! What the harness's own child processes do: launch another program, answer, relay, or make load.

pub(crate) mod load;
mod relay;
mod upstream;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Subcommand;
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::process::pin;

/// A child process of the harness. Not for calling by hand.
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Pins itself to cores, asks the kernel to end it with its parent, and becomes another program.
    Launch {
        #[arg(long, required = true, value_delimiter = ',')]
        cores: Vec<usize>,
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<OsString>,
    },
    /// The server behind every peer.
    Upstream {
        #[arg(long)]
        body: usize,
    },
    /// Copies bytes between a client and the upstream and understands none of them.
    Relay {
        #[arg(long)]
        to: SocketAddr,
    },
    /// Makes load and prints one line of JSON.
    Load(load::LoadArgs),
    /// Holds idle connections and prints what they cost as one line of JSON.
    Idle(load::idle::IdleArgs),
    /// Carries large bodies and prints one line of JSON.
    Bulk(load::bulk::BulkArgs),
}

impl Role {
    /// Does the work; an upstream and a relay end by signal only.
    pub(crate) fn run(self) -> io::Result<()> {
        match self {
            Role::Launch { cores, command } => launch(&cores, &command),
            Role::Upstream { body } => upstream::serve(body),
            Role::Relay { to } => relay::serve(to),
            Role::Load(args) => load::run(&args),
            Role::Idle(args) => load::idle::run(&args),
            Role::Bulk(args) => load::bulk::run(&args),
        }
    }
}

fn launch(cores: &[usize], command: &[OsString]) -> io::Result<()> {
    pin(cores)?;
    // Survives exec: no peer outlives a harness that was killed.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let [program, args @ ..] = command else {
        return Err(io::Error::other("no program to launch"));
    };
    let error = Command::new(program).args(args).exec();
    Err(io::Error::new(error.kind(), format!("{}: {error}", program.display())))
}

/// A non-blocking listener on a free port, announced on standard error.
fn listen(kind: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    writeln!(io::stderr(), "listening kind={kind} address={address}")?;
    Ok(listener)
}
