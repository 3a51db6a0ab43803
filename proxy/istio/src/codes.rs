//! The register of diagnostic codes: one row each, with a title and a page of advice. Numbers are never used twice.

use std::fmt;

/// The code of a diagnostic, shown as `L0001`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(u16);

impl Code {
    /// Whether Istio's validator complains about the same.
    pub(crate) fn is_validation(self) -> bool {
        (102..300).contains(&self.0) || self == REFUSED
    }

    /// Whether it is of a rule of `leeboard check`, which looks at several objects or at what a setting does.
    pub fn is_checked(self) -> bool {
        (300..400).contains(&self.0) || self.0 >= 500
    }

    /// What this code is about, in one line.
    pub fn title(self) -> &'static str {
        self.entry().map_or("", |entry| entry.title)
    }

    /// What it means for requests, and what to do.
    pub fn page(self) -> &'static str {
        self.entry().map_or("", |entry| entry.page)
    }

    /// The code of that name, such as `L0301`; case does not matter.
    pub fn named(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(['L', 'l']).filter(|digits| digits.len() == 4)?;
        let code = Self(digits.parse().ok()?);
        code.entry().map(|entry| entry.code)
    }

    fn entry(self) -> Option<&'static Entry> {
        ALL.binary_search_by_key(&self, |entry| entry.code).ok().map(|at| &ALL[at])
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{:04}", self.0)
    }
}

/// A row of the register.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// What it is about, in one line.
    pub title: &'static str,
    /// What it means for requests, and what to do.
    pub page: &'static str,
}

macro_rules! codes {
    ($($number:literal $name:ident $title:literal $page:literal)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*
        /// Every code, in order.
        pub static ALL: &[Entry] = &[$(Entry { code: Code($number), title: $title, page: $page }),*];
    };
}

// L00xx text · L01xx fields and values · L02xx rules between fields · L03xx rules between objects · L04xx what is not enforced
// L05xx what a setting really does
codes! {
    1 SYNTAX "the text is not YAML"
        "The document cannot be parsed, so nothing in it is known; other documents of the file are read. A bracket that \
        is not closed is often noticed only lines later. At run time the last good version of the objects of this file \
        stays in force."
    2 DUPLICATE_KEY "a key is written twice in one block"
        "YAML parsers keep one of the two, and they do not agree on which. Istio refuses it too. Keep the one that is \
        meant."
    3 ALIAS "an alias is unknown or unfolds too far"
        "`*name` needs an `&name` before it in the same document, and all aliases of a document together may not unfold \
        to more than 50,000 values or 4 MiB of text, nor those of all documents to more than twenty times as much. Write \
        the value out."
    4 TAG "a tag that is not understood"
        "Only the tags of YAML itself, such as `!!str`, have a meaning here. Take the tag away."
    5 NOT_AN_OBJECT "a document that is not an object"
        "A document of a configuration is a block with `apiVersion`, `kind` and `metadata`."
    6 PASSED_OVER "objects of kinds that are not ours are passed over"
        "The documents are not read. That is right for a Deployment or a ConfigMap that happens to lie in the folder. Kinds that were \
        to protect, route or change requests have complaints of their own."
    7 ENVELOPE "apiVersion, kind or metadata is missing or wrong"
        "Every object says what it is in `apiVersion` and `kind`, and what it is called in `metadata.name`. Istio's kinds \
        are of `networking.istio.io/v1` (`v1beta1` and `v1alpha3` are the same)."
    8 DUPLICATE_OBJECT "an object is defined twice"
        "Two documents have the same kind, namespace and name. The first one counts. Rename one of them, or delete it."
    9 KEPT "the last good version of an object stays in force"
        "Said by a running proxy only: an edit broke the object, so what it said before still holds."
    10 TOO_DEEP "blocks are nested too deep"
        "Blocks may be nested 64 deep; no document of Istio's comes near that."
    11 UNREADABLE "a file or folder cannot be read"
        "The system's reason is in the message."
    12 WAITING "an object waits for what it refers to"
        "Said by a running proxy only: since an edit a route leads to a host, subset, port or delegate that is not there \
        and was not missing before, or a new route to something without endpoints. The other half of the edit may still be on its way, so what was in force stays in \
        force: the new route waits, or what was taken away stays. It all comes into force when it fits together, and \
        after the time of `--config-grace` as it is written."
    13 TEMPLATE "a template or patch that has to be rendered first"
        "The file is no configuration yet: a Helm template makes one of it, or kustomize lays it over another. What would be said of \
        it as it stands helps nobody, so nothing else is. Render it and check the outcome: `helm template CHART | leeboard check -`, \
        `kubectl kustomize FOLDER | leeboard check -`."
    101 UNKNOWN_FIELD "no field of this name is known here"
        "The field is read over, as Istio's runtime does: what it was to set keeps its default. Most often it is \
        misspelt, or stands in the wrong block; the help says which field is near, or where it belongs."
    102 WRONG_TYPE "a value is of the wrong type"
        "A text that looks like a number or a boolean must be quoted (`exact: \"1\"`); a number must not be a word; a \
        list begins with `-` or `[`."
    103 MISSING "a required field is missing"
        "Without this field the block means nothing, and Istio refuses the object."
    104 BAD_VALUE "a value is not allowed"
        "The field takes certain words only, exactly as written in Istio's documentation: enum values are in upper case."
    105 BAD_DURATION "a duration is not allowed"
        "A duration is a number with a unit: `500ms`, `1.5s`, `1h30m`. It is at least `1ms` and a whole number of \
        milliseconds. Where there is to be no limit, leave the field out instead of writing `0s`."
    106 BAD_REGEX "a regular expression is not allowed"
        "Expressions are of RE2's syntax: no look-around, no back-references, 1 to 1024 bytes, and no more than \
        2 MiB of program. They match from the first character to the last."
    107 OUT_OF_RANGE "a number is out of range"
        "The message says which numbers the field takes."
    108 BAD_NAME "a name is malformed"
        "Names of subsets, ports and namespaces are DNS labels: a-z, 0-9 and inner `-`, at most 63. Header names and \
        labels have alphabets of their own."
    109 BAD_HOST "a host name is malformed"
        "A host is a DNS name; where wildcards are allowed, `*` stands at its very beginning."
    110 SPELLED_TWICE "a field is written in both its spellings"
        "Istio reads `perTryTimeout` and `per_try_timeout` as one field. The first spelling wins."
    201 ONE_OF "only one of several fields may be set"
        "The fields exclude one another. Istio's schema refuses the object."
    202 NEEDS "a field needs another one"
        "By itself the field means nothing, and Istio refuses it."
    203 CONFLICT "fields contradict one another"
        "Both cannot hold at once, and Istio refuses the object."
    204 DUPLICATE "a value that must be unique is repeated"
        "Names within one list, and hosts of one VirtualService, are told apart by nothing else."
    205 UNREACHABLE "a rule can never be reached"
        "Entries of `http` are tried in order and the first that matches wins. An entry without `match` takes everything, \
        so it belongs at the end."
    206 NO_EFFECT "a setting has no effect"
        "It is accepted, and nothing happens. The message says why."
    207 DEPRECATED "a field is deprecated"
        "It still works. The message names what has taken its place."
    301 UNKNOWN_HOST "no service of this name is defined here"
        "A request that is routed to a host which nobody defines is answered 503 (flag `NC`). The host may live in the \
        cluster and not in these files: then this warning can be suppressed. A short name is completed with the \
        namespace of the object that says it."
    302 UNKNOWN_SUBSET "the destination rule has no such subset"
        "Requests for a subset that the DestinationRule of the host does not define are answered 503 (flag `NC`). Subsets \
        are defined in `subsets` of the DestinationRule that is in force for the caller."
    303 UNKNOWN_PORT "the service has no such port"
        "There is no cluster for a port that the service does not have: 503 (flag `NC`). Ports are those of the Service \
        or ServiceEntry, not those of its endpoints."
    304 HOST_CONFLICT "several objects claim one host"
        "On sidecars VirtualServices of one host are not merged: the oldest is used, and the rules of the others are \
        ignored for that host without a word. Put all rules of a host into one VirtualService, or let one delegate."
    305 UNKNOWN_GATEWAY "no gateway of this name is defined here"
        "A VirtualService that names a gateway which does not exist applies nowhere. A name without a namespace means the \
        namespace of the VirtualService; `mesh` means all sidecars."
    306 PORT_NOT_NAMED "a destination with several ports names none of them"
        "Without `port` the destination is the port that the caller addressed. When the service has several ports, or not \
        that one, say which is meant."
    307 SUBSET_SELECTS_NOTHING "no endpoint carries the labels of a subset"
        "The subset exists and is empty: requests to it are answered 503 (flag `UH`). All of a subset's labels must be on \
        an endpoint, spelt alike."
    308 ROUTED_ON_80_ONLY "a routed host is no service"
        "A host that no service bears is routed on port 80 only; calls to another port of it pass by these rules. Define \
        the host with a ServiceEntry."
    309 NEVER_EXPANDED "a name with a dot is never completed"
        "Only a name without a dot is completed with a namespace and the cluster's domain. `reviews.prod` is looked up as \
        it stands, and no Kubernetes service is called that. Write the full name."
    310 NOT_ON_GATEWAY "no host of a VirtualService is served by its gateway"
        "A gateway takes the hosts of its `servers` only, and the part before `/` says which namespaces may attach to \
        them."
    311 SELECTS_NOBODY "a selector fits no workload"
        "No Pod or WorkloadEntry of these files carries all the labels, though there are some to choose from."
    312 SIDECAR_CONFLICT "several Sidecars are for one workload"
        "The oldest is used and the others are ignored. A namespace has one Sidecar without a selector, and a workload \
        one with."
    313 GATEWAY_CONFLICT "two gateways claim one host on one port"
        "Both are for the same workloads. The servers of the younger one are dropped where they overlap."
    314 PROTOCOL_CONFLICT "one port of a host is said to speak two protocols"
        "The object that is oldest decides, and the other one's traffic is treated as what it is not."
    315 POLICY_DROPPED "a second DestinationRule for the host loses its policy"
        "DestinationRules of one host and namespace are merged: subsets are added up, of two subsets of one name the \
        older stays, and only the oldest `trafficPolicy` is used, as a whole. Write one rule per host."
    316 RULE_SHADOWED "a wildcard rule of the caller's namespace hides the owner's rule"
        "DestinationRules are looked for in the namespace of the caller first, and the first namespace with any match \
        ends the search. A wildcard there, such as `*.local`, puts the service owner's rule out of force, subsets \
        included, for callers of that namespace."
    317 RULE_HIDDEN_BY_SELECTOR "a rule with a workloadSelector hides the general rule"
        "A workload that the selector fits uses that rule alone; it does not see subsets or policies of the general rule \
        of the same host. Repeat there what such workloads need."
    318 UNKNOWN_DELEGATE "the delegate is not there"
        "The entry of `http` that delegates to it vanishes, without an error at run time."
    319 DELEGATE_DROPPED "an entry of a delegate is dropped"
        "Every match of a delegate must fit a match of the entry that delegates: the same or a narrower path, the same or \
        an additional header. One match that fits none drops its whole entry."
    320 NOT_FOR_INGRESS "rules of the mesh do not apply to traffic from a gateway"
        "A gateway does not ask the VirtualServices of sidecars. One that is bound to a gateway and sends to a host \
        without a subset goes to all versions, whatever the sidecars' VirtualService for that host says."
    321 NOT_HTTP "HTTP rules for a port that is not HTTP"
        "What a port speaks is told by `appProtocol`, by the port's name up to its first `-`, or by `protocol` of a \
        ServiceEntry. On TLS and TCP ports `http` rules are never asked."
    322 NOT_EXPORTED "a service is not exported to the namespace that uses it"
        "`exportTo` of the ServiceEntry, or the annotation `networking.istio.io/exportTo` of the Service, leaves this \
        namespace out; so for it the host does not exist."
    323 SOURCE_CANNOT_SEE "a match is for callers that cannot see the rule"
        "`exportTo` leaves out the namespace that `sourceNamespace` asks for."
    324 ADDRESSES_NEEDED "a TCP port of a ServiceEntry without addresses"
        "TCP has no host name in it: without `addresses` connections to this port can be told from others by the port \
        alone."
    325 PORT_NAME "a port does not say what it speaks"
        "Its name has no known prefix such as `http-`, and `appProtocol` is not set, so the protocol is guessed from the \
        first bytes of each connection. Servers that speak first hang."
    326 EXTERNAL_NAME_PORT "a port of an ExternalName service is not HTTP by name"
        "Without a name such as `http` the port is treated as TCP, and its host name means nothing there."
    327 UNKNOWN_NAMESPACE "a namespace without objects that is nearly another"
        "No object here is of this namespace, and one with nearly the same name has some."
    328 UNUSED_DELEGATE "a VirtualService without hosts that nothing delegates to"
        "Without `hosts` a VirtualService is a delegate: its rules are used where another one names it in `delegate`, and \
        nowhere else. If it is to route by itself, name its hosts."
    329 DUPLICATE_CERTIFICATE "two gateways show one certificate"
        "A browser that holds an HTTP/2 connection to one of them uses it for hosts of the other, where they are unknown: \
        404. Let one Gateway serve both hosts, or give each its own certificate."
    330 NEARLY_CLUSTER "a host that nearly ends as the cluster's hosts do"
        "Short names are completed with the cluster's domain, so nobody finds a host that is spelt otherwise."
    331 LABEL_NAME "a label that is nearly another"
        "Few workloads carry this label, and more carry one that differs in a letter. Subsets and selectors compare \
        labels letter by letter."
    332 GATEWAY_PORT "a gateway listens on a port that its Service does not have"
        "Callers reach a gateway through the Service in front of its pods. A server on a port that this Service neither \
        has nor leads to is reached by nobody from outside."
    333 GENERATED_GATEWAY "a VirtualService names a gateway that was generated"
        "Gateways called `…-istio-autogenerated-k8s-gateway-…` are made by Istio from objects of the Gateway API and \
        change with them. Attach an HTTPRoute to the Gateway of that API instead, or define a Gateway of your own."
    334 CLAIMS_UNVERIFIED "claims of a token that nothing verifies"
        "`@request.auth.claims` matches what a RequestAuthentication has verified at the gateway. Without one there are \
        no claims, and the match never holds."
    335 LABELS_UNKNOWN "what is known of a service's endpoints has no labels"
        "A subset takes the endpoints that carry its labels. Endpoints and EndpointSlices have addresses only; the labels \
        are those of the Pods that they point at. Where the Pods are not among the documents, the subset is empty: \
        requests to it are answered 503 (flag `UH`). Add the Pods, or write a ServiceEntry whose endpoints have labels."
    336 HOST_NOT_COMPLETED "a short host of a ServiceEntry, which others complete"
        "A VirtualService or DestinationRule completes a short name: `reviews` in namespace `demo` is \
        `reviews.demo.svc.cluster.local`. A ServiceEntry's hosts are taken as they are written, so that its `reviews` is \
        another host, and the rules are not for it. Write the full name in the ServiceEntry; callers go on to call it by \
        its short one. With `resolution: DNS` the name that is looked up is then an endpoint: \
        `endpoints: [{address: reviews}]`."
    337 HOST_DEFINED_TWICE "two ServiceEntries define one port of a host"
        "Of one namespace, the endpoints of both are used together; of several, each namespace uses its own, and others the one of \
        the first namespace by name. Either is a surprise to whoever knows only one of them."
    338 READER_CANNOT_SEE "a destination that not all see who read the rule"
        "`exportTo` of the rule names a namespace to which the destination's service is not exported. For callers there the host \
        does not exist, and requests are answered 503 (flag `NC`)."
    401 NOT_ENFORCED "a field is known but not enforced yet"
        "It is read and has no effect yet. The help says what happens instead."
    402 IGNORED "a field has no meaning for this proxy"
        "It is read over. The help says why."
    403 REFUSED "a field that is never accepted"
        "Istio refuses it too. The help says what to write instead."
    404 NOT_FILLED "an operator in a header's value that nothing is known for"
        "Envoy knows the operator, and here there is no such fact: no mesh's certificates, no traces, no metadata of filters. It \
        gives nothing, and a header that is left empty is not sent."
    405 UNPROTECTED "a policy of security that is not enforced"
        "This proxy reads no policies of `security.istio.io`. What the policy is to keep out comes in, and what it is to encrypt is \
        sent in clear. Keep it out by other means, such as a NetworkPolicy or the application itself, or leave Istio's own sidecar \
        where this matters."
    406 NOT_APPLIED "an object of Istio's or of the Gateway API's that is not applied"
        "This proxy reads no objects of that kind, so that nothing of what it says happens here. The message says what that is."
    501 EJECTION_IMPOSSIBLE "nothing can ever be ejected"
        "An endpoint is ejected only if afterwards no more than `maxEjectionPercent` of all endpoints are. The default is \
        10: with fewer than 10 endpoints outlier detection does nothing at all. 100 allows the last endpoint to be \
        ejected; 34 allows one of three."
    502 EJECTION_UNTRIGGERED "outlier detection counts nothing"
        "With `consecutive5xxErrors: 0` and no other counter set, no answer ever ejects an endpoint."
    503 COUNTER_OUTRUN "one error counter can never be reached before another"
        "A gateway error (502, 503, 504) is also a 5xx. When `consecutiveGatewayErrors` is larger than \
        `consecutive5xxErrors` (default 5), the latter always strikes first."
    504 PANIC_BEFORE_CAP "ejected endpoints are used again before the cap is reached"
        "When fewer than `minHealthPercent` of the endpoints are left, all are used, ejected ones too. That happens \
        before `maxEjectionPercent` is reached."
    505 RETRIES_DO_NOT_FIT "retries can never all fit into the timeout"
        "`timeout` covers everything: the first try, every retry and the pauses between. `attempts` counts retries, so \
        there are attempts + 1 tries of up to `perTryTimeout` each."
    506 PER_TRY_IGNORED "a perTryTimeout that the timeout forestalls"
        "A `perTryTimeout` that is not shorter than `timeout` never strikes, and so never leads to a retry."
    507 BACKOFF_TOO_LONG "the pause before a retry is longer than the timeout"
        "The pause is drawn between 0 and `backoff`, then doubled; when it alone outlasts `timeout`, most retries never \
        happen."
    508 RETRY_NOT_SAFE "requests that may have been processed are sent again"
        "`5xx`, `gateway-error` and `reset` repeat requests that a server may have processed before it failed. For POST \
        and PATCH that can do the work twice. Keep to `connect-failure,refused-stream`, which repeat only what was never \
        begun, or give writes an entry of their own."
    509 RETRY_ON_NOTHING "a retry condition that needs what is not given"
        "`retriable-status-codes` needs status numbers beside it in the list (`retryOn: 503,retriable-status-codes`); \
        `retriable-headers` needs a list that Istio cannot give."
    510 RETRY_DEFAULTS "retries without retryOn do not repeat a 503"
        "The default conditions repeat only what was never processed: failed connections, refused streams, gRPC's \
        UNAVAILABLE and CANCELLED. An answer of 503 or 500 is passed on. Write `retryOn: 5xx` if the requests may be \
        repeated."
    512 SOLE_WEIGHT_ZERO "weight 0 on the only destination still takes all"
        "A single destination takes every request, whatever its weight. To send nothing there, take the entry away or add \
        where requests should go instead."
    513 SOLE_WEIGHT "a weight on the only destination means nothing"
        "A single destination takes every request. If another destination was meant to take the rest, add it."
    514 WEIGHT_SUM "weights that nearly add up to 100"
        "Weights are relative and need not add up to 100; these nearly do, which looks like a slip. The message says what \
        share each really gets."
    515 PORT_NEVER "a match on a port that is never the listener's"
        "`match.port` is compared with the port of the service that the caller addresses, not with the port of the pod. \
        No service of these hosts has this port, so the match never holds."
    516 SOURCE_IGNORED "sourceLabels and sourceNamespace beside gateways are not looked at"
        "When a match names `gateways`, that alone decides; labels and namespace of the caller are not compared. Take \
        `gateways` away, or write two matches."
    517 PREFIX_TAKES_MORE "a prefix also takes a path that a later rule is for"
        "`prefix: /a` is a comparison of characters: it takes `/a/b` and also `/abc`. Write `/a/` (and `exact: /a` beside \
        it), or move the longer path before it."
    518 REWRITE_SLASHES "a rewrite makes `//`"
        "The matched prefix gives way character by character. `/api` replaced by `/` makes `//x` of `/api/x`. Match \
        `/api/` instead, with a second match `exact: /api`."
    519 REWRITE_GLUES "a rewrite glues path segments together"
        "The matched prefix ends with `/` and its replacement does not, so `/api/x` becomes `/v2x`. Without a `uri` match \
        it is the leading `/` that is replaced. End the replacement with `/`."
    520 EXACT_EMPTY "an empty value is not a presence test"
        "`exact: \"\"` asks for a header that is there and empty. To ask only whether it is there, write `{}`."
    521 METHOD_CASE "a method in the wrong case never matches"
        "Methods are compared as they are, and are in upper case: `GET`."
    522 PATH_NEVER "a path that no request has"
        "A path begins with `/`, has neither query nor fragment, and comes normalised: `/a/../b` arrives as `/b`. Query \
        parameters are matched by `queryParams`."
    523 REGEX_WITHOUT_PATTERN "a regular expression that is a plain text"
        "An expression must match the whole value from end to end, so one without any operator is an `exact`. For \
        \"contains\" write `.*text.*`, for a beginning use `prefix`."
    524 CONTRADICTION "a match that contradicts itself"
        "The same header must be there and must not be there, so the match never holds."
    525 BLANKS_NEVER "a header value with blanks around it never matches"
        "Blanks around a header's value are taken away when it arrives."
    526 REDIRECT_LOOP "a redirect leads back to itself"
        "Where it sends the caller, the same entry matches again."
    527 FORWARD_ONLY "a setting for forwarded requests on an entry that forwards nothing"
        "`timeout`, `retries`, `mirror` and their like mean nothing on an entry that redirects or answers by itself."
    528 REMOVED_THEN_SET "a header is removed and set at once"
        "Removals come first, then `set`, then `add`: the header is there in the end."
    529 EMPTY_HEADER "a header with an empty value is not sent"
        "To take a header away, name it in `remove`."
    530 FAULT_NOT_RETRIED "an injected abort is not retried"
        "Faults are injected once per request, before the first try, so `retries` of the same entry never see them. They \
        cannot show how retries work."
    531 DELAY_BEFORE_TIMEOUT "an injected delay does not use up the timeout"
        "The delay comes before the timeout begins: this entry's `timeout` never cuts it short. What is tested is the \
        caller's own patience."
    532 MIRROR_OF_ITSELF "copies go to where the requests go"
        "Each mirrored request is processed twice by the same endpoints."
    533 PORT_LEVEL_DROPS "a port's settings drop those of the whole rule"
        "`portLevelSettings` inherit nothing: for that port only the blocks written there are in force. Repeat the blocks \
        that should hold."
    534 PORT_LEVEL_NEVER "settings for a port that the service does not have"
        "The number is that of the service's port, not of the pod's."
    535 LIMIT_PER_SIDECAR "this limit is per sidecar"
        "Limits of `connectionPool` count what one sidecar sends to all endpoints of the cluster together. They are \
        neither per endpoint nor for the mesh: ten callers may have ten times as much in flight."
    536 ZERO_IS_NO_LIMIT "0 is no limit, instead of none allowed"
        "Istio passes a limit of 0 on as its default, which is 4294967295. The least limit is 1."
    537 LOCALITY_PREFERRED "outlier detection also keeps requests in the caller's locality"
        "Locality load balancing is on by default and takes effect as soon as a rule has `outlierDetection`: endpoints of \
        other localities get nothing until local ones are unhealthy. Write `localityLbSetting: {enabled: false}` if all \
        are to be used alike."
    538 NOT_HTTP2 "a setting for HTTP/2 on a port that is not"
        "`h2UpgradePolicy` holds for ports declared as HTTP, `http2KeepAlive` and `maxConcurrentStreams` for ports \
        declared as HTTP2 or GRPC."
    539 BLOCKS_UNKNOWN "an empty outboundTrafficPolicy blocks unknown hosts"
        "Without `mode` it is REGISTRY_ONLY: calls to hosts that are not defined are refused. Write the mode."
    540 NO_ENDPOINTS "a service without any endpoint"
        "Resolution STATIC has the endpoints that are written or selected, and here are none: every call is answered 503 \
        (flag `UH`)."
    541 HEADER_NAME "a header name that is nearly another"
        "It differs by a letter or two from a header that is well known, or that other rules use. A header that nobody \
        sends never matches."
    542 TAKEN_BEFORE "an earlier entry takes all that this one matches"
        "Entries are tried in order, without regard to which is more specific. Move the narrower one up."
    543 ALL_ABORTED "every request is aborted"
        "An abort of 100 % answers all requests of this entry itself; the destination is never called."
    544 PASSTHROUGH_BYPASSES "PASSTHROUGH goes where the caller was going"
        "No endpoint is chosen, so subsets choose nothing, and ejection has nothing to eject."
    545 SUBSET_OF_ALL "a subset without labels is all endpoints"
        "Every endpoint carries no labels at least. Write the labels that tell this subset apart."
    546 NOT_VERIFIED "the certificate of the endpoint is not verified against a known authority"
        "Without `caCertificates` any authority of the system will do (in older versions of Istio: none is asked). Name \
        the file of the authority that signs these certificates."
    547 CREDENTIAL_IGNORED "a credentialName that sidecars do not read"
        "On sidecars `credentialName` is read only from rules with a `workloadSelector`. Without one Istio \
        configures no TLS at all and sends requests in plain text; here they are answered 503."
    548 PROXY_USER "a container runs as the proxy's user"
        "Where connections are redirected to the proxy, those of user 1337 are left out, since they are the proxy's own. \
        An application that runs as 1337 talks past it: no rule, no retry and no metric is for its requests."
    549 FAILOVER_NEEDS_DETECTION "failover without outlier detection"
        "Without `outlierDetection` no endpoint is ever unhealthy, so `failover` and `failoverPriority` never apply."
    550 NO_PATH "a text that is no path"
        "A path begins with `/` and holds neither blanks nor control characters nor `#`. Blanks around it are taken away, so \
        `\" \"` takes a prefix away, and a missing `/` is put before it. A request whose rewritten path cannot be sent is \
        answered 500 (`path-not-sendable`). A whole URL does not belong here: the host is `authority`, the scheme `scheme`."
    551 NO_AUTHORITY "a text that is no host"
        "A host is a name or an address, with a port behind `:` if need be, and nothing else: the scheme of a redirect is \
        `scheme`, its path `uri`. A request whose Host cannot be sent is answered 500 (`authority-not-sendable`)."
    552 FRAMING_HEADER "a header that says where a message ends or what becomes of its connection"
        "`content-length`, `transfer-encoding`, `connection`, `keep-alive`, `proxy-connection`, `upgrade`, `te`, `trailer` and \
        `http2-settings` belong to one connection, and the proxy writes them itself. One from a configuration would let the two ends read \
        a message in two ways, so it is never set, added or removed."
    553 HTTP_POOL_ON_TCP "settings of HTTP for ports that are not HTTP"
        "Limits of requests, retries and streams count requests, and on a TCP or TLS port there are none to be counted: connections \
        are passed on as they are. `tcp.maxConnections` holds for every port."
    554 LISTED_TWICE "a list names one thing twice"
        "The second time means nothing, or, of endpoints, a second share of the requests. It is mostly left over from an edit."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_registered_once_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        for entry in ALL {
            assert!(!entry.title.is_empty() && entry.code.title() == entry.title);
            assert!(entry.page.len() > 30 && entry.page.ends_with('.'), "{}: {}", entry.code, entry.page);
            assert_eq!(Code::named(&entry.code.to_string()), Some(entry.code));
        }
        assert_eq!(SYNTAX.to_string(), "L0001");
    }

    #[test]
    fn only_codes_that_exist_have_a_name() {
        for (name, found) in [("L0301", true), ("l0301", true), ("L0999", false), ("L301", false), ("301", false)] {
            assert_eq!(Code::named(name).is_some(), found, "{name}");
        }
    }
}
