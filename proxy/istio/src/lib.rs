//! Reads Istio and Kubernetes documents: text → spanned tree → resources, with every mistake in them at once.
//!
//! Pure: no I/O, no clock. Whoever has the text gets the resources and the complaints.

pub mod codes;
pub mod compile;
pub mod diagnostic;
mod fields;
mod load;
mod names;
mod read;
mod render;
pub mod resources;
pub mod source;
pub mod support;
mod yaml;

pub use load::{Loaded, load, load_in};
pub use render::{render, to_json};
