//! The command line: one file for each verb. Every flag may also be given as a `LEEBOARD_*` variable.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod help;
pub(crate) mod offline;
pub(crate) mod run;
pub(crate) mod test;
pub(crate) mod values;
pub(crate) mod version;

use clap::{Parser, Subcommand};

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
