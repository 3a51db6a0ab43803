//! Whether what is printed is coloured.

use std::io::{self, IsTerminal};

use clap::ValueEnum;

use crate::host::env;

/// When what is printed is coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal that can, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether standard output is to be coloured.
    pub(crate) fn is_on(self) -> bool {
        self.decide(io::stdout().is_terminal(), env::variable)
    }

    /// The same, on a terminal or elsewhere, by these variables. See no-color.org.
    fn decide(self, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let refused = || variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = || variable("TERM").is_some_and(|value| value == "dumb");
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !refused() && !dumb(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let table = [
            (Colour::Auto, true, "", "xterm", true),
            (Colour::Auto, false, "", "xterm", false),
            (Colour::Auto, true, "1", "xterm", false),
            (Colour::Auto, true, "", "dumb", false),
            (Colour::Always, false, "1", "dumb", true),
            (Colour::Never, true, "", "xterm", false),
        ];
        for (colour, terminal, no_color, term, wanted) in table {
            let variable = |name: &str| match name {
                "NO_COLOR" => Some(no_color.to_owned()),
                "TERM" => Some(term.to_owned()),
                _ => None,
            };
            assert_eq!(colour.decide(terminal, variable), wanted, "{colour:?} {terminal} {no_color} {term}");
        }
    }
}
