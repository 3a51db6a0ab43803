//! The time as the services print it: RFC 3339, UTC, microseconds.

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The present moment, such as `2026-03-01T12:00:00.123456Z`.
///
/// It is the clock of the log lines, so that a time in an answer can be found again in the log.
pub fn now() -> String {
    let mut text = String::new();
    let written = SystemTime.format_time(&mut Writer::new(&mut text));
    debug_assert!(written.is_ok(), "a String takes every write");
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_time_is_rfc_3339_in_utc() {
        let now = super::now();
        assert_eq!(now.len(), "2026-03-01T12:00:00.123456Z".len(), "{now}");
        assert!(now.ends_with('Z') && now.as_bytes()[10] == b'T', "{now}");
    }
}
