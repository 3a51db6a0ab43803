//! The circuit of an endpoint in the words of a circuit breaker, read off what Leeboards count.

use std::fmt;

/// What a circuit breaker would say of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It is picked.
    #[default]
    Closed,
    /// It is ejected: requests go to the others.
    Open,
    /// Its ejection is over: it is picked again, and has not answered well yet.
    HalfOpen,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        })
    }
}

/// What Leeboards say of an endpoint at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// A caller's `leeboard_endpoint_ejected` is 1.
    pub(crate) ejected: bool,
    /// The answers of status 200 that the endpoint's own Leeboard counts.
    pub(crate) answered: f64,
}

/// The circuit of one endpoint, followed from one look to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circuit {
    state: State,
    /// The answers counted when it was last seen ejected.
    answered: f64,
}

impl Circuit {
    /// The states it went through since the last look. A return and an answer between two looks are both told: they were
    /// counted, though nobody looked in between.
    pub(crate) fn follow(&mut self, seen: Seen) -> Vec<State> {
        let mut passed = Vec::new();
        if seen.ejected {
            self.answered = seen.answered;
            self.enter(State::Open, &mut passed);
        } else {
            if self.state == State::Open {
                self.enter(State::HalfOpen, &mut passed);
            }
            if self.state == State::HalfOpen && seen.answered > self.answered {
                self.enter(State::Closed, &mut passed);
            }
        }
        passed
    }

    fn enter(&mut self, state: State, passed: &mut Vec<State>) {
        if self.state != state {
            self.state = state;
            passed.push(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Closed, HalfOpen, Open};

    #[test]
    fn a_circuit_opens_is_half_open_when_it_is_picked_again_and_closes_with_an_answer() {
        let mut circuit = Circuit::default();
        for (ejected, answered, passed) in [
            (false, 7.0, vec![]),
            (true, 9.0, vec![Open]),
            (true, 9.0, vec![]),
            (false, 9.0, vec![HalfOpen]),
            (false, 9.0, vec![]),
            (true, 9.0, vec![Open]),
            (false, 9.0, vec![HalfOpen]),
            (false, 10.0, vec![Closed]),
            (false, 11.0, vec![]),
            (true, 11.0, vec![Open]),
            (false, 12.0, vec![HalfOpen, Closed]),
        ] {
            assert_eq!(circuit.follow(Seen { ejected, answered }), passed, "{ejected} {answered}");
        }
    }
}
