//! Decides what happens to a request, and does nothing: no I/O, no clock, no thread, no luck of its own.
//!
//! A driver (the proxy, the simulator, `explain`) tells an exchange what happened and is told the next step.
//! Time and randomness are arguments, so the same snapshot, live state, request, time and seed always give the same step.
#![no_std]

extern crate alloc;

mod allowance;
pub mod balance;
mod budget;
pub mod cluster;
mod cookie;
pub mod cors;
pub mod counted;
pub mod dice;
pub mod endpoints;
pub mod exchange;
pub mod expression;
pub mod fairness;
mod fault;
pub mod headers;
mod index;
pub mod limits;
pub mod live;
pub mod matching;
pub mod mirror;
pub mod narrate;
pub mod origin;
pub mod outlier;
pub mod pattern;
pub mod request;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod routes;
pub mod snapshot;
mod split;
pub mod step;
pub mod time;
pub mod transport;
pub mod verdict;
