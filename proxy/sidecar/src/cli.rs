//! The command line: one file for each command. Every flag may also be given as a `LEEBOARD_*` variable. An empty
//! variable counts as unset, since manifests often set variables to nothing.

pub(crate) mod check;
pub(crate) mod colour;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod fix;
pub(crate) mod help;
pub(crate) mod offline;
pub(crate) mod run;
pub(crate) mod test;
pub(crate) mod values;
pub(crate) mod version;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::host::exit::{COULD_NOT, DONE};
use crate::host::{env, limits, memory};
use crate::telemetry::program_log;

/// Does what the command line asks for.
pub(crate) fn begin() -> ExitCode {
    memory::decline_huge_pages();
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
            memory::begin_again_with_little_memory();
            let settings = args.settings(limits::cpus());
            match program_log::start(&settings.log_level, settings.log_format) {
                Ok((log, level, _last_lines)) => crate::process::run::run(settings, &log, level),
                Err(complaint) => {
                    eprintln!("error: {complaint}");
                    COULD_NOT
                }
            }
        }
    };
    ExitCode::from(code)
}

fn refuse(complaint: &clap::Error) -> ExitCode {
    let asked = matches!(complaint.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Where it goes may be closed already, and there is nobody else to tell.
    let _ = complaint.print();
    ExitCode::from(if asked { DONE } else { COULD_NOT })
}

/// Istio's traffic management beside one application, with no control plane.
#[derive(Parser, Debug)]
#[command(name = "leeboard", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What the program is asked to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Stand beside an application and carry its traffic.
    Run(Box<run::RunArgs>),
    /// Part the application from its callers, and return when it may be ended: for preStop hooks.
    Drain(drain::DrainArgs),
    /// Find the mistakes in a configuration, all at once.
    Check(check::CheckArgs),
    /// Tell where one request goes, and why.
    Explain(Box<explain::ExplainArgs>),
    /// Hold routes to what their tests expect of them.
    Test(Box<test::TestArgs>),
    /// Explain a command, or a code such as L0301.
    Help(help::HelpArgs),
    /// Print the version.
    Version,
}

impl Cli {
    /// Reads the command line, and the environment for what it leaves out.
    ///
    /// # Errors
    /// When it makes no sense, or asks for help.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut command = without_empty(Self::command());
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// The command, as if variables that are empty were not there.
fn without_empty(command: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let variable = arg.get_env().and_then(|name| env::variable(name.to_str()?));
        variable.is_some_and(|value| value.is_empty())
    };
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(without_empty)
}
