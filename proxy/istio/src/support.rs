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
    /// What becomes of it.
    pub status: Status,
}

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It does what Istio says.
    Enforced,
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
        let direct = self.rows.iter().find(|row| row.field == key);
        direct.or_else(|| {
            let camel = key.contains('_').then(|| lower_camel(key))?;
            self.rows.iter().find(|row| row.field == camel)
        })
    }
}

fn lower_camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or("").to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// Where a field that is unknown in one block would belong, as advice.
pub(crate) fn home(key: &str, here: &'static Block) -> Option<String> {
    if let Some((_, advice)) = HABITS.iter().find(|(word, _)| *word == key) {
        return Some((*advice).to_owned());
    }
    let fits = |block: &&&Block| block.kind == here.kind && !std::ptr::eq(**block, here) && block.row(key).is_some();
    let homes: Vec<_> = ALL.iter().filter(fits).map(|block| format!("`{}`", block.path)).collect();
    let common = homes.len() > 3 || homes.is_empty();
    (!common).then(|| format!("`{key}` belongs in {}", homes.join(" or ")))
}

/// Words of other configurations, and Istio's for the same thing.
const HABITS: &[(&str, &str)] = &[
    (
        "circuitBreaker",
        "limits are written in `trafficPolicy.connectionPool`, ejection in `trafficPolicy.outlierDetection`",
    ),
    (
        "circuitBreakers",
        "limits are written in `trafficPolicy.connectionPool`, ejection in `trafficPolicy.outlierDetection`",
    ),
    ("retry", "retries are written as `retries: {attempts: …, perTryTimeout: …, retryOn: …}`"),
    ("retryPolicy", "retries are written as `retries: {attempts: …, perTryTimeout: …, retryOn: …}`"),
    ("canary", "a canary is written as several entries of `route`, each with a `weight`"),
    ("rateLimit", "Istio has no rate limit here; `connectionPool` bounds what is in flight"),
];

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

const fn on(field: &'static str) -> Row {
    Row { field, status: Status::Enforced }
}

const fn passed(field: &'static str) -> Row {
    Row { field, status: Status::Passed }
}

const fn later(field: &'static str, instead: &'static str) -> Row {
    Row { field, status: Status::Later(instead) }
}

const fn ignored(field: &'static str, why: &'static str) -> Row {
    Row { field, status: Status::Ignored(why) }
}

const fn refused(field: &'static str, instead: &'static str) -> Row {
    Row { field, status: Status::Refused(instead) }
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
const TCP_PLAIN: &str = "TCP and TLS traffic is not routed by rules";
const NO_LOCALITY: &str = "localities are not preferred over one another";
const NO_EDGE: &str = "this proxy stands beside an application and does not serve the edge";

blocks! {
    ENVELOPE "" "object" strict [on("apiVersion"), on("kind"), on("metadata"), on("spec"), passed("status")]
    METADATA "" "metadata" open [
        on("name"), on("namespace"), on("labels"), on("annotations"), on("creationTimestamp"), on("deletionTimestamp"),
        on("ownerReferences"),
    ]
    OWNER "" "metadata.ownerReferences[]" open [on("kind"), on("name"), on("controller")]

    VIRTUAL_SERVICE "VirtualService" "spec" closed [
        on("hosts"), on("gateways"), on("http"), later("tls", TCP_PLAIN), later("tcp", TCP_PLAIN), on("exportTo"),
    ]
    HTTP_ROUTE "VirtualService" "http[]" closed [
        on("name"), on("match"), on("route"), on("redirect"), on("directResponse"),
        later("delegate", "requests that match this entry are matched by the entries after it"),
        on("rewrite"), on("timeout"), on("retries"), on("fault"), on("mirror"), on("mirrorPercent"), on("mirrorPercentage"),
        on("mirrors"), later("corsPolicy", "the application answers preflight requests itself"), on("headers"),
    ]
    HTTP_MATCH "VirtualService" "http[].match[]" closed [
        on("name"), on("uri"), on("scheme"), on("method"), on("authority"), on("headers"), on("withoutHeaders"),
        on("queryParams"), on("ignoreUriCase"), on("port"), on("sourceLabels"), on("sourceNamespace"), on("gateways"),
        ignored("statPrefix", "statistics are not kept by route prefix"),
    ]
    STRING_MATCH "VirtualService" "a match" closed [on("exact"), on("prefix"), on("regex")]
    ROUTE_DESTINATION "VirtualService" "http[].route[]" closed [on("destination"), on("weight"), on("headers")]
    DESTINATION "VirtualService" "destination" closed [on("host"), on("subset"), on("port")]
    PORT_SELECTOR "VirtualService" "port" closed [on("number")]
    RETRIES "VirtualService" "http[].retries" closed [
        on("attempts"), on("perTryTimeout"), on("retryOn"), on("retryIgnorePreviousHosts"), on("backoff"),
        later("retryRemoteLocalities", NO_LOCALITY),
    ]
    CORS "VirtualService" "http[].corsPolicy" kept [
        on("allowOrigins"), on("allowOrigin"), on("allowMethods"), on("allowHeaders"), on("exposeHeaders"), on("maxAge"),
        on("allowCredentials"), on("unmatchedPreflights"),
    ]
    REWRITE "VirtualService" "http[].rewrite" closed [on("uri"), on("authority"), on("uriRegexRewrite")]
    REGEX_REWRITE "VirtualService" "http[].rewrite.uriRegexRewrite" closed [on("match"), on("rewrite")]
    REDIRECT "VirtualService" "http[].redirect" closed [
        on("uri"), on("prefixRewrite"), on("authority"), on("scheme"), on("port"), on("derivePort"), on("redirectCode"),
    ]
    DIRECT_RESPONSE "VirtualService" "http[].directResponse" closed [on("status"), on("body")]
    BODY "VirtualService" "http[].directResponse.body" closed [on("string"), on("bytes")]
    FAULT "VirtualService" "http[].fault" closed [on("delay"), on("abort")]
    DELAY "VirtualService" "http[].fault.delay" closed [
        on("fixedDelay"), refused("exponentialDelay", "write `fixedDelay`"), on("percentage"), on("percent"),
    ]
    ABORT "VirtualService" "http[].fault.abort" closed [
        on("httpStatus"), on("grpcStatus"), refused("http2Error", "write `httpStatus` or `grpcStatus`"), on("percentage"),
    ]
    PERCENT "VirtualService" "percentage" closed [on("value")]
    MIRROR "VirtualService" "http[].mirrors[]" closed [on("destination"), on("percentage")]
    HEADERS "VirtualService" "headers" closed [on("request"), on("response")]
    HEADER_OPERATIONS "VirtualService" "headers.request" closed [on("set"), on("add"), on("remove")]

    DESTINATION_RULE "DestinationRule" "spec" closed [
        on("host"), on("trafficPolicy"), on("subsets"), on("exportTo"), on("workloadSelector"),
    ]
    RULE_SELECTOR "DestinationRule" "workloadSelector" closed [on("matchLabels")]
    SUBSET "DestinationRule" "subsets[]" closed [on("name"), on("labels"), on("trafficPolicy")]
    TRAFFIC_POLICY "DestinationRule" "trafficPolicy" closed [
        on("loadBalancer"), on("connectionPool"), on("outlierDetection"), later("tls", NO_TLS), on("portLevelSettings"),
        later("tunnel", TCP_PLAIN), later("proxyProtocol", "no PROXY header is sent"),
        later("retryBudget", "retries are bounded by `connectionPool.http.maxRetries` only"),
    ]
    PORT_POLICY "DestinationRule" "trafficPolicy.portLevelSettings[]" closed [
        on("port"), on("loadBalancer"), on("connectionPool"), on("outlierDetection"), later("tls", NO_TLS),
    ]
    POLICY_PORT "DestinationRule" "portLevelSettings[].port" closed [on("number")]
    LOAD_BALANCER "DestinationRule" "loadBalancer" closed [
        on("simple"), on("consistentHash"), later("localityLbSetting", NO_LOCALITY), later("zoneAwareLbSetting", NO_LOCALITY),
        later("warmup", "a new endpoint takes its full share at once"),
        later("warmupDurationSecs", "a new endpoint takes its full share at once"),
    ]
    CONSISTENT_HASH "DestinationRule" "loadBalancer.consistentHash" closed [
        on("httpHeaderName"), later("httpCookie", "LEAST_REQUEST is used"), on("useSourceIp"), on("httpQueryParameterName"),
        on("ringHash"), later("maglev", "the same key is hashed onto a ring"), on("minimumRingSize"),
    ]
    HASH_COOKIE "DestinationRule" "loadBalancer.consistentHash.httpCookie" kept [
        on("name"), on("path"), on("ttl"), on("attributes"),
    ]
    COOKIE_ATTRIBUTE "DestinationRule" "loadBalancer.consistentHash.httpCookie.attributes[]" kept [on("name"), on("value")]
    MAGLEV "DestinationRule" "loadBalancer.consistentHash.maglev" kept [on("tableSize")]
    LOCALITY "DestinationRule" "loadBalancer.localityLbSetting" kept [
        on("distribute"), on("failover"), on("failoverPriority"), on("enabled"),
    ]
    DISTRIBUTE "DestinationRule" "loadBalancer.localityLbSetting.distribute[]" kept [on("from"), on("to")]
    FAILOVER "DestinationRule" "loadBalancer.localityLbSetting.failover[]" kept [on("from"), on("to")]
    ZONE_AWARE "DestinationRule" "loadBalancer.zoneAwareLbSetting" kept [
        on("enabled"), on("failover"), on("failoverPriority"), on("minClusterSize"),
    ]
    WARMUP "DestinationRule" "loadBalancer.warmup" kept [on("duration"), on("minimumPercent"), on("aggression")]
    RING_HASH "DestinationRule" "loadBalancer.consistentHash.ringHash" closed [on("minimumRingSize")]
    RETRY_BUDGET "DestinationRule" "trafficPolicy.retryBudget" kept [
        on("percent"), on("minRetryConcurrency"), on("budgetInterval"),
    ]
    CONNECTION_POOL "DestinationRule" "connectionPool" closed [on("tcp"), on("http")]
    TCP_SETTINGS "DestinationRule" "connectionPool.tcp" closed [
        on("maxConnections"), on("connectTimeout"), on("tcpKeepalive"), on("idleTimeout"),
        later("maxConnectionDuration", "a connection is closed when it is idle, not when it is old"),
    ]
    TCP_KEEPALIVE "DestinationRule" "connectionPool.tcp.tcpKeepalive" closed [on("probes"), on("time"), on("interval")]
    HTTP_SETTINGS "DestinationRule" "connectionPool.http" closed [
        on("http1MaxPendingRequests"), on("http2MaxRequests"), on("maxRequestsPerConnection"), on("maxRetries"),
        on("idleTimeout"), on("h2UpgradePolicy"), on("useClientProtocol"), on("maxConcurrentStreams"), on("http2KeepAlive"),
    ]
    HTTP2_KEEPALIVE "DestinationRule" "connectionPool.http.http2KeepAlive" closed [on("interval"), on("timeout")]
    OUTLIER_DETECTION "DestinationRule" "outlierDetection" closed [
        on("consecutive5xxErrors"), on("consecutiveGatewayErrors"),
        ignored("consecutiveErrors", "Istio ignores it; write `consecutive5xxErrors` or `consecutiveGatewayErrors`"),
        on("splitExternalLocalOriginErrors"), on("consecutiveLocalOriginFailures"), on("interval"), on("baseEjectionTime"),
        on("maxEjectionPercent"), on("minHealthPercent"), on("outlierDetectionHttpErrorCodes"),
    ]

    SERVICE_ENTRY "ServiceEntry" "spec" closed [
        on("hosts"), on("addresses"), on("ports"), on("location"), on("resolution"), on("endpoints"), on("workloadSelector"),
        on("exportTo"), later("subjectAltNames", NO_TLS),
    ]
    SERVICE_PORT "ServiceEntry" "ports[]" closed [on("number"), on("name"), on("protocol"), on("targetPort")]
    LABEL_SELECTOR "ServiceEntry" "workloadSelector" closed [on("labels")]
    WORKLOAD "WorkloadEntry" "endpoint" closed [
        on("address"), on("ports"), on("labels"), later("network", "endpoints of every network are reached directly"),
        on("locality"), on("weight"), later("serviceAccount", "callers are not told apart by their identity"),
    ]

    // A gateway's form is checked, and its object earns a warning as a whole.
    GATEWAY "Gateway" "spec" closed [on("selector"), on("servers")]
    SERVER "Gateway" "servers[]" closed [
        on("port"), on("hosts"), later("bind", NO_EDGE), later("tls", NO_EDGE),
        ignored("defaultEndpoint", "Istio does not use it"), passed("name"),
    ]
    SERVER_PORT "Gateway" "servers[].port" closed [
        on("number"), on("name"), on("protocol"), refused("targetPort", "leave it out: Istio does not accept it"),
    ]

    SIDECAR "Sidecar" "spec" closed [
        on("workloadSelector"), later("ingress", "the inbound ports are those of the command line"),
        later("egress", "every service of the configuration is known to this proxy"),
        later("inboundConnectionPool", "inbound connections are not limited"), on("outboundTrafficPolicy"),
    ]
    SIDECAR_SELECTOR "Sidecar" "workloadSelector" closed [on("labels")]
    OUTBOUND_POLICY "Sidecar" "outboundTrafficPolicy" closed [
        on("mode"), later("egressProxy", "unknown hosts are reached directly"),
    ]

    SERVICE "Service" "spec" open [
        on("type"), on("clusterIP"), on("clusterIPs"), on("externalName"), on("ports"), on("selector"),
        on("publishNotReadyAddresses"),
        on("sessionAffinity"),
    ]
    KUBERNETES_PORT "Service" "spec.ports[]" open [
        on("name"), on("port"), on("targetPort"), on("protocol"), on("appProtocol"),
    ]
    ENDPOINTS "Endpoints" "Endpoints" open [on("subsets")]
    ENDPOINT_SUBSET "Endpoints" "subsets[]" open [on("addresses"), on("notReadyAddresses"), on("ports")]
    ENDPOINT_ADDRESS "Endpoints" "subsets[].addresses[]" open [on("ip"), on("nodeName"), on("targetRef")]
    ENDPOINT_PORT "Endpoints" "a port" open [on("name"), on("port"), on("protocol"), on("appProtocol")]
    TARGET_REF "Endpoints" "targetRef" open [on("kind"), on("name")]
    ENDPOINT_SLICE "EndpointSlice" "EndpointSlice" open [on("addressType"), on("endpoints"), on("ports")]
    SLICE_ENDPOINT "EndpointSlice" "endpoints[]" open [
        on("addresses"), on("conditions"), on("targetRef"), on("nodeName"), on("zone"),
    ]
    CONDITIONS "EndpointSlice" "endpoints[].conditions" open [on("ready"), on("terminating"), passed("serving")]
    POD "Pod" "spec" open [on("containers"), on("initContainers"), on("nodeName")]
    CONTAINER "Pod" "spec.containers[]" open [on("ports")]
    CONTAINER_PORT "Pod" "spec.containers[].ports[]" open [on("name"), on("containerPort")]
    POD_STATUS "Pod" "status" open [on("podIP"), on("podIPs"), on("conditions"), on("phase")]
    POD_IP "Pod" "status.podIPs[]" open [on("ip")]
    POD_CONDITION "Pod" "status.conditions[]" open [on("type"), on("status")]
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
    fn a_misplaced_field_is_told_where_it_belongs() {
        let rows = [
            ("consecutive5xxErrors", &HTTP_SETTINGS, "`consecutive5xxErrors` belongs in `outlierDetection`"),
            ("perTryTimeout", &HTTP_ROUTE, "`perTryTimeout` belongs in `http[].retries`"),
            ("maxConnections", &HTTP_SETTINGS, "`maxConnections` belongs in `connectionPool.tcp`"),
        ];
        for (key, here, wanted) in rows {
            assert_eq!(home(key, here).as_deref(), Some(wanted));
        }
        assert!(home("circuitBreaker", &TRAFFIC_POLICY).is_some_and(|advice| advice.contains("outlierDetection")));
        assert_eq!(home("zebra", &TRAFFIC_POLICY), None);
    }

    #[test]
    fn no_field_has_two_rows_and_every_reason_says_something() {
        for block in ALL {
            for (i, row) in block.rows.iter().enumerate() {
                assert!(block.rows[..i].iter().all(|before| before.field != row.field), "{}.{}", block.path, row.field);
                if let Status::Later(why) | Status::Ignored(why) | Status::Refused(why) = row.status {
                    assert!(why.len() > 10, "{}.{}", block.path, row.field);
                }
            }
        }
    }
}
