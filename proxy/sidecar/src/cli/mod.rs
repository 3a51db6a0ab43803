//! The command line: one file for each verb. Every flag may also be given as a `LEEBOARD_*` variable; one that is empty is
//! as good as unset, since manifests set what they have no value for to nothing.

pub(crate) mod check;
pub(crate) mod colour;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod help;
pub(crate) mod mend;
pub(crate) mod offline;
pub(crate) mod run;
pub(crate) mod settings;
pub(crate) mod test;
pub(crate) mod values;
pub(crate) mod version;

use clap::builder::Resettable;
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bootstrap::environment;

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
        let variable = arg.get_env().and_then(|name| environment(name.to_str()?));
        variable.is_some_and(|value| value.is_empty())
    };
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(without_empty)
}
