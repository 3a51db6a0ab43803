//! What the process may use: file descriptors and CPUs.

use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors the process may have open. It takes as many as it is allowed to: each caller needs one, and mostly another
/// to an endpoint.
pub(crate) fn descriptors() -> usize {
    let limits = getrlimit(Resource::Nofile);
    let allowed = Rlimit { current: limits.maximum, maximum: limits.maximum };
    // What cannot be had leaves what there is.
    let current = if setrlimit(Resource::Nofile, allowed).is_ok() { limits.maximum } else { limits.current };
    current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many CPUs the process may use, by its affinity and its cgroup's quota.
pub(crate) fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
