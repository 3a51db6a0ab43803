//! The one place that reads the environment.

use std::sync::OnceLock;

/// The name of this host, as it was when first asked for. Envoy: `%HOSTNAME%`.
pub(crate) fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| variable("HOSTNAME"));
        name.map_or_else(|| "-".into(), |name| name.trim().to_owned())
    })
}

/// A variable of the environment. Envoy: `%ENVIRONMENT(X)%`.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
