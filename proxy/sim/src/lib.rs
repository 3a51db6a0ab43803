//! Plays exchanges in virtual time: the clock, the connections and the endpoints are played, every decision is the policy's.
//!
//! A [`World`] has a live configuration, a time of its own and endpoints that do what a script says. It is a doer like the
//! proxy: it performs the steps of [`Exchange`](leeboard_policy::exchange::Exchange) and reports back what happened. What it
//! tells afterwards is what each caller saw ([`Seen`]) and everything that happened, in order ([`Entry`]).
//!
//! The same live state, arrivals and seed give the same trace.
//!
//! # What is left out
//! A connection carries one request and is closed. Bodies take no time, requests are complete when they arrive, and copies
//! to mirrors end as they begin. Nothing waits in a socket.

mod endpoint;
mod message;
mod play;
mod seen;
mod trace;
mod world;

pub use endpoint::Conduct;
pub use message::{Headers, Message, Request};
pub use seen::Seen;
pub use trace::{Entry, Event};
pub use world::{Arrival, World};
