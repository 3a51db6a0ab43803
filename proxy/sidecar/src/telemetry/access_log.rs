//! The access log: one line per record, in Istio's default text or as JSON.

use std::fmt::Display;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::{LoggedHead, Record};

/// How a line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Format {
    /// Istio's default text line.
    #[default]
    Text,
    /// One JSON object with Istio's keys, and `seed` and `rule`.
    Json,
}

/// Appends a record's line. A record without a head has none.
pub(crate) fn write_line(out: &mut Vec<u8>, format: Format, record: &Record) {
    let Some(head) = record.head.as_deref() else { return };
    match format {
        Format::Text => text(out, record, head).expect("a Vec takes all that is written"),
        Format::Json => json(out, record, head),
    }
}

/// Why a connection was ended, and the name in a TLS hello: plain HTTP has neither.
const NONE: &str = "-";

/// Istio: `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% …`.
fn text(out: &mut Vec<u8>, record: &Record, head: &LoggedHead) -> std::io::Result<()> {
    let destination = &record.destination;
    write!(out, "[")?;
    timestamp(out, record.started)?;
    write!(
        out,
        "] \"{} {} {}\" {} {} {} {} \"{}\" {} {} {} ",
        head.method,
        text_or_dash(&head.path),
        protocol(record.protocol),
        record.status,
        record.flags,
        text_or_dash(&record.details),
        NONE,
        dash(record.transport_failure.as_deref()),
        record.bytes_received,
        record.bytes_sent,
        record.duration.as_millis(),
    )?;
    writeln!(
        out,
        "{} \"{}\" \"{}\" \"{}\" \"{}\" \"{}\" {} {} {} {} {} {}",
        dash(record.upstream_service_time.map(|time| time.as_millis())),
        dash(head.forwarded_for.as_deref()),
        dash(head.user_agent.as_deref()),
        dash(head.request_id.as_deref()),
        text_or_dash(&head.authority),
        dash(destination.endpoint.as_ref()),
        dash(destination.cluster.as_deref()),
        dash(record.upstream_local),
        record.downstream_local,
        record.downstream_remote,
        NONE,
        text_or_dash(&record.route),
    )
}

/// Istio: the keys of the default JSON format. As there, what is absent is null, except for flags.
fn json(out: &mut Vec<u8>, record: &Record, head: &LoggedHead) {
    let mut start = Vec::with_capacity(24);
    timestamp(&mut start, record.started).expect("a Vec takes all that is written");
    let destination = &record.destination;
    let mut object = Object { out, first: true };
    object.text("start_time", Some(std::str::from_utf8(&start).expect("a timestamp is ASCII")));
    object.text("route_name", present(&record.route));
    object.text("method", Some(head.method.as_str()));
    object.text("path", present(&head.path));
    object.text("protocol", Some(protocol(record.protocol)));
    object.number("response_code", record.status.into());
    object.shown("response_flags", Some(record.flags));
    object.text("response_code_details", present(&record.details));
    object.text("connection_termination_details", None);
    object.number("bytes_received", record.bytes_received);
    object.number("bytes_sent", record.bytes_sent);
    object.number("duration", record.duration.as_millis());
    object.shown("upstream_service_time", record.upstream_service_time.map(|time| time.as_millis()));
    object.text("x_forwarded_for", head.forwarded_for.as_deref());
    object.text("user_agent", head.user_agent.as_deref());
    object.text("request_id", head.request_id.as_deref());
    object.text("authority", present(&head.authority));
    object.shown("upstream_host", destination.endpoint.as_ref());
    object.text("upstream_cluster", destination.cluster.as_deref());
    object.shown("upstream_local_address", record.upstream_local);
    object.shown("downstream_local_address", Some(record.downstream_local));
    object.shown("downstream_remote_address", Some(record.downstream_remote));
    object.text("requested_server_name", None);
    object.text("upstream_transport_failure_reason", record.transport_failure.as_deref());
    // A string, since many readers of JSON keep only 53 bits of a number.
    object.shown("seed", Some(record.seed));
    object.shown("rule", record.rule.as_ref().filter(|rule| !rule.file.is_empty()));
    out.extend_from_slice(b"}\n");
}

/// A JSON object under way.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.first { b"{\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        self.key(key);
        serde_json::to_writer(&mut *self.out, &value).expect("text is JSON, and a Vec takes it");
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        write!(self.out, "{value}").expect("a Vec takes all that is written");
    }

    fn shown(&mut self, key: &str, value: Option<impl Display>) {
        match value {
            Some(value) => self.text(key, Some(&value.to_string())),
            None => self.text(key, None),
        }
    }
}

/// Envoy writes HTTP/2 without a minor version.
fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn text_or_dash(text: &str) -> &str {
    present(text).unwrap_or("-")
}

/// `-` for what is absent.
fn dash<T: Display>(value: Option<T>) -> impl Display {
    struct Dash<T>(Option<T>);
    impl<T: Display> Display for Dash<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match &self.0 {
                Some(value) => value.fmt(f),
                None => f.write_str("-"),
            }
        }
    }
    Dash(value)
}

/// ISO 8601 with milliseconds, in UTC.
pub(crate) fn timestamp(out: &mut impl Write, time: SystemTime) -> std::io::Result<()> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let second = since.as_secs() % 86_400;
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// The date that is so many days after 1970-01-01. Counts in eras of 400 years that begin in March, so that the leap day is
/// the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::samples;
    use leeboard_policy::origin::Origin;
    use leeboard_policy::verdict::Flags;
    use std::sync::Arc;
    use std::time::Duration;

    fn line(format: Format, record: &Record) -> String {
        let mut out = Vec::new();
        write_line(&mut out, format, record);
        String::from_utf8(out).unwrap()
    }

    fn refused() -> Record {
        let mut record = Record {
            protocol: http::Version::HTTP_2,
            status: 503,
            flags: Flags::RETRY_LIMIT.with(Flags::UPSTREAM_CONNECT),
            details: "upstream_reset_before_response_started{remote_connection_failure}".into(),
            upstream_service_time: None,
            upstream_local: None,
            transport_failure: Some("delayed connect error: Connection refused".into()),
            rule: Some(Origin::built_in()),
            route: "".into(),
            seed: u64::MAX,
            ..samples::record()
        };
        let head = record.head.as_mut().unwrap();
        (head.user_agent, head.request_id, head.forwarded_for) = (None, None, Some("10.1.1.1".into()));
        record
    }

    fn lost() -> Record {
        Record {
            destination: Arc::new(samples::nowhere()),
            status: 0,
            flags: Flags::DOWNSTREAM_TERMINATED,
            details: "".into(),
            upstream_service_time: None,
            upstream_local: None,
            rule: None,
            head: Some(Box::default()),
            ..samples::record()
        }
    }

    #[test]
    fn text_lines_are_istios() {
        #[rustfmt::skip]
        let table = [
            (samples::record(), "[2024-02-29T12:34:56.007Z] \"GET /reviews/1?full=\"yes\" HTTP/1.1\" 200 - via_upstream - \"-\" 0 512 2 1 \"-\" \"curl/7.88.1\" \"4e1b5c0e-0000-4000-8000-000000000001\" \"reviews:9080\" \"10.0.0.7:9080\" outbound|9080|v2|reviews.default.svc.cluster.local 10.0.0.1:40000 127.0.0.1:15001 127.0.0.1:51000 - default\n"),
            (refused(), "[2024-02-29T12:34:56.007Z] \"GET /reviews/1?full=\"yes\" HTTP/2\" 503 URX,UF upstream_reset_before_response_started{remote_connection_failure} - \"delayed connect error: Connection refused\" 0 512 2 - \"10.1.1.1\" \"-\" \"-\" \"reviews:9080\" \"10.0.0.7:9080\" outbound|9080|v2|reviews.default.svc.cluster.local - 127.0.0.1:15001 127.0.0.1:51000 - -\n"),
            (lost(), "[2024-02-29T12:34:56.007Z] \"GET - HTTP/1.1\" 0 DC - - \"-\" 0 512 2 - \"-\" \"-\" \"-\" \"-\" \"-\" - - 127.0.0.1:15001 127.0.0.1:51000 - default\n"),
            (Record { head: None, ..samples::record() }, ""),
        ];
        for (record, expected) in table {
            assert_eq!(line(Format::Text, &record), expected);
        }
    }

    #[test]
    fn json_lines_have_istios_keys_then_seed_and_rule() {
        #[rustfmt::skip]
        let table = [
            (samples::record(), r#"{"start_time":"2024-02-29T12:34:56.007Z","route_name":"default","method":"GET","path":"/reviews/1?full=\"yes\"","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","response_code_details":"via_upstream","connection_termination_details":null,"bytes_received":0,"bytes_sent":512,"duration":2,"upstream_service_time":"1","x_forwarded_for":null,"user_agent":"curl/7.88.1","request_id":"4e1b5c0e-0000-4000-8000-000000000001","authority":"reviews:9080","upstream_host":"10.0.0.7:9080","upstream_cluster":"outbound|9080|v2|reviews.default.svc.cluster.local","upstream_local_address":"10.0.0.1:40000","downstream_local_address":"127.0.0.1:15001","downstream_remote_address":"127.0.0.1:51000","requested_server_name":null,"upstream_transport_failure_reason":null,"seed":"31","rule":"config/routes.yaml:12"}"#),
            (refused(), r#"{"start_time":"2024-02-29T12:34:56.007Z","route_name":null,"method":"GET","path":"/reviews/1?full=\"yes\"","protocol":"HTTP/2","response_code":503,"response_flags":"URX,UF","response_code_details":"upstream_reset_before_response_started{remote_connection_failure}","connection_termination_details":null,"bytes_received":0,"bytes_sent":512,"duration":2,"upstream_service_time":null,"x_forwarded_for":"10.1.1.1","user_agent":null,"request_id":null,"authority":"reviews:9080","upstream_host":"10.0.0.7:9080","upstream_cluster":"outbound|9080|v2|reviews.default.svc.cluster.local","upstream_local_address":null,"downstream_local_address":"127.0.0.1:15001","downstream_remote_address":"127.0.0.1:51000","requested_server_name":null,"upstream_transport_failure_reason":"delayed connect error: Connection refused","seed":"18446744073709551615","rule":null}"#),
        ];
        for (record, expected) in table {
            let line = line(Format::Json, &record);
            assert_eq!(line, format!("{expected}\n"));
            assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }

    #[test]
    fn dates_are_civil() {
        #[rustfmt::skip]
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, expected) in table {
            let mut out = Vec::new();
            timestamp(&mut out, UNIX_EPOCH + Duration::from_millis(millis)).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
