//! The messages between sources of configuration and the store.

use std::net::IpAddr;
use std::sync::Arc;

use leeboard_istio::diagnostic::Diagnostic;
use leeboard_istio::source::Source;
use leeboard_policy::time::Time;

/// All that discovery can say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Update {
    /// The files differ from what was read before.
    Files(LoadedFiles),
    /// Somebody asked for a reload, and the files are as they were.
    Unchanged,
    /// A name's addresses differ from what was said before, or name one again that was doubted; none when it has none.
    Resolved {
        /// The name, as the configuration writes it.
        name: Arc<str>,
        /// All of its addresses.
        addresses: Vec<IpAddr>,
        /// When they were asked for.
        asked: Time,
    },
    /// A name was asked for the first time, and there was no answer.
    Unresolved {
        /// The name, as the configuration writes it.
        name: Arc<str>,
    },
    /// Every name of the first configuration has been asked for.
    Settled,
}

/// All that was read, each file by its name, in order; and what could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LoadedFiles {
    /// The files. One that cannot be read any more is here as it last was.
    pub(crate) sources: Vec<Source>,
    /// A complaint for each file or folder that could not be read.
    pub(crate) complaints: Vec<Diagnostic>,
}

/// A name that the configuration needs addresses of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Wanted {
    /// The name.
    pub(crate) name: Arc<str>,
    /// Whether the first address is not like the others, so that their order is news. Envoy: LOGICAL_DNS.
    pub(crate) ordered: bool,
}
