//! Wire tests: the real program between callers and endpoints that misbehave, on real sockets and free ports.
//!
//! Nothing here sleeps to be in step with something else: a test waits for what must happen, and gives up at a deadline.
//! Times have exact lower bounds and generous upper ones, for the machine may be busy.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod agreement;
mod answers;
mod config;
mod crowd;
mod departures;
mod ejection;
mod endpoint;
mod explain;
mod faults;
mod frames;
mod grace;
mod heads;
mod http2;
mod kept;
mod leaving;
mod limits;
mod loops;
mod message;
mod mirrors;
mod multiplexed;
mod names;
mod parting;
mod patience;
mod program;
mod replays;
mod retries;
mod routes;
mod seen;
mod soak;
mod stalls;
mod streams;
mod strict;
mod targets;
mod timeouts;
mod tunnels;
mod unheard;
mod unread;
