//! The access log: one line per record, in Istio's default text or as JSON.
//!
//! Lines are formatted while requests are served, so they are put together by hand: std's formatting of a dozen numbers
//! and addresses takes twice as long.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use leeboard_policy::cluster::Address;
use leeboard_policy::verdict::Flags;

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
        Format::Text => text(out, record, head),
        Format::Json => json(out, record, head),
    }
}

/// A value of a line.
#[derive(Clone, Copy)]
enum Field<'a> {
    /// Nothing.
    Absent,
    /// Text from outside; empty is absent.
    Text(&'a str),
    /// A word of ours, which needs no escapes.
    Word(&'a str),
    Number(u64),
    /// A number that Istio's JSON has as a string.
    Quoted(u64),
    Time(SystemTime),
    Flags(Flags),
    Socket(SocketAddr),
    /// The path of a Unix socket.
    Unix(&'a str),
    /// A file and a line in it.
    Place(&'a str, u32),
}

impl<'a> Field<'a> {
    fn of(text: Option<&'a str>) -> Self {
        text.map_or(Field::Absent, Field::Text)
    }

    fn endpoint(address: Option<&'a Address>) -> Self {
        match address {
            None => Field::Absent,
            Some(Address::Socket(socket)) => Field::Socket(*socket),
            Some(Address::Unix(path)) => Field::Unix(path),
        }
    }

    fn is_absent(self) -> bool {
        matches!(self, Field::Absent | Field::Text(""))
    }

    /// The value without quotes around it.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Field::Absent => {}
            Field::Word(text) => out.extend_from_slice(text.as_bytes()),
            Field::Text(text) => escaped(out, text),
            Field::Number(number) | Field::Quoted(number) => digits(out, number),
            Field::Time(time) => timestamp(out, time),
            Field::Flags(Flags::NONE) => out.push(b'-'),
            Field::Flags(flags) => write!(out, "{flags}").expect("a Vec takes all that is written"),
            Field::Socket(socket) => address(out, socket),
            Field::Unix(path) => {
                out.extend_from_slice(b"unix://");
                escaped(out, path);
            }
            Field::Place(file, line) => {
                escaped(out, file);
                out.push(b':');
                digits(out, line.into());
            }
        }
    }
}

/// Istio: `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% …`.
/// Each value stands behind what separates it from the one before.
fn text(out: &mut Vec<u8>, record: &Record, head: &LoggedHead) {
    let destination = &record.destination;
    let fields = [
        ("[", Field::Time(record.started)),
        ("] \"", method(head)),
        (" ", Field::Text(&head.path)),
        (" ", Field::Word(protocol(record.protocol))),
        ("\" ", Field::Number(record.status.into())),
        (" ", Field::Flags(record.flags)),
        (" ", Field::Text(&record.details)),
        // Why the connection was ended: plain HTTP has no such reasons.
        (" ", Field::Absent),
        (" \"", Field::of(record.transport_failure.as_deref())),
        ("\" ", Field::Number(record.bytes_received)),
        (" ", Field::Number(record.bytes_sent)),
        (" ", Field::Number(record.duration.as_millis())),
        (" ", service_time(record)),
        (" \"", Field::of(head.forwarded_for.as_deref())),
        ("\" \"", Field::of(head.user_agent.as_deref())),
        ("\" \"", Field::of(head.request_id.as_deref())),
        ("\" \"", Field::Text(&head.authority)),
        ("\" \"", Field::endpoint(destination.endpoint.as_ref())),
        ("\" ", Field::of(destination.cluster.as_deref())),
        (" ", record.upstream_local.map_or(Field::Absent, Field::Socket)),
        (" ", Field::Socket(record.downstream_local)),
        (" ", Field::Socket(record.downstream_remote)),
        // The name in a TLS hello: plain HTTP has none.
        (" ", Field::Absent),
        (" ", Field::Text(head.route.as_deref().unwrap_or_default())),
    ];
    for (separator, field) in fields {
        out.extend_from_slice(separator.as_bytes());
        let field = if field.is_absent() { Field::Word("-") } else { field };
        field.write(out);
    }
    out.push(b'\n');
}

/// Istio: the keys of the default JSON format. As there, what is absent is null, except for flags.
fn json(out: &mut Vec<u8>, record: &Record, head: &LoggedHead) {
    let destination = &record.destination;
    let rule = head.rule.as_ref().filter(|rule| !rule.file.is_empty());
    let fields = [
        ("{\"start_time\":", Field::Time(record.started)),
        (",\"route_name\":", Field::Text(head.route.as_deref().unwrap_or_default())),
        (",\"method\":", method(head)),
        (",\"path\":", Field::Text(&head.path)),
        (",\"protocol\":", Field::Word(protocol(record.protocol))),
        (",\"response_code\":", Field::Number(record.status.into())),
        (",\"response_flags\":", Field::Flags(record.flags)),
        (",\"response_code_details\":", Field::Text(&record.details)),
        (",\"connection_termination_details\":", Field::Absent),
        (",\"bytes_received\":", Field::Number(record.bytes_received)),
        (",\"bytes_sent\":", Field::Number(record.bytes_sent)),
        (",\"duration\":", Field::Number(record.duration.as_millis())),
        (",\"upstream_service_time\":", service_time(record)),
        (",\"x_forwarded_for\":", Field::of(head.forwarded_for.as_deref())),
        (",\"user_agent\":", Field::of(head.user_agent.as_deref())),
        (",\"request_id\":", Field::of(head.request_id.as_deref())),
        (",\"authority\":", Field::Text(&head.authority)),
        (",\"upstream_host\":", Field::endpoint(destination.endpoint.as_ref())),
        (",\"upstream_cluster\":", Field::of(destination.cluster.as_deref())),
        (",\"upstream_local_address\":", record.upstream_local.map_or(Field::Absent, Field::Socket)),
        (",\"downstream_local_address\":", Field::Socket(record.downstream_local)),
        (",\"downstream_remote_address\":", Field::Socket(record.downstream_remote)),
        (",\"requested_server_name\":", Field::Absent),
        (",\"upstream_transport_failure_reason\":", Field::of(record.transport_failure.as_deref())),
        // A string, since many readers of JSON keep only 53 bits of a number.
        (",\"seed\":", Field::Quoted(record.seed)),
        (",\"rule\":", rule.map_or(Field::Absent, |rule| Field::Place(&rule.file, rule.line))),
    ];
    for (key, field) in fields {
        out.extend_from_slice(key.as_bytes());
        json_value(out, field);
    }
    out.extend_from_slice(b"}\n");
}

fn json_value(out: &mut Vec<u8>, field: Field<'_>) {
    if field.is_absent() {
        return out.extend_from_slice(b"null");
    }
    match field {
        Field::Number(number) => digits(out, number),
        _ => {
            out.push(b'"');
            field.write(out);
            out.push(b'"');
        }
    }
}

/// Text from outside, so that it neither ends its quotes nor moves a terminal's cursor. Both formats have the same escapes.
fn escaped(out: &mut Vec<u8>, text: &str) {
    // Without a way out in between, so that many bytes are looked at at a time. Control characters beyond ASCII begin with C2.
    let special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f | 0xc2);
    if !text.bytes().fold(false, |found, byte| found | special(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            _ if letter.is_control() => {
                write!(out, "\\u{:04x}", u32::from(letter)).expect("a Vec takes all that is written");
            }
            _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// A dash is the method of what has none.
fn method(head: &LoggedHead) -> Field<'_> {
    match head.method.as_str() {
        "-" => Field::Absent,
        method => Field::Word(method),
    }
}

fn service_time(record: &Record) -> Field<'static> {
    record.upstream_service_time.map_or(Field::Absent, |time| Field::Quoted(time.as_millis()))
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

/// A number in decimal.
fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&buffer[at..]);
        }
    }
}

/// The last digits of a number, as many as `N`, with zeros in front.
fn padded<const N: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut buffer = [b'0'; N];
    for digit in buffer.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&buffer);
}

fn address(out: &mut Vec<u8>, socket: SocketAddr) {
    match socket.ip() {
        IpAddr::V4(ip) => {
            for (index, part) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                digits(out, part.into());
            }
        }
        IpAddr::V6(ip) => write!(out, "[{ip}]").expect("a Vec takes all that is written"),
    }
    out.push(b':');
    digits(out, socket.port().into());
}

/// ISO 8601 with milliseconds, in UTC.
pub(crate) fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let second = since.as_secs() % 86_400;
    padded::<4>(out, year);
    for (separator, part) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(separator);
        padded::<2>(out, part);
    }
    out.push(b'.');
    padded::<3>(out, since.subsec_millis().into());
    out.push(b'Z');
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
    use crate::telemetry::record::Destination;
    use crate::telemetry::samples;
    use leeboard_policy::origin::Origin;
    use leeboard_policy::verdict::Flags;
    use std::rc::Rc;
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
            seed: u64::MAX,
            ..samples::record()
        };
        let head = record.head.as_mut().unwrap();
        (head.user_agent, head.request_id, head.forwarded_for) = (None, None, Some("10.1.1.1".into()));
        (head.route, head.rule) = (Some("".into()), Some(Origin::built_in()));
        record
    }

    fn lost() -> Record {
        Record {
            destination: Rc::new(samples::nowhere()),
            status: 0,
            flags: Flags::DOWNSTREAM_TERMINATED,
            details: "".into(),
            upstream_service_time: None,
            upstream_local: None,
            head: Some(Box::new(LoggedHead { route: Some("default".into()), ..LoggedHead::default() })),
            ..samples::record()
        }
    }

    #[test]
    fn text_lines_are_istios() {
        #[rustfmt::skip]
        let table = [
            (samples::record(), "[2024-02-29T12:34:56.007Z] \"GET /reviews/1?full=\\\"yes\\\" HTTP/1.1\" 200 - via_upstream - \"-\" 0 512 2 1 \"-\" \"curl/7.88.1\" \"4e1b5c0e-0000-4000-8000-000000000001\" \"reviews:9080\" \"10.0.0.7:9080\" outbound|9080|v2|reviews.default.svc.cluster.local 10.0.0.1:40000 127.0.0.1:15001 127.0.0.1:51000 - default\n"),
            (refused(), "[2024-02-29T12:34:56.007Z] \"GET /reviews/1?full=\\\"yes\\\" HTTP/2\" 503 URX,UF upstream_reset_before_response_started{remote_connection_failure} - \"delayed connect error: Connection refused\" 0 512 2 - \"10.1.1.1\" \"-\" \"-\" \"reviews:9080\" \"10.0.0.7:9080\" outbound|9080|v2|reviews.default.svc.cluster.local - 127.0.0.1:15001 127.0.0.1:51000 - -\n"),
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
    fn text_from_outside_stays_inside_its_quotes() {
        let tricky = "a\" 200 - \\ \u{1b}[2J\r\n\u{7f}\u{80}\u{9b}31m\u{9f}\u{a0}\u{e9}\u{20ac}";
        let mut record = samples::record();
        record.head.as_mut().unwrap().user_agent = Some(tricky.into());
        let escaped = r#""a\" 200 - \\ \u001b[2J\u000d\u000a\u007f\u0080\u009b31m\u009f"#;
        let text = line(Format::Text, &record);
        assert!(text.contains(&format!("{escaped}\u{a0}\u{e9}\u{20ac}\"")), "{text}");
        assert!(text.trim_end().chars().all(|letter| !letter.is_control()), "{text}");
        let json = line(Format::Json, &record);
        assert!(json.trim_end().chars().all(|letter| !letter.is_control()), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["user_agent"], tricky);
    }

    #[test]
    fn a_unix_sockets_path_is_shown_as_one() {
        let path = Address::Unix("/run/a \"b\".sock".into());
        let destination = Rc::new(Destination { endpoint: Some(path), ..samples::destination() });
        let record = Record { destination, ..samples::record() };
        assert!(line(Format::Text, &record).contains(r#" "unix:///run/a \"b\".sock" "#));
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &record)).unwrap();
        assert_eq!(json["upstream_host"], "unix:///run/a \"b\".sock");
    }

    #[test]
    fn addresses_and_numbers_print_as_std_prints_them() {
        let sockets = ["0.0.0.0:0", "10.200.3.255:65535", "[::1]:80", "[2001:db8::7]:443"];
        for socket in sockets.map(|text| text.parse::<SocketAddr>().unwrap()) {
            let mut out = Vec::new();
            address(&mut out, socket);
            assert_eq!(String::from_utf8(out).unwrap(), socket.to_string());
        }
        for number in [0, 9, 10, 100, 4_294_967_296, u64::MAX] {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
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
            timestamp(&mut out, UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
