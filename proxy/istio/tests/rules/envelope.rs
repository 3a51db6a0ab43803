//! What surrounds an object, and documents that are none.

use leeboard_istio::codes::*;

use crate::{check, error, good, info, warning};

#[test]
fn kinds_and_versions() {
    let spec = "metadata: {name: d}\nspec: {host: a}\n";
    check(
        &format!("@\n{spec}"),
        &[
            good("apiVersion: networking.istio.io/v1\nkind: DestinationRule"),
            good("apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule"),
            good("apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule"),
            error(ENVELOPE, "apiVersion: «networking.istio.io/v2»\nkind: DestinationRule"),
            error(ENVELOPE, "apiVersion: «v1»\nkind: DestinationRule"),
            error(ENVELOPE, "apiVersion: networking.istio.io/v1\nkind: «DestinationRules»"),
            warning(NOT_APPLIED, "apiVersion: networking.istio.io/v1alpha3\nkind: «EnvoyFilter»"),
            info(PASSED_OVER, "apiVersion: networking.istio.io/v1\nkind: «WorkloadGroup»"),
            info(PASSED_OVER, "apiVersion: v1\nkind: «ConfigMap»"),
            info(PASSED_OVER, "apiVersion: apps/v1\nkind: «Deployment»"),
            info(PASSED_OVER, "apiVersion: serving.knative.dev/v1\nkind: «Service»"),
            error(ENVELOPE, "«apiVersion»: networking.istio.io/v1"),
            error(UNKNOWN_FIELD, "«sepc»: {}\napiVersion: networking.istio.io/v1\nkind: DestinationRule"),
        ],
    );
}

#[test]
fn annotations_of_our_own() {
    check(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, annotations: {@}}\n\
         spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}\n",
        &[
            good("leeboard.dev/split-key: 'cookie:s', leeboard.dev/fault-scope: attempt"),
            error(BAD_VALUE, "«leeboard.dev/split-key»: user"),
            error(BAD_VALUE, "«leeboard.dev/fault-scope»: retry"),
            warning(UNKNOWN_FIELD, "«leeboard.dev/split-keys»: source-ip"),
        ],
    );
}

#[test]
fn metadata() {
    check(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n@\nspec: {host: a}\n",
        &[
            good("metadata: {name: a.b, namespace: ns, uid: x, generation: 4}"),
            error(MISSING, "«metadata»: {}"),
            error(BAD_NAME, "metadata: {name: «A»}"),
            good("metadata: {name: istio-subset-split-in-stable-downscale-after-canary-abort-destrule, namespace: ''}"),
            error(BAD_NAME, "metadata: {name: a, namespace: «a.b»}"),
            error(REFUSED, "metadata: {name: a, annotations: {«istio.io/dry-run»: 'true'}}"),
            warning(NO_EFFECT, "metadata: {name: a, annotations: {«leeboard.dev/split-key»: source-ip}}"),
            error(WRONG_TYPE, "metadata: {name: a, labels: {v: «1»}}"),
            error(DUPLICATE_KEY, "metadata: {name: a, «name»: b}"),
        ],
    );
}

#[test]
fn documents_that_are_no_objects() {
    check(
        "@\n",
        &[
            good(""),
            good("# a comment\n---\n---\n"),
            info(PASSED_OVER, "«name»: x"),
            error(ENVELOPE, "«spec»: {}"),
            error(NOT_AN_OBJECT, "«just text»"),
            info(NOT_AN_OBJECT, "«-» a"),
            error(
                DUPLICATE_OBJECT,
                concat!(
                    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a}\n---\n",
                    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: «a»}\nspec: {host: b}",
                ),
            ),
            good(concat!(
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a}\n---\n",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: b}\nspec: {host: b}",
            )),
            error(
                WRONG_TYPE,
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: «[»]",
            ),
        ],
    );
}

#[test]
fn a_broken_document_of_another_kind_is_told_and_no_more() {
    let source = |text: String| [leeboard_istio::source::Source::new("f.yaml", text)];
    for (text, errors) in [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: [}", 0),
        ("apiVersion: v1\ndata: {a: [}\nkind: ConfigMap\nmetadata: {name: c}", 0),
        ("apiVersion: apps/v1 # so\nkind: \"Deployment\"\nspec: {a: [}", 0),
        ("kind: ConfigMap\ndata: {a: [}", 1),
        ("apiVersion: v1\ndata: {a: [}\nkind: Service\nmetadata: {name: c}", 1),
        ("apiVersion: networking.istio.io/v1\nspec: {a: [}\nkind: VirtualServices\nmetadata: {name: c}", 1),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {a: [}\nkind: Service", 0),
        ("data: {a: [}\napiVersion: v1\nkind: ConfigMap\nkind: Service", 1),
    ] {
        let before =
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a}\n---\n";
        let loaded =
            leeboard_istio::load(&source(format!("{before}{text}\n---\n{}", before.replace("name: a", "name: b"))));
        assert_eq!(loaded.errors(), errors, "{text}: {:?}", loaded.diagnostics);
        assert_eq!(loaded.diagnostics.iter().filter(|d| d.code == SYNTAX).count(), 1, "{text}");
        assert_eq!(loaded.resources.destination_rules.len(), 2, "{text}");
    }
}

#[test]
fn kinds_that_are_not_enforced_say_what_is_not_done() {
    check(
        "apiVersion: @\nmetadata: {name: d}\n",
        &[
            warning(UNPROTECTED, "security.istio.io/v1\nkind: «AuthorizationPolicy»\nspec: {}"),
            warning(UNPROTECTED, "security.istio.io/v1beta1\nkind: «AuthorizationPolicy»\nspec: {action: DENY}"),
            warning(UNPROTECTED, "security.istio.io/v1\nkind: «AuthorizationPolicy»\nspec: {action: CUSTOM}"),
            warning(NOT_APPLIED, "security.istio.io/v1\nkind: «AuthorizationPolicy»\nspec: {action: AUDIT}"),
            warning(UNPROTECTED, "security.istio.io/v1\nkind: «PeerAuthentication»\nspec: {mtls: {mode: STRICT}}"),
            warning(
                UNPROTECTED,
                "security.istio.io/v1\nkind: «PeerAuthentication»\nspec: {portLevelMtls: {80: {mode: STRICT}}}",
            ),
            warning(NOT_APPLIED, "security.istio.io/v1\nkind: «PeerAuthentication»\nspec: {mtls: {mode: PERMISSIVE}}"),
            warning(UNPROTECTED, "security.istio.io/v1\nkind: «RequestAuthentication»"),
            warning(NOT_APPLIED, "telemetry.istio.io/v1\nkind: «Telemetry»"),
            warning(NOT_APPLIED, "extensions.istio.io/v1alpha1\nkind: «WasmPlugin»"),
            warning(NOT_APPLIED, "gateway.networking.k8s.io/v1\nkind: «HTTPRoute»"),
            warning(NOT_APPLIED, "gateway.networking.k8s.io/v1\nkind: «Gateway»"),
            warning(UNPROTECTED, "gateway.networking.k8s.io/v1\nkind: «BackendTLSPolicy»"),
            info(PASSED_OVER, "gateway.networking.k8s.io/v1beta1\nkind: «ReferenceGrant»"),
            info(PASSED_OVER, "networking.k8s.io/v1\nkind: «NetworkPolicy»"),
        ],
    );
    let policy =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny-all, namespace: demo}\n";
    let loaded = leeboard_istio::load(&[leeboard_istio::source::Source::new("f.yaml", policy)]);
    let told = &loaded.diagnostics[0];
    assert_eq!(&*told.resource, "AuthorizationPolicy demo/deny-all");
    assert!(told.message.ends_with("requests that this policy denies are served"), "{}", told.message);
}

#[test]
fn harmless_kinds_are_summed_up_in_one_line() {
    let object =
        |version: &str, kind: &str| format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n");
    let text = object("apps/v1", "Deployment").repeat(3) + &object("v1", "ConfigMap") + "---\nreplicas: 3\n";
    let sources = ["a.yaml", "b.yaml"].map(|name| leeboard_istio::source::Source::new(name, text.clone()));
    let told = leeboard_istio::load(&sources).diagnostics;
    let messages: Vec<_> = told.iter().map(|d| (d.severity, &*d.message)).collect();
    let sum = "10 objects of kinds that are not read are passed over: 2 ConfigMap, 6 Deployment, 2 without a kind";
    assert_eq!(messages, [(leeboard_istio::diagnostic::Severity::Info, sum)]);
}
