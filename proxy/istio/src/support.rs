//! Every field that is known, and what becomes of it: one row each. A test holds the rows and the readers to one another.
//!
//! To know another field: write its row, add it to its type in `resources/`, read it in `read/`, write it into `tests/data/known/`
//! and its rules into `tests/rules/`. To enforce it: let `compile/` use it and turn its row to `on`, and the block that it leads to
//! to `closed`. A row that is not read fails a test, and so does a reader without a row.

/// A kind of block and its fields.
#[derive(Debug)]
pub struct Block {
    /// The kind of object it is a part of.
    pub kind: &'static str,
    /// Where it stands in the object.
    pub path: &'static str,
    /// Whether fields without a row are none of our business: Kubernetes' own objects say much that concerns no proxy.
    pub open: bool,
    /// Whether an unknown field is an error instead of a warning.
    pub strict: bool,
    /// Whether the block as a whole is read and checked but not enforced yet: the row that leads to it says what happens instead.
    pub kept: bool,
    /// Its fields.
    pub rows: &'static [Row],
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in lowerCamelCase; snake_case is understood too.
    pub field: &'static str,
    /// What it is for, as a sentence.
    pub about: &'static str,
    /// What becomes of it.
    pub status: Status,
}

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It does what Istio says.
    Enforced,
    /// It does what Istio says as far as the text tells; where it does not, the reader warns.
    InPart(&'static str),
    /// It carries no instruction, such as a time stamp.
    Passed,
    /// It is read and checked, with a warning: not enforced yet. The text says what happens instead.
    Later(&'static str),
    /// It is read and checked, with a warning: it can have no effect here. The text says why.
    Ignored(&'static str),
    /// It is an error. The text says what to write instead.
    Refused(&'static str),
}

impl Block {
    /// The row of a field, by either spelling.
    pub fn row(&self, key: &str) -> Option<&'static Row> {
        let direct = self.rows.iter().find(|row| same(row.field, key));
        direct.or_else(|| {
            let camel = key.contains('_').then(|| lower_camel(key))?;
            self.rows.iter().find(|row| row.field == camel)
        })
    }
}

/// Whether two names are one. Nearly all that differ do so in length or in the first letter.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.as_bytes().first() == b.as_bytes().first() && a == b
}

/// A field of Istio's original spelling in the usual one.
pub(crate) fn lower_camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or("").to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(not(test))]
pub(crate) fn asked(_: &'static Block, _: &'static str) {}

/// Kind, path and field.
#[cfg(test)]
pub(crate) type Asked = (&'static str, &'static str, &'static str);

#[cfg(test)]
thread_local! {
    static ASKED: std::cell::RefCell<std::collections::BTreeSet<Asked>> = Default::default();
}

#[cfg(test)]
pub(crate) fn asked(block: &'static Block, field: &'static str) {
    ASKED.with_borrow_mut(|asked| asked.insert((block.kind, block.path, field)));
    assert!(block.row(field).is_some(), "`{}` reads `{field}`, which has no row", block.path);
}

const fn on(field: &'static str, about: &'static str) -> Row {
    Row { field, about, status: Status::Enforced }
}

const fn in_part(field: &'static str, about: &'static str, limit: &'static str) -> Row {
    Row { field, about, status: Status::InPart(limit) }
}

const fn passed(field: &'static str, about: &'static str) -> Row {
    Row { field, about, status: Status::Passed }
}

const fn later(field: &'static str, about: &'static str, instead: &'static str) -> Row {
    Row { field, about, status: Status::Later(instead) }
}

const fn ignored(field: &'static str, about: &'static str, why: &'static str) -> Row {
    Row { field, about, status: Status::Ignored(why) }
}

const fn refused(field: &'static str, about: &'static str, instead: &'static str) -> Row {
    Row { field, about, status: Status::Refused(instead) }
}

macro_rules! blocks {
    ($($name:ident $kind:literal $path:literal $form:ident [$($row:expr),* $(,)?])*) => {
        $(pub(crate) static $name: Block = Block {
            kind: $kind, path: $path, open: form::$form.0, strict: form::$form.1, kept: form::$form.2,
            rows: &[$($row),*],
        };)*
        /// Every block.
        pub static ALL: &[&Block] = &[$(&$name),*];
    };
}

/// How a block's keys are taken: (open, strict, kept).
#[allow(non_upper_case_globals)]
mod form {
    pub(super) const closed: (bool, bool, bool) = (false, false, false);
    pub(super) const open: (bool, bool, bool) = (true, false, false);
    pub(super) const strict: (bool, bool, bool) = (false, true, false);
    pub(super) const kept: (bool, bool, bool) = (false, false, true);
}

const NO_TLS: &str = "connections are made without TLS";
/// What becomes of requests to what a DestinationRule asks TLS for.
const REFUSED_WITHOUT_TLS: &str = "requests are answered 503 unless it is `mode: DISABLE`, since TLS is not spoken yet";
const TCP_PLAIN: &str = "TCP and TLS traffic is not routed by rules";

blocks! {
    ENVELOPE "" "object" strict [
        on("apiVersion", "Group and version of the kind."),
        on("kind", "What the object is."),
        on("metadata", "What it is called."),
        on("spec", "What it says."),
        passed("status", "What a cluster knows of it."),
    ]
    METADATA "" "metadata" open [
        on("name", "Its name, unique for its kind and namespace."),
        on("namespace", "Its namespace; the command line's, else `default`, when absent."),
        on("labels", "Labels, by which selectors choose."),
        on("annotations", "Notes for programs; those of Istio and Leeboard that are known are followed."),
        on("creationTimestamp", "Its age: the older of two objects goes first. Without one the order of the files counts."),
        on("deletionTimestamp", "It is going away."),
        on("ownerReferences", "What made it; of a pod, its workload."),
    ]
    OWNER "" "metadata.ownerReferences[]" open [
        on("kind", "The owner's kind."),
        on("name", "The owner's name."),
        on("controller", "Whether it is the owner that counts."),
    ]

    VIRTUAL_SERVICE "VirtualService" "spec" closed [
        on("hosts", "Whose requests the rules are for; a short name is completed with the object's namespace. Without hosts it is a delegate."),
        on("gateways", "Where the rules apply; absent means `mesh`, all sidecars."),
        on("http", "Rules for HTTP, in order of priority."),
        later("tls", "Rules for TLS that is passed through, by server name.", TCP_PLAIN),
        later("tcp", "Rules for TCP.", TCP_PLAIN),
        on("exportTo", "Namespaces that see it: `.`, `*` or names; absent means the mesh's default, everybody."),
    ]
    HTTP_ROUTE "VirtualService" "http[]" closed [
        on("name", "The entry's name, shown as the route's."),
        on("match", "Alternatives, one of which must hold; absent matches everything."),
        on("route", "Destinations and their shares."),
        on("redirect", "Answers with a redirect."),
        on("directResponse", "Answers with a fixed response."),
        on("delegate", "Rules of another VirtualService, one without hosts, are put in this place."),
        on("rewrite", "Changes path and Host on the way there."),
        on("timeout", "How long the whole exchange may take, retries included; absent is no limit."),
        on("retries", "What is tried again; absent takes the mesh's default."),
        on("fault", "Delays or aborts that are injected on purpose."),
        on("mirror", "A destination that gets copies of the requests."),
        on("mirrorPercent", "Of how many requests, in whole percent; deprecated."),
        on("mirrorPercentage", "Of how many requests copies are made; absent is all."),
        on("mirrors", "Several destinations that get copies."),
        on("corsPolicy", "Lets pages of other origins call, and answers their preflight requests."),
        on("headers", "Headers that are set, added and removed."),
    ]
    DELEGATE "VirtualService" "http[].delegate" closed [
        on("name", "The other VirtualService."),
        on("namespace", "Its namespace; this object's when absent."),
    ]
    TLS_ROUTE "VirtualService" "tls[]" kept [
        on("match", "Alternatives, one of which must hold."),
        on("route", "Destinations and their shares."),
    ]
    TLS_MATCH "VirtualService" "tls[].match[]" kept [
        on("sniHosts", "Server names, each covered by a host of the object."),
        on("destinationSubnets", "Addresses that the caller dials."),
        on("port", "The port that the caller addresses; absent and 0 are any."),
        on("sourceLabels", "Labels of the calling workload."),
        on("sourceNamespace", "Namespace of the calling workload."),
        on("gateways", "Takes the place of the object's `gateways` for this alternative."),
    ]
    TCP_ROUTE "VirtualService" "tcp[]" kept [
        on("match", "Alternatives, one of which must hold; absent matches everything."),
        on("route", "Destinations and their shares."),
    ]
    TCP_MATCH "VirtualService" "tcp[].match[]" kept [
        on("destinationSubnets", "Addresses that the caller dials."),
        on("port", "The port that the caller addresses; absent and 0 are any."),
        ignored("sourceSubnet", "Addresses of callers.", "Istio does not look at it"),
        on("sourceLabels", "Labels of the calling workload."),
        on("sourceNamespace", "Namespace of the calling workload."),
        on("gateways", "Takes the place of the object's `gateways` for this alternative."),
    ]
    STREAM_DESTINATION "VirtualService" "tls[].route[], tcp[].route[]" kept [
        on("destination", "Where to."),
        on("weight", "Its share of the sum of all weights; a single destination takes everything."),
    ]
    HTTP_MATCH "VirtualService" "http[].match[]" closed [
        on("name", "Its name, added to the route's."),
        on("uri", "The path, without the query."),
        on("scheme", "`http` or `https`."),
        on("method", "The method."),
        on("authority", "Host as sent, port included."),
        on("headers", "Headers that must all match; `{}` asks for presence."),
        on("withoutHeaders", "Headers that must not match."),
        on("queryParams", "Query parameters that must all match; the first of a name counts."),
        on("ignoreUriCase", "Compares `exact` and `prefix` of `uri` without regard to case."),
        on("port", "The port that the caller addresses; absent and 0 are any."),
        on("sourceLabels", "Labels of the calling workload; looked at only when `gateways` is absent here."),
        on("sourceNamespace", "Namespace of the calling workload; looked at only when `gateways` is absent here."),
        on("gateways", "Takes the place of the object's `gateways` for this alternative."),
        ignored("statPrefix", "Names statistics of the route.", "statistics are not kept by route prefix"),
    ]
    STRING_MATCH "VirtualService" "a match" closed [
        on("exact", "The whole text."),
        on("prefix", "How the text begins; of a path, letter by letter: `/a` matches `/ab`."),
        on("regex", "An expression of RE2's syntax for the whole text."),
    ]
    ROUTE_DESTINATION "VirtualService" "http[].route[]" closed [
        on("destination", "Where to."),
        on("weight", "Its share of the sum of all weights; a single destination takes everything."),
        on("headers", "Changes to headers on this way only."),
    ]
    DESTINATION "VirtualService" "destination" closed [
        on("host", "The service; a short name is completed with the object's namespace."),
        on("subset", "A subset that the host's DestinationRule defines."),
        on("port", "The service's port; absent is the one that the caller addresses."),
    ]
    PORT_SELECTOR "VirtualService" "port" closed [on("number", "The port's number.")]
    RETRIES "VirtualService" "http[].retries" closed [
        on("attempts", "Retries after the first attempt; 0 turns them off."),
        on("perTryTimeout", "How long one attempt may take; absent is the whole timeout."),
        on("retryOn", "What is tried again, separated by commas without blanks; absent takes the default list."),
        on("retryIgnorePreviousHosts", "Avoids endpoints that were tried; absent means yes, unless a consistent hash decides."),
        on("backoff", "The base of the waits between attempts; 25 ms when absent, ten times as much at most."),
        on("retryRemoteLocalities", "After two attempts the levels of endpoints that they went to are passed over."),
    ]
    CORS "VirtualService" "http[].corsPolicy" closed [
        on("allowOrigins", "Origins whose pages may call."),
        on("allowOrigin", "The same as exact texts; deprecated."),
        on("allowMethods", "Methods they may use; `*` is the one that is asked for."),
        on("allowHeaders", "Headers they may send; `*` is those that are asked for."),
        on("exposeHeaders", "Headers of responses that they may read."),
        on("maxAge", "How long a browser may remember the answer, in whole seconds."),
        on("allowCredentials", "Whether cookies may be sent along."),
        on("unmatchedPreflights", "What becomes of preflight requests of other origins: `FORWARD` (default) or `IGNORE`."),
    ]
    REWRITE "VirtualService" "http[].rewrite" closed [
        on("uri", "Takes the place of the matched prefix, or of the whole path after another kind of match."),
        on("authority", "The new Host."),
        on("uriRegexRewrite", "Replaces what an expression finds in the path."),
    ]
    REGEX_REWRITE "VirtualService" "http[].rewrite.uriRegexRewrite" closed [
        on("match", "What is looked for, anywhere in the path."),
        on("rewrite", "What takes its place; `\\1` is a group, `\\0` the whole match."),
    ]
    REDIRECT "VirtualService" "http[].redirect" closed [
        on("uri", "The new path; the query stays unless this has one."),
        on("prefixRewrite", "What takes the place of the matched prefix."),
        on("authority", "The new host."),
        on("scheme", "The new scheme."),
        on("port", "The new port."),
        on("derivePort", "Where the new port comes from: `FROM_PROTOCOL_DEFAULT` or `FROM_REQUEST_PORT`."),
        on("redirectCode", "301 (default), 302, 303, 307 or 308."),
    ]
    DIRECT_RESPONSE "VirtualService" "http[].directResponse" closed [
        on("status", "The status."),
        on("body", "The body, at most 1 MiB; empty when absent."),
    ]
    BODY "VirtualService" "http[].directResponse.body" closed [
        on("string", "The body as text."),
        on("bytes", "The body in base64."),
    ]
    FAULT "VirtualService" "http[].fault" closed [
        on("delay", "Requests that wait first."),
        on("abort", "Requests that are answered with an error."),
    ]
    DELAY "VirtualService" "http[].fault.delay" closed [
        on("fixedDelay", "How long they wait."),
        refused("exponentialDelay", "A delay that varies.", "write `fixedDelay`"),
        on("percentage", "How many wait; absent is none."),
        on("percent", "How many wait, in whole percent; deprecated."),
    ]
    ABORT "VirtualService" "http[].fault.abort" closed [
        on("httpStatus", "The status of the answer."),
        on("grpcStatus", "The answer's gRPC status by name."),
        refused("http2Error", "An HTTP/2 error as the answer.", "write `httpStatus` or `grpcStatus`"),
        on("percentage", "How many are aborted; absent is none."),
    ]
    PERCENT "VirtualService" "percentage" closed [on("value", "0 to 100, with a fraction; 0 when absent.")]
    MIRROR "VirtualService" "http[].mirrors[]" closed [
        on("destination", "Where copies go."),
        on("percentage", "Of how many requests; absent is all."),
    ]
    HEADERS "VirtualService" "headers" closed [
        on("request", "Changes on the way there."),
        on("response", "Changes on the way back."),
    ]
    HEADER_OPERATIONS "VirtualService" "headers.request" closed [
        on("set", "Headers that get a value, whatever they had; values may have `%OPERATOR%`s."),
        on("add", "Headers that get one more value."),
        on("remove", "Headers that are taken away, before the others are set."),
    ]

    DESTINATION_RULE "DestinationRule" "spec" closed [
        on("host", "Whose policy this is; a short name is completed with the object's namespace, a wildcard stands for many."),
        on("trafficPolicy", "The policy of all ports and subsets that do not say otherwise."),
        on("subsets", "Named parts of the host's endpoints."),
        on("exportTo", "Namespaces that see it; absent means the mesh's default, everybody."),
        on("workloadSelector", "Client workloads of the same namespace that use it; absent is all."),
    ]
    RULE_SELECTOR "DestinationRule" "workloadSelector" closed [on("matchLabels", "Labels that the client must carry.")]
    SUBSET "DestinationRule" "subsets[]" closed [
        on("name", "Its name, for `destination.subset`."),
        on("labels", "Labels that an endpoint must carry; none takes them all."),
        on("trafficPolicy", "Blocks that replace the rule's own, each as a whole."),
    ]
    TRAFFIC_POLICY "DestinationRule" "trafficPolicy" closed [
        on("loadBalancer", "How an endpoint is chosen."),
        on("connectionPool", "How much the host may be given."),
        on("outlierDetection", "When an endpoint is set aside; present even when empty."),
        in_part("tls", "How connections are secured.", REFUSED_WITHOUT_TLS),
        on("portLevelSettings", "Policies of single service ports, which inherit nothing."),
        later("tunnel", "Carries TCP through another proxy.", TCP_PLAIN),
        later("proxyProtocol", "Tells the endpoint the caller's address before the first byte.", "no PROXY header is sent"),
        on("retryBudget", "Bounds retries by what is under way, in place of `maxRetries`. A port's own settings drop it."),
    ]
    PORT_POLICY "DestinationRule" "trafficPolicy.portLevelSettings[]" closed [
        on("port", "Which service port."),
        on("loadBalancer", "How an endpoint is chosen."),
        on("connectionPool", "How much the host may be given."),
        on("outlierDetection", "When an endpoint is set aside."),
        in_part("tls", "How connections are secured.", REFUSED_WITHOUT_TLS),
    ]
    POLICY_PORT "DestinationRule" "portLevelSettings[].port" closed [on("number", "The service port's number.")]
    LOAD_BALANCER "DestinationRule" "loadBalancer" closed [
        on("simple", "`LEAST_REQUEST` (default), `ROUND_ROBIN`, `RANDOM` or `PASSTHROUGH`."),
        on("consistentHash", "The same key goes to the same endpoint."),
        on("localityLbSetting", "Which localities are preferred; absent takes the mesh's, by which the nearest come first where there is outlier detection."),
        on("zoneAwareLbSetting", "Prefers the caller's zone as far as that leaves every zone with its share."),
        on("warmup", "A new endpoint takes its share little by little; of ROUND_ROBIN and LEAST_REQUEST."),
        on("warmupDurationSecs", "How long that lasts; deprecated."),
    ]
    CONSISTENT_HASH "DestinationRule" "loadBalancer.consistentHash" closed [
        on("httpHeaderName", "Hashes a header."),
        on("httpCookie", "Hashes a cookie, which is made when it has a `ttl`."),
        on("useSourceIp", "Hashes the caller's address."),
        on("httpQueryParameterName", "Hashes a query parameter."),
        on("ringHash", "Looks the hash up on a ring (default)."),
        on("maglev", "Looks the hash up in Maglev's table."),
        on("minimumRingSize", "The least size of the ring; deprecated."),
    ]
    HASH_COOKIE "DestinationRule" "loadBalancer.consistentHash.httpCookie" closed [
        on("name", "The cookie's name."),
        on("path", "The path of a cookie that is made."),
        on("ttl", "How long it lives; 0s lasts as long as the browser, absent makes none."),
        on("attributes", "More attributes of a cookie that is made."),
    ]
    COOKIE_ATTRIBUTE "DestinationRule" "loadBalancer.consistentHash.httpCookie.attributes[]" closed [
        on("name", "The attribute's name."),
        on("value", "Its value; may be empty."),
    ]
    MAGLEV "DestinationRule" "loadBalancer.consistentHash.maglev" closed [
        on("tableSize", "The size of the table, a prime below 5000011."),
    ]
    RING_HASH "DestinationRule" "loadBalancer.consistentHash.ringHash" closed [
        on("minimumRingSize", "The least size of the ring; 1024 when absent or 0."),
    ]
    LOCALITY "DestinationRule" "loadBalancer.localityLbSetting" closed [
        on("distribute", "What share of a locality's requests goes to which."),
        on("failover", "Which region is next when one fails; needs `outlierDetection`."),
        on("failoverPriority", "Labels by which endpoints like the caller go first; needs `outlierDetection`."),
        on("enabled", "Whether localities count at all; absent takes the mesh's."),
    ]
    DISTRIBUTE "DestinationRule" "loadBalancer.localityLbSetting.distribute[]" closed [
        on("from", "The caller's locality, `region/zone/subzone`; `*` may end it."),
        on("to", "Localities and their percentages, which add up to 100."),
    ]
    FAILOVER "DestinationRule" "loadBalancer.localityLbSetting.failover[]" closed [
        on("from", "A region."),
        on("to", "The region that is next."),
    ]
    ZONE_AWARE "DestinationRule" "loadBalancer.zoneAwareLbSetting" closed [
        on("enabled", "Whether zones count."),
        on("failover", "Which region is next when one fails."),
        on("failoverPriority", "Labels by which endpoints like the caller go first."),
        on("minClusterSize", "With fewer endpoints zones are not looked at; 6 when absent."),
    ]
    CLIENT_TLS "DestinationRule" "tls" kept [
        on("mode", "`DISABLE` (also when absent here), `SIMPLE`, `MUTUAL` or `ISTIO_MUTUAL`."),
        on("clientCertificate", "File with the proxy's certificate."),
        on("privateKey", "File with its key."),
        on("caCertificates", "File with the authorities that are trusted; the system's when absent."),
        on("caCrl", "File with certificates that are revoked."),
        on("credentialName", "A secret with all of these."),
        on("subjectAltNames", "Names that the endpoint's certificate may bear."),
        on("sni", "The server name that is asked for; the request's Host when absent."),
        on("insecureSkipVerify", "Trusts any certificate."),
    ]
    TUNNEL "DestinationRule" "trafficPolicy.tunnel" kept [
        on("protocol", "The method that opens the tunnel: `CONNECT` (default) or `POST`."),
        on("targetHost", "The host that the tunnel leads to."),
        on("targetPort", "The port that it leads to."),
    ]
    PROXY_PROTOCOL "DestinationRule" "trafficPolicy.proxyProtocol" kept [
        on("version", "`V1` (default) or `V2`."),
    ]
    WARMUP "DestinationRule" "loadBalancer.warmup" closed [
        on("duration", "How long an endpoint is new."),
        on("minimumPercent", "What it begins with, in percent of its share; 10 when absent."),
        on("aggression", "The shape of the curve; 1, a straight line, when absent."),
    ]
    RETRY_BUDGET "DestinationRule" "trafficPolicy.retryBudget" closed [
        on("percent", "How many retries may be under way, in percent of the requests that are; 20 when absent."),
        on("minRetryConcurrency", "How many may be under way in any case; 3 when absent."),
        on("budgetInterval", "Also counts the requests of this time."),
    ]
    CONNECTION_POOL "DestinationRule" "connectionPool" closed [
        on("tcp", "Connections."),
        on("http", "Requests."),
    ]
    TCP_SETTINGS "DestinationRule" "connectionPool.tcp" closed [
        on("maxConnections", "Connections at a time; absent and 0 are no limit."),
        on("connectTimeout", "How long a connection may take to be made; the mesh's, 10 s, when absent."),
        on("tcpKeepalive", "Probes of idle connections."),
        on("idleTimeout", "When an idle connection is closed; 0s is never. `http.idleTimeout` goes first."),
        on("maxConnectionDuration", "How old a connection may become; an older one takes no further request."),
    ]
    TCP_KEEPALIVE "DestinationRule" "connectionPool.tcp.tcpKeepalive" closed [
        on("probes", "Unanswered probes before a connection is dead."),
        on("time", "Idle time before the first probe."),
        on("interval", "Time between probes."),
    ]
    HTTP_SETTINGS "DestinationRule" "connectionPool.http" closed [
        on("http1MaxPendingRequests", "Requests that may wait for a connection, of any version of HTTP."),
        on("http2MaxRequests", "Requests under way at a time, of any version of HTTP."),
        on("maxRequestsPerConnection", "Requests before a connection is closed; 1 turns keep-alive off."),
        on("maxRetries", "Retries under way at a time."),
        on("idleTimeout", "When an idle connection is closed; 1 h when absent."),
        on("h2UpgradePolicy", "Whether HTTP/2 is spoken to ports declared as HTTP."),
        on("useClientProtocol", "Speaks to the endpoint what the caller speaks."),
        on("maxConcurrentStreams", "Requests at a time on one HTTP/2 connection."),
        on("http2KeepAlive", "Pings on HTTP/2 connections."),
    ]
    HTTP2_KEEPALIVE "DestinationRule" "connectionPool.http.http2KeepAlive" closed [
        on("interval", "Time between pings."),
        on("timeout", "How long an answer may take."),
    ]
    OUTLIER_DETECTION "DestinationRule" "outlierDetection" closed [
        on("consecutive5xxErrors", "Failures in a row that eject an endpoint; 5 when absent, 0 turns it off."),
        on("consecutiveGatewayErrors", "502, 503 and 504 in a row that eject it; off when absent or 0."),
        ignored("consecutiveErrors", "The former name of both.", "Istio ignores it; write `consecutive5xxErrors` or `consecutiveGatewayErrors`"),
        on("splitExternalLocalOriginErrors", "Counts failed connections apart from answers."),
        on("consecutiveLocalOriginFailures", "Failed connections in a row that eject it; 5 when absent."),
        on("interval", "How often it is looked who may come back; 10 s when absent."),
        on("baseEjectionTime", "How long the first ejection lasts, each next one that much longer; 30 s when absent."),
        on("maxEjectionPercent", "How many endpoints may be ejected at a time; 10 % when absent or 0. Below 100 an ejected one is used rather than none."),
        on("minHealthPercent", "With fewer available endpoints all are used; never when absent or 0."),
        on("outlierDetectionHttpErrorCodes", "The only statuses that count as failures."),
    ]

    SERVICE_ENTRY "ServiceEntry" "spec" closed [
        on("hosts", "Names of the service; each is a service of its own, never completed."),
        on("addresses", "Virtual addresses: names of the service in HTTP, unless they are ranges."),
        on("ports", "Its ports."),
        on("location", "`MESH_EXTERNAL` (default) or `MESH_INTERNAL`."),
        on("resolution", "How endpoints are found: `NONE` (default), `STATIC`, `DNS`, `DNS_ROUND_ROBIN` or `DYNAMIC_DNS`."),
        on("endpoints", "Endpoints that are written down."),
        on("workloadSelector", "Endpoints are WorkloadEntries and pods of the namespace with these labels."),
        on("exportTo", "Namespaces that see it; `~` is nobody, absent means the mesh's default, everybody."),
        later("subjectAltNames", "Names that certificates of its endpoints may bear.", NO_TLS),
    ]
    ENTRY_STATUS "ServiceEntry" "status" open [on("addresses", "Virtual addresses that a cluster has given to its hosts.")]
    STATUS_ADDRESS "ServiceEntry" "status.addresses[]" open [
        on("value", "The address."),
        on("host", "The host that it is for."),
    ]
    SERVICE_PORT "ServiceEntry" "ports[]" closed [
        on("number", "The number that callers use."),
        on("name", "Its name, for `ports` of endpoints."),
        on("protocol", "What it speaks; absent is found out from the first bytes."),
        on("targetPort", "The port at the endpoints; absent is the same number."),
    ]
    LABEL_SELECTOR "ServiceEntry" "workloadSelector" closed [on("labels", "Labels that a workload must carry.")]
    WORKLOAD "WorkloadEntry" "spec, endpoints[]" closed [
        on("address", "An IP address, a name to look up, or `unix://` and a path."),
        on("ports", "The port for a service port of that name."),
        on("labels", "Labels, by which subsets and selectors choose."),
        later("network", "The network that the workload is in.", "endpoints of every network are reached directly"),
        on("locality", "Where it is, as `region/zone/subzone`."),
        on("weight", "Its share among the endpoints; 1 when absent or 0."),
        later("serviceAccount", "The identity of its certificate.", "callers are not told apart by their identity"),
    ]

    // A gateway is read and checked, and its object earns a warning as a whole.
    GATEWAY "Gateway" "spec" kept [
        on("selector", "Labels of the gateway's workloads; none is every gateway."),
        on("servers", "Ports that are served."),
    ]
    SERVER "Gateway" "servers[]" kept [
        on("port", "The port."),
        on("hosts", "`[namespace/]host`s that VirtualServices may serve here."),
        on("bind", "The address or Unix socket that is listened at; all addresses when absent."),
        on("tls", "How callers' connections are secured; needed for HTTPS and TLS."),
        ignored("defaultEndpoint", "Where traffic goes by default.", "Istio does not use it"),
        on("name", "The server's name, which nothing depends on."),
    ]
    SERVER_PORT "Gateway" "servers[].port" kept [
        on("number", "Its number; 0 with a Unix socket only."),
        on("name", "Its name, unique among the servers."),
        on("protocol", "What it speaks."),
        on("targetPort", "Not accepted, unless it is 0."),
    ]
    SERVER_TLS "Gateway" "tls" kept [
        on("httpsRedirect", "Answers every request with a redirect to https."),
        on("mode", "`PASSTHROUGH` (also when absent), `SIMPLE`, `MUTUAL`, `AUTO_PASSTHROUGH`, `ISTIO_MUTUAL` or `OPTIONAL_MUTUAL`."),
        on("serverCertificate", "File with the certificate."),
        on("privateKey", "File with its key."),
        on("caCertificates", "File with the authorities that callers' certificates must come from."),
        on("caCrl", "File with certificates that are revoked."),
        on("credentialName", "A secret with all of these."),
        on("credentialNames", "Two secrets, for keys of two kinds."),
        on("caCertCredentialName", "A secret with the authorities."),
        on("tlsCertificates", "Two certificates, for keys of two kinds."),
        on("subjectAltNames", "Names that a caller's certificate may bear."),
        on("verifyCertificateSpki", "Hashes of keys that a caller's certificate may have."),
        on("verifyCertificateHash", "Hashes that a caller's certificate may have."),
        on("minProtocolVersion", "The oldest version that is spoken; 1.2 when absent."),
        on("maxProtocolVersion", "The newest version that is spoken; 1.3 when absent."),
        on("cipherSuites", "Ciphers that are spoken."),
        on("insecureSkipVerify", "Lets callers in whose certificate cannot be verified."),
    ]
    TLS_CERTIFICATE "Gateway" "tls.tlsCertificates[]" kept [
        on("serverCertificate", "File with the certificate."),
        on("privateKey", "File with its key."),
        on("caCertificates", "File with the authorities that callers' certificates must come from."),
    ]

    SIDECAR "Sidecar" "spec" closed [
        on("workloadSelector", "Workloads of the namespace that it is for; absent is all of them."),
        later("ingress", "Inbound ports.", "the inbound ports are those of the command line, and of an entry only `connectionPool` holds"),
        on("egress", "What the workload sees of the mesh; absent is everything."),
        on("inboundConnectionPool", "How much the application may be given."),
        on("outboundTrafficPolicy", "What is done with unknown hosts."),
    ]
    SIDECAR_SELECTOR "Sidecar" "workloadSelector" closed [on("labels", "Labels that the workload must carry.")]
    EGRESS "Sidecar" "egress[]" closed [
        on("port", "The only port of this entry's hosts; absent is all that no other entry has."),
        later("bind", "The address or Unix socket that is listened at.", "all traffic comes in at the proxy's own outbound address"),
        in_part("captureMode", "How traffic gets there: `DEFAULT`, `IPTABLES` or `NONE`.", "all traffic comes in at the proxy's own outbound address"),
        on("hosts", "`namespace/host`s that are seen; `.` is the workload's namespace, `*` all, `~` none, and `~name` leaves one out."),
    ]
    INGRESS "Sidecar" "ingress[]" kept [
        on("port", "The port that callers address."),
        on("bind", "The address that is listened at."),
        on("captureMode", "How traffic gets there: `DEFAULT`, `IPTABLES` or `NONE`."),
        on("defaultEndpoint", "Where the application listens."),
        on("tls", "How callers' connections are secured."),
        on("connectionPool", "How much the application may be given at this port. This is enforced."),
    ]
    LISTENER_PORT "Sidecar" "port" closed [
        on("number", "Its number; 0 with a Unix socket only."),
        on("name", "Its name."),
        on("protocol", "What it speaks."),
        on("targetPort", "Not accepted, unless it is 0."),
    ]
    OUTBOUND_POLICY "Sidecar" "outboundTrafficPolicy" closed [
        on("mode", "`REGISTRY_ONLY` (also when absent here) or `ALLOW_ANY`."),
        on("egressProxy", "Where unknown hosts are sent; deprecated."),
    ]

    MESH_CONFIG "MeshConfig" "MeshConfig" closed [
        passed("apiVersion", "Nothing, or a version of `mesh.istio.io`."),
        passed("kind", "`MeshConfig`; may be left out in the file of `--mesh-config`."),
        passed("metadata", "What the document is called; may be left out."),
        on("connectTimeout", "How long a connection may take to be made, where no policy says so; 10 s when absent."),
        on("outboundTrafficPolicy", "What is done with unknown hosts, where neither a Sidecar nor the command line says so."),
        in_part("enableAutoMtls", "Secures connections where both sides can.", NO_TLS),
        on("localityLbSetting", "Which localities are preferred, where no policy says so."),
        on("h2UpgradePolicy", "Whether HTTP/2 is spoken to ports declared as HTTP, where no policy says so."),
        on("defaultHttpRetryPolicy", "What is tried again on routes that do not say so."),
        on("defaultInboundHttpRetryPolicy", "What is tried again on the way to the application; attempts, conditions and back-off count."),
        on("defaultTrafficPolicy", "Blocks of policy for services whose own has none."),
        on("tcpKeepalive", "Probes of idle connections, where no policy says so; none when absent."),
        on("defaultServiceExportTo", "Namespaces that see services which do not say so; everybody when absent."),
        on("defaultVirtualServiceExportTo", "Namespaces that see VirtualServices which do not say so; everybody when absent."),
        on("defaultDestinationRuleExportTo", "Namespaces that see DestinationRules which do not say so; everybody when absent."),
        later("protocolDetectionTimeout", "How long is waited for a caller's first byte.", "it is waited for as long as `--header-timeout` says"),
        on("pathNormalization", "How paths are cleaned before they are matched."),
        on("accessLogFile", "Where the access log goes, unless `--access-log` says so. It is read once, at the start."),
        in_part("accessLogFormat", "How a line of text looks; Istio's own format when empty.", "lines have Istio's own format"),
        on("accessLogEncoding", "`TEXT` (default) or `JSON`, unless `--access-log-format` says so."),
        later("drainDuration", "How long old connections last after a change.", "a change closes no connection"),
        later("terminationDrainDuration", "How long leaving takes.", "it takes as long as `--drain-time` and `--min-drain-time` say"),
        ignored("discoverySelectors", "Namespaces that the control plane watches.", "there is no control plane"),
        on("rootNamespace", "The namespace whose objects are for the whole mesh; `istio-system` when absent."),
        on("defaultConfig", "Settings of proxies."),
    ]
    MESH_PROXY "MeshConfig" "defaultConfig" open [
        on("gatewayTopology", "What is in front of proxies."),
    ]
    MESH_TOPOLOGY "MeshConfig" "defaultConfig.gatewayTopology" open [
        on("numTrustedProxies", "How many proxies before the caller are believed in what `x-forwarded-for` says; 0 when absent."),
    ]
    MESH_OUTBOUND "MeshConfig" "outboundTrafficPolicy" closed [
        on("mode", "`REGISTRY_ONLY` (also when absent here), `ALLOW_ANY` or `ALLOW_ANY_DYNAMIC_DNS`, which is the same here."),
    ]
    MESH_POLICY "MeshConfig" "defaultTrafficPolicy" closed [
        on("connectionPool", "How much a host may be given."),
        on("outlierDetection", "When an endpoint is set aside."),
    ]
    PATH_NORMALIZATION "MeshConfig" "pathNormalization" closed [
        in_part("normalization", "`BASE` (default), `NONE`, `MERGE_SLASHES` or `DECODE_AND_MERGE_SLASHES`.", "paths are normalised as `BASE` says"),
    ]

    SERVICE "Service" "spec" open [
        on("type", "`ExternalName` makes it another name for a host."),
        on("clusterIP", "Its virtual address; `None` makes it headless."),
        on("clusterIPs", "All its virtual addresses."),
        on("externalName", "The host that it stands for."),
        on("ports", "Its ports."),
        on("selector", "Pods that belong to it."),
        on("publishNotReadyAddresses", "Pods count before they are ready."),
        on("trafficDistribution", "`PreferSameZone` (`PreferClose`) or `PreferSameNode`: endpoints nearby go first; the annotation `networking.istio.io/traffic-distribution` says the same, on a ServiceEntry too. Nodes are told by the label `kubernetes.io/hostname` of the workload."),
        on("sessionAffinity", "`None`; write `consistentHash` in a DestinationRule for more."),
    ]
    KUBERNETES_PORT "Service" "spec.ports[]" open [
        on("name", "Its name, whose first word tells what it speaks."),
        on("port", "The number that callers use."),
        on("targetPort", "The number or name at the pods."),
        on("protocol", "`TCP` (default), `UDP` or `SCTP`."),
        on("appProtocol", "What it speaks; goes before the name."),
    ]
    ENDPOINTS "Endpoints" "Endpoints" open [on("subsets", "Addresses and ports that go together.")]
    ENDPOINT_SUBSET "Endpoints" "subsets[]" open [
        on("addresses", "Ready addresses."),
        on("notReadyAddresses", "Addresses that are not ready."),
        on("ports", "Their ports."),
    ]
    ENDPOINT_ADDRESS "Endpoints" "subsets[].addresses[]" open [
        on("ip", "The address."),
        on("hostname", "What it is called below a headless Service's name."),
        on("nodeName", "Its node."),
        on("targetRef", "Its pod."),
    ]
    ENDPOINT_PORT "Endpoints" "a port" open [
        on("name", "The name of the service's port."),
        on("port", "The number at the endpoint."),
        on("protocol", "The transport."),
        on("appProtocol", "What it speaks."),
    ]
    TARGET_REF "Endpoints" "targetRef" open [
        on("kind", "`Pod`, or something that is passed over."),
        on("name", "The pod's name."),
    ]
    ENDPOINT_SLICE "EndpointSlice" "EndpointSlice" open [
        on("addressType", "`IPv4`, `IPv6` or `FQDN`."),
        on("endpoints", "The endpoints."),
        on("ports", "Their ports."),
    ]
    SLICE_ENDPOINT "EndpointSlice" "endpoints[]" open [
        on("addresses", "Its addresses, of which the first is used."),
        on("conditions", "Whether it may be used."),
        on("targetRef", "Its pod."),
        on("hostname", "What it is called below a headless Service's name."),
        on("nodeName", "Its node."),
        on("zone", "Its zone."),
    ]
    CONDITIONS "EndpointSlice" "endpoints[].conditions" open [
        on("ready", "Whether it is used; absent is yes."),
        on("terminating", "Whether it is going away."),
        passed("serving", "Whether it still answers while it goes away."),
    ]
    POD "Pod" "spec" open [
        on("containers", "Its containers."),
        on("initContainers", "Containers that run first."),
        on("nodeName", "Its node."),
        on("securityContext", "Whose rights all containers have."),
    ]
    CONTAINER "Pod" "spec.containers[]" open [
        on("name", "The proxy's own is `istio-proxy` or `leeboard`."),
        on("ports", "Ports with names."),
        on("securityContext", "Whose rights it has."),
    ]
    SECURITY_CONTEXT "Pod" "securityContext" open [on("runAsUser", "1337 is the proxy's own: `check` warns of it.")]
    CONTAINER_PORT "Pod" "spec.containers[].ports[]" open [
        on("name", "Its name, for a Service's `targetPort`."),
        on("containerPort", "Its number."),
    ]
    POD_STATUS "Pod" "status" open [
        on("podIP", "Its address."),
        on("podIPs", "All its addresses."),
        on("conditions", "Among them whether it is ready."),
        on("phase", "Whether it still runs."),
    ]
    POD_IP "Pod" "status.podIPs[]" open [on("ip", "The address.")]
    POD_CONDITION "Pod" "status.conditions[]" open [
        on("type", "`Ready` is the one that counts."),
        on("status", "Whether it holds."),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the readers of this thread have asked for.
    pub(crate) fn take_asked() -> std::collections::BTreeSet<Asked> {
        ASKED.take()
    }

    #[test]
    fn fields_are_known_by_both_their_spellings() {
        let rows = [
            (&OUTLIER_DETECTION, "consecutive_5xx_errors", "consecutive5xxErrors"),
            (&HTTP_ROUTE, "mirror_percent", "mirrorPercent"),
            (&HTTP_SETTINGS, "h2_upgrade_policy", "h2UpgradePolicy"),
            (&HTTP_SETTINGS, "http1_max_pending_requests", "http1MaxPendingRequests"),
        ];
        for (block, snake, camel) in rows {
            assert_eq!(block.row(snake).map(|row| row.field), Some(camel));
        }
        assert!(HTTP_ROUTE.row("Timeout").is_none());
    }

    #[test]
    fn no_field_has_two_rows_and_every_reason_says_something() {
        for block in ALL {
            for (i, row) in block.rows.iter().enumerate() {
                assert!(block.rows[..i].iter().all(|before| before.field != row.field), "{}.{}", block.path, row.field);
                assert!(row.about.len() > 5 && row.about.ends_with('.'), "{}.{}", block.path, row.field);
                if let Status::InPart(why) | Status::Later(why) | Status::Ignored(why) | Status::Refused(why) =
                    row.status
                {
                    assert!(why.len() > 10, "{}.{}", block.path, row.field);
                }
            }
        }
    }
}
