//! Matches that hold for no request, or for others than they seem to.

use leeboard_istio::codes::*;

use crate::{Pair, entry, http, matching, object};

const HERE: &str = "route: [{destination: {host: reviews}}]";

fn two(first: &str, second: &str) -> String {
    http(&format!("{{match: [{first}], {HERE}}}, {{match: [{second}], {HERE}}}"))
}

pub(crate) fn pairs() -> Vec<Pair> {
    [callers(), taken(), values(), paths()].concat()
}

fn callers() -> Vec<Pair> {
    vec![
        (PORT_NEVER, matching("{port: «8080»}"), matching("{port: 80}")),
        (
            SOURCE_IGNORED,
            matching("{gateways: [mesh], «sourceLabels»: {app: x}}"),
            matching("{sourceLabels: {app: x}}"),
        ),
        (
            SOURCE_IGNORED,
            matching("{gateways: [mesh], «sourceNamespace»: demo}"),
            matching("{gateways: [mesh], uri: {prefix: /a}}"),
        ),
    ]
}

fn taken() -> Vec<Pair> {
    vec![
        (
            PREFIX_TAKES_MORE,
            two("{uri: {prefix: «/user»}}", "{uri: {prefix: /users}}"),
            two("{uri: {prefix: /users}}", "{uri: {prefix: /user}}"),
        ),
        (
            TAKEN_BEFORE,
            http(&format!(
                "{{match: [{{uri: {{prefix: /a}}}}], {HERE}}}, «{{»match: [{{uri: {{exact: /a/b}}}}], {HERE}}}"
            )),
            two("{uri: {exact: /a/b}}", "{uri: {prefix: /a}}"),
        ),
        (
            TAKEN_BEFORE,
            two("{uri: {prefix: /a}}", "{uri: {prefix: /c}}, «{»uri: {prefix: /a/b}, method: {exact: GET}}"),
            two(
                "{uri: {prefix: /a}, method: {exact: POST}}",
                "{uri: {prefix: /c}}, {uri: {prefix: /a/b}, method: {exact: GET}}",
            ),
        ),
        (
            TAKEN_BEFORE,
            http(&format!(
                "{{match: [{{headers: {{end-user: {{}}}}}}], {HERE}}}, «{{»match: [{{headers: {{end-user: {{exact: jo}}}}}}], {HERE}}}"
            )),
            two("{headers: {end-user: {prefix: a}}}", "{headers: {end-user: {exact: jo}}}"),
        ),
    ]
}

fn values() -> Vec<Pair> {
    vec![
        (EXACT_EMPTY, matching("{headers: {x-debug: {exact: «''»}}}"), matching("{headers: {x-debug: {}}}")),
        (METHOD_CASE, matching("{method: {exact: «get»}}"), matching("{method: {exact: GET}}")),
        (METHOD_CASE, matching("{scheme: {exact: «htpp»}}"), matching("{scheme: {exact: http}}")),
        (
            PATH_NEVER,
            matching("{uri: {exact: «/a?b=1»}}"),
            matching("{uri: {exact: /a}, queryParams: {b: {exact: '1'}}}"),
        ),
        (PATH_NEVER, matching("{uri: {prefix: «api/»}}"), matching("{uri: {prefix: /api/}}")),
        (PATH_NEVER, matching("{uri: {exact: «/a/../b»}}"), matching("{uri: {exact: /a/..b}}")),
        (
            REGEX_WITHOUT_PATTERN,
            matching("{headers: {user-agent: {regex: «Chrome»}}}"),
            matching("{headers: {user-agent: {regex: .*Chrome.*}}}"),
        ),
        (
            CONTRADICTION,
            matching("{headers: {x-debug: {exact: a}}, withoutHeaders: {«x-debug»: {}}}"),
            matching("{headers: {x-debug: {exact: a}}, withoutHeaders: {x-debug: {exact: b}}}"),
        ),
        (
            BLANKS_NEVER,
            matching("{headers: {x-debug: {exact: «'a '»}}}"),
            matching("{headers: {x-debug: {exact: 'a b'}}}"),
        ),
        (
            HEADER_NAME,
            matching("{headers: {«user-agnet»: {prefix: curl}}}"),
            matching("{headers: {user-agent: {prefix: curl}}}"),
        ),
        (
            HEADER_NAME,
            two(
                "{headers: {x-canary: {exact: a}}}",
                "{headers: {x-canary: {exact: b}}}, {headers: {«x-canry»: {exact: c}}}",
            ),
            two(
                "{headers: {x-stage-1: {exact: a}}}",
                "{headers: {x-stage-1: {exact: b}}}, {headers: {x-stage-2: {exact: c}}}",
            ),
        ),
    ]
}

fn paths() -> Vec<Pair> {
    vec![
        (
            REDIRECT_LOOP,
            http("{match: [{uri: {prefix: /a}}], redirect: {uri: «/a/b»}}"),
            http("{match: [{uri: {exact: /a}}], redirect: {uri: /a/b}}"),
        ),
        (
            REDIRECT_LOOP,
            http("{match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: «/a/b»}}"),
            http("{match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b}}"),
        ),
        (
            REWRITE_SLASHES,
            entry("match: [{uri: {prefix: /api}}], rewrite: {uri: «/»}"),
            entry("match: [{uri: {prefix: /api/}}, {uri: {prefix: /api}}], rewrite: {uri: /}"),
        ),
        (
            REWRITE_GLUES,
            entry("match: [{uri: {prefix: /api/}}], rewrite: {uri: «/v2»}"),
            entry("match: [{uri: {prefix: /api/}}], rewrite: {uri: /v2/}"),
        ),
        (
            BAD_VALUE,
            entry("rewrite: {uriRegexRewrite: {match: '/a(b)', rewrite: «'/\\2'»}}"),
            entry("rewrite: {uriRegexRewrite: {match: '/a(b)', rewrite: '/\\1'}}"),
        ),
        (
            BAD_VALUE,
            entry("headers: {request: {set: {x-a: «'%NOTHING%'»}}}"),
            entry("headers: {request: {set: {x-a: '%PROTOCOL%'}}}"),
        ),
        (REWRITE_GLUES, entry("rewrite: {uri: «/v2»}"), entry("rewrite: {uri: /v2/}")),
        (
            SOURCE_CANNOT_SEE,
            object(
                "VirtualService",
                "v",
                &format!(
                    "{{hosts: [reviews], exportTo: [demo], http: [{{match: [{{sourceNamespace: «prod»}}], {HERE}}}]}}"
                ),
            ),
            object(
                "VirtualService",
                "v",
                &format!("{{hosts: [reviews], http: [{{match: [{{sourceNamespace: prod}}], {HERE}}}]}}"),
            ),
        ),
    ]
}
