//! Reads Istio and Kubernetes documents: text → spanned tree → resources, with every mistake in them at once.
//!
//! Pure: no I/O, no clock. Whoever has the text gets the resources and the complaints.

pub mod codes;
pub mod compile;
pub mod diagnostic;
pub mod resources;
pub mod source;
