//! Deliberately naive services: they call each other by name over plain HTTP and hold no retry, time-out or breaker.
//!
//! Whatever resilience they show comes from the proxy beside them. Everything they need is told to them by the
//! environment ([`settings`]); what must outlive a process lies in a store ([`store`]); logs are JSON lines on stdout.

pub mod behaviour;
pub mod client;
pub mod clock;
pub mod identity;
pub mod outcome;
pub mod serve;
pub mod service;
pub mod services;
pub mod settings;
pub mod store;
