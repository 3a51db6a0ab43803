//! Plays exchanges in virtual time: the clock, the connections and the endpoints are played, every decision is the policy's.
//!
//! A [`World`] has a live configuration, a time of its own and endpoints that do what a script says. It is a doer like the
//! proxy: it performs the steps of [`Exchange`](leeboard_policy::exchange::Exchange) and reports back what happened. What it
//! tells afterwards is what each caller saw ([`Seen`]) and everything that happened, in order ([`Entry`]).
//!
//! The same live state, arrivals and seed give the same trace.
//!
//! ```
//! use leeboard_istio::{compile, load, source::Source};
//! use leeboard_policy::{live::Live, time::{Span, Time}};
//! use leeboard_sim::{Arrival, Conduct, Request, World};
//!
//! let yaml = "
//! apiVersion: networking.istio.io/v1
//! kind: ServiceEntry
//! metadata: {name: a, namespace: demo}
//! spec:
//!   hosts: [a.example]
//!   ports: [{number: 80, name: http, protocol: HTTP}]
//!   resolution: STATIC
//!   endpoints: [{address: 192.0.2.1}, {address: 192.0.2.2}]
//! ";
//! let loaded = load(&[Source::new("a.yaml", yaml)]);
//! let (snapshot, _) = compile::compile(&loaded.resources, &compile::Site::default());
//! let mut world = World::new(Live::adopt(None, snapshot.into(), &Default::default(), Default::default()), 1);
//! let script = vec![Conduct::Unreachable, Conduct::after(200, Span::from_millis(20))];
//! let seen = world.play(&[Arrival { at: Time(0), request: Request::get("a.example", "/"), script }]);
//! assert_eq!((seen[0].status, seen[0].attempts), (200, 2));
//! assert_ne!(seen[0].endpoints[0], seen[0].endpoints[1]);
//! ```
//!
//! # What is left out
//! A connection carries one request and is closed. Requests are complete when they arrive, callers read as fast as
//! endpoints write, and copies to mirrors end as they begin. Nothing waits in a socket.

mod endpoint;
pub mod explain;
mod message;
mod play;
mod seen;
mod trace;
mod world;

pub use endpoint::Conduct;
pub use message::{Headers, Message, Request, text};
pub use seen::Seen;
pub use trace::{Entry, Event};
pub use world::{Arrival, World};
