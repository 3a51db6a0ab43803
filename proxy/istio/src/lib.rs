//! Reads Istio and Kubernetes documents: text → spanned tree → resources, with every mistake in them at once.
//!
//! Pure: no I/O, no clock. Whoever has the text gets the resources and the complaints.
//!
//! ```
//! use leeboard_istio::{load, render, source::Source};
//!
//! let text = "\
//! apiVersion: networking.istio.io/v1
//! kind: DestinationRule
//! metadata: {name: reviews}
//! spec:
//!   host: reviews
//!   trafficPolicy:
//!     loadBalancer: {simple: ROUND_ROBBIN}
//! ";
//! let sources = [Source::new("rules.yaml", text)];
//! let loaded = load(&sources);
//! assert!(loaded.resources.destination_rules.is_empty());
//! assert_eq!(loaded.rejected[0].to_string(), "DestinationRule default/reviews");
//! let shown = render(&loaded.diagnostics, &sources, false);
//! assert!(shown.contains("rules.yaml:7:28") && shown.contains("did you mean `ROUND_ROBIN`?"));
//! ```

mod annotations;
pub mod check;
pub mod codes;
pub mod compile;
pub mod diagnostic;
mod expressions;
mod fields;
pub mod grace;
pub mod ist;
mod load;
mod locations;
mod names;
mod read;
mod render;
pub mod resources;
pub mod source;
mod suggestions;
pub mod support;
mod templates;
mod test_file;
mod yaml;

pub use load::{Loaded, load, load_in};
pub use render::{render, to_github, to_json, to_sarif};
pub use test_file::{BLOCKS as TEST_BLOCKS, Expect, RouteTest, TestFile, route_tests};
