//! The services that a workload sees: from Kubernetes and from ServiceEntries, less what a Sidecar hides.

pub(crate) mod catalog;
pub(crate) mod egress;
pub(crate) mod entries;
pub(crate) mod kubernetes;
pub(crate) mod service;
pub(crate) mod workloads;
