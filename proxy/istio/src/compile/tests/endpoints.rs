//! Services and where their endpoints come from.

use super::*;

const ENTRY: &str = "ServiceEntry";

#[test]
fn resolutions_of_a_service_entry() {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 81, name: more}]";
    for (spec, on_80, on_81) in [
        ("resolution: STATIC, endpoints: [{address: 192.0.2.1}]", &["192.0.2.1:8080"][..], &["192.0.2.1:81"][..]),
        (
            "resolution: STATIC, endpoints: [{address: 192.0.2.1, ports: {http: 7, more: 8}}, {address: 192.0.2.2}]",
            &["192.0.2.1:7", "192.0.2.2:8080"],
            &["192.0.2.1:8", "192.0.2.2:81"],
        ),
        ("resolution: STATIC", &[], &[]),
        ("resolution: DNS", &["dns a.com:8080"], &["dns a.com:81"]),
        (
            "resolution: DNS, endpoints: [{address: b.com}, {address: c.com, ports: {http: 9}}]",
            &["dns b.com:8080", "dns c.com:9"],
            &["dns b.com:81", "dns c.com:81"],
        ),
        ("resolution: DNS, endpoints: [{address: 192.0.2.7}]", &["192.0.2.7:8080"], &["192.0.2.7:81"]),
        ("resolution: DNS_ROUND_ROBIN", &["first a.com:8080"], &["first a.com:81"]),
        ("resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.com}]", &["first b.com:8080"], &["first b.com:81"]),
        ("resolution: NONE", &["original"], &["original"]),
    ] {
        let world = world(&object(ENTRY, "a", &format!("{{hosts: [a.com], {ports}, {spec}}}")));
        assert_eq!(world.endpoints("outbound|80||a.com"), on_80, "{spec}");
        assert_eq!(world.endpoints("outbound|81||a.com"), on_81, "{spec}");
    }
}

#[test]
fn a_unix_socket_has_no_port() {
    let spec = "{hosts: [a.com], ports: [{number: 80, name: http}], resolution: STATIC, \
                endpoints: [{address: 'unix:///run/a.sock'}]}";
    assert_eq!(world(&object(ENTRY, "a", spec)).endpoints("outbound|80||a.com"), ["unix:///run/a.sock"]);
}

#[test]
fn every_host_of_an_entry_is_a_service() {
    let spec = "{hosts: [a.com, '*.b.com', C.com], ports: [{number: 80, name: http}], resolution: NONE}";
    let world = world(&object(ENTRY, "a", spec));
    for host in ["a.com", "*.b.com", "c.com"] {
        assert_eq!(world.endpoints(&format!("outbound|80||{host}")), ["original"]);
    }
}

#[test]
fn selected_workloads_of_the_same_namespace() {
    let entry = object(
        ENTRY,
        "a",
        "{hosts: [a.com], ports: [{number: 80, name: http, targetPort: 8080}], resolution: STATIC, \
         workloadSelector: {labels: {app: a}}}",
    );
    let workload = |name: &str, address: &str, labels: &str| {
        object(
            "WorkloadEntry",
            name,
            &format!("{{address: {address}, ports: {{http: 9}}, labels: {labels}, weight: 3}}"),
        )
    };
    let pod = |name: &str, ip: &str, app: &str, ready: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: demo, labels: {{app: {app}}}}}\n\
             status: {{podIP: {ip}, conditions: [{{type: Ready, status: '{ready}'}}]}}\n---\n"
        )
    };
    let text = entry
        + &workload("vm", "192.0.2.1", "{app: a, version: v1}")
        + &workload("other", "192.0.2.2", "{app: b}")
        + &workload("far.elsewhere", "192.0.2.3", "{app: a}")
        + &pod("pod", "192.0.2.4", "a", "True")
        + &pod("unready", "192.0.2.5", "a", "False")
        + &pod("stranger", "192.0.2.6", "b", "True")
        + &object("DestinationRule", "a", "{host: a.com, subsets: [{name: v1, labels: {version: v1}}]}");
    let world = world(&text);
    assert_eq!(world.endpoints("outbound|80||a.com"), ["192.0.2.1:9", "192.0.2.4:8080"]);
    assert_eq!(world.endpoints("outbound|80|v1|a.com"), ["192.0.2.1:9"]);
    let Discovery::Static(all) = &world.cluster("outbound|80||a.com").discovery else { panic!("written down") };
    assert_eq!((all[0].weight, &*all[0].workload.name, all[1].weight), (3, "vm", 1));
}

#[test]
fn the_labels_of_a_workload_entrys_metadata_win() {
    let text = object(
        ENTRY,
        "a",
        "{hosts: [a.com], ports: [{number: 80, name: http}], resolution: STATIC, workloadSelector: {labels: {app: a}}}",
    ) + "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
         metadata: {name: vm, namespace: demo, labels: {app: a}}\nspec: {address: 192.0.2.1, labels: {app: b}}\n";
    assert_eq!(world(&text).endpoints("outbound|80||a.com"), ["192.0.2.1:80"]);
}

const SLICES: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: users-1, namespace: demo, labels: {kubernetes.io/service-name: users}}
addressType: IPv4
endpoints:
  - addresses: [192.0.2.1]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: users-a, namespace: demo}
  - addresses: [192.0.2.2]
  - addresses: [192.0.2.3]
    conditions: {ready: false}
  - addresses: [192.0.2.4]
    conditions: {ready: true, terminating: true}
ports:
  - {name: http, port: 8080, protocol: TCP}
  - {name: grpc, port: 9090, protocol: TCP}
---
";

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: users-a, namespace: demo, labels: {app: users, version: v1}}
---
apiVersion: v1
kind: Pod
metadata: {name: users-b, namespace: demo, labels: {app: users, version: v2}}
status: {podIP: 192.0.2.2}
---
";

fn users(spec: &str) -> String {
    let ports = "ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 81, targetPort: 9090}]";
    core("Service", "users", &format!("spec: {{{ports}, {spec}}}"))
}

#[test]
fn ready_endpoints_of_slices() {
    let world = world(&(users("clusterIP: 10.0.0.1") + SLICES));
    assert_eq!(world.endpoints("outbound|80||users.demo.svc.cluster.local"), ["192.0.2.1:8080", "192.0.2.2:8080"]);
    assert_eq!(world.endpoints("outbound|81||users.demo.svc.cluster.local"), ["192.0.2.1:9090", "192.0.2.2:9090"]);
}

#[test]
fn endpoints_that_need_not_be_ready() {
    let world = world(&(users("clusterIP: 10.0.0.1, publishNotReadyAddresses: true") + SLICES));
    let expected = ["192.0.2.1:8080", "192.0.2.2:8080", "192.0.2.3:8080"];
    assert_eq!(world.endpoints("outbound|80||users.demo.svc.cluster.local"), expected);
}

#[test]
fn pods_lend_their_labels_by_name_or_address() {
    let subsets = "{host: users, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, \
                   {name: v3, labels: {version: v3}}, {name: all}]}";
    let text = users("clusterIP: 10.0.0.1") + SLICES + PODS + &object("DestinationRule", "users", subsets);
    let world = world(&text);
    for (subset, expected) in [
        ("v1", &["192.0.2.1:8080"][..]),
        ("v2", &["192.0.2.2:8080"]),
        ("v3", &[]),
        ("all", &["192.0.2.1:8080", "192.0.2.2:8080"]),
    ] {
        assert_eq!(
            world.endpoints(&format!("outbound|80|{subset}|users.demo.svc.cluster.local")),
            expected,
            "{subset}"
        );
    }
}

const ENDPOINTS: &str = "
apiVersion: v1
kind: Endpoints
metadata: {name: users, namespace: demo}
subsets:
  - addresses: [{ip: 192.0.2.9}]
    notReadyAddresses: [{ip: 192.0.2.10}]
    ports: [{name: http, port: 8081}]
---
";

#[test]
fn slices_go_before_endpoints() {
    let (host, service) = ("outbound|80||users.demo.svc.cluster.local", users("clusterIP: 10.0.0.1"));
    assert_eq!(world(&(service.clone() + ENDPOINTS)).endpoints(host), ["192.0.2.9:8081"]);
    assert_eq!(world(&(service + ENDPOINTS + SLICES)).endpoints(host), ["192.0.2.1:8080", "192.0.2.2:8080"]);
}

#[test]
fn a_service_selects_workload_entries_too() {
    let text = users("clusterIP: 10.0.0.1, selector: {app: users}")
        + &object("WorkloadEntry", "vm", "{address: 192.0.2.20, labels: {app: users}, ports: {grpc: 7}}");
    let world = world(&text);
    assert_eq!(world.endpoints("outbound|80||users.demo.svc.cluster.local"), ["192.0.2.20:8080"]);
    assert_eq!(world.endpoints("outbound|81||users.demo.svc.cluster.local"), ["192.0.2.20:7"]);
}

#[test]
fn headless_services_go_where_the_caller_resolved_unless_their_endpoints_are_listed() {
    let (users_80, under) = ("outbound|80||users.demo.svc.cluster.local", "pod-0.users.demo.svc.cluster.local");
    let unlisted = world(&users("clusterIP: None"));
    assert_eq!(unlisted.endpoints(users_80), ["original"]);
    let host = unlisted.host(under, 80).expect("names under it are its own");
    assert_eq!(&*host.name, "users.demo.svc.cluster.local:80");

    let named = SLICES.replace("  - addresses: [192.0.2.1]\n", "  - addresses: [192.0.2.1]\n    hostname: pod-0\n");
    assert_ne!(named, SLICES);
    let listed = world(&(users("clusterIP: None") + &named));
    assert_eq!(listed.endpoints(users_80), ["192.0.2.1:8080", "192.0.2.2:8080"]);
    assert_eq!(listed.endpoints(&format!("outbound|80||{under}")), ["192.0.2.1:8080"]);
    assert_eq!(listed.routes("pod-0.users", 80), [format!("default -> outbound|80||{under}*1")]);
    assert_eq!(listed.routes("192-0-2-2.users.demo.svc", 80).len(), 1);
    assert!(listed.host("pod-7.users", 80).is_none());
}

#[test]
fn a_target_port_by_name_is_the_workloads_own() {
    let service =
        "spec: {clusterIP: 10.0.0.1, selector: {app: users}, ports: [{name: http, port: 80, targetPort: web}]}";
    let entry =
        |ports: &str| object("WorkloadEntry", "vm", &format!("{{address: 192.0.2.20, labels: {{app: users}}{ports}}}"));
    for (ports, expected) in
        [(", ports: {web: 7}", &["192.0.2.20:7"][..]), (", ports: {http: 8}", &["192.0.2.20:8"]), ("", &[])]
    {
        let world = world(&(core("Service", "users", service) + &entry(ports)));
        assert_eq!(world.endpoints("outbound|80||users.demo.svc.cluster.local"), expected, "{ports}");
    }
}

#[test]
fn an_external_name_stands_for_a_service_or_is_resolved() {
    let name = |target: &str| {
        let spec = format!("spec: {{type: ExternalName, externalName: {target}, ports: [{{name: http, port: 80}}]}}");
        core("Service", "alias", &spec)
    };
    let resolved = world(&name("db.example.com"));
    assert_eq!(resolved.endpoints("outbound|80||alias.demo.svc.cluster.local"), ["dns db.example.com:80"]);
    assert!(resolved.cluster("outbound|80||alias.demo.svc.cluster.local").service.external);

    let route = "{hosts: [a.com], http: [{route: [{destination: {host: alias, port: {number: 80}}}]}]}";
    let text = service("users", 80) + &name("users.demo.svc.cluster.local") + &object("VirtualService", "v", route);
    let aliased = world(&text);
    let expected = ["default -> outbound|80||users.demo.svc.cluster.local*1"];
    assert_eq!(aliased.routes("alias", 80), expected);
    assert_eq!(aliased.routes("alias.demo.svc.cluster.local", 80), expected);
    assert_eq!(aliased.routes("a.com", 80), [" -> outbound|80||users.demo.svc.cluster.local*0"]);
    assert!(aliased.complaints().is_empty(), "{:?}", aliased.complaints());
}

#[test]
fn entries_of_one_host_and_namespace_are_joined() {
    let entry = |day, name: &str, port: u16, address: &str, resolution: &str| {
        let spec = format!(
            "{{hosts: [a.com], ports: [{{number: {port}, name: http}}], resolution: {resolution}, \
             endpoints: [{{address: {address}}}]}}"
        );
        object_of_day(day, ENTRY, name, &spec)
    };
    let joined = world(&(entry(2, "b", 80, "192.0.2.2", "STATIC") + &entry(1, "a", 80, "192.0.2.1", "STATIC")));
    assert_eq!(joined.endpoints("outbound|80||a.com"), ["192.0.2.1:80", "192.0.2.2:80"]);
    assert_eq!(&*joined.cluster("outbound|80||a.com").origin.resource, "ServiceEntry demo/a");

    let ports = world(&(entry(2, "b", 81, "192.0.2.2", "STATIC") + &entry(1, "a", 80, "192.0.2.1", "STATIC")));
    assert_eq!(ports.endpoints("outbound|80||a.com"), ["192.0.2.1:80"]);
    assert_eq!(ports.endpoints("outbound|81||a.com"), ["192.0.2.2:81"]);

    let unlike = world(&(entry(2, "b", 80, "b.com", "DNS") + &entry(1, "a", 80, "192.0.2.1", "STATIC")));
    assert_eq!(unlike.endpoints("outbound|80||a.com"), ["192.0.2.1:80"]);
    assert_eq!(unlike.complaints().len(), 1, "{:?}", unlike.complaints());
}

#[test]
fn of_one_host_in_several_namespaces_the_clients_own_counts_then_the_oldest() {
    let entry = |day, namespace: &str, address: &str| {
        let spec = format!(
            "{{hosts: [a.com], ports: [{{number: 80, name: http}}], resolution: STATIC, \
             endpoints: [{{address: {address}}}]}}"
        );
        object_of_day(day, ENTRY, &format!("a.{namespace}"), &spec)
    };
    let text = entry(1, "elder", "192.0.2.1") + &entry(2, "demo", "192.0.2.2") + &entry(3, "younger", "192.0.2.3");
    for (client, expected) in [("demo", "192.0.2.2:80"), ("younger", "192.0.2.3:80"), ("third", "192.0.2.1:80")] {
        assert_eq!(world_at(&text, &site_in(client)).endpoints("outbound|80||a.com"), [expected], "{client}");
    }
}

#[test]
fn a_kubernetes_service_goes_before_an_entry() {
    let entry = object(
        ENTRY,
        "users",
        "{hosts: [users.demo.svc.cluster.local], ports: [{number: 80, name: http}], resolution: DNS}",
    );
    let world = world(&(entry + &service("users", 80)));
    assert!(world.endpoints("outbound|80||users.demo.svc.cluster.local").is_empty());
    assert_eq!(
        world.complaints(),
        [
            "warning L0304 3: host users.demo.svc.cluster.local is a Kubernetes Service of this namespace, which is used instead"
        ]
    );
}

#[test]
fn what_is_not_exported_is_not_seen() {
    let entry = |export: &str| {
        let spec = format!("{{hosts: [a.com], ports: [{{number: 80, name: http}}], exportTo: {export}}}");
        object(ENTRY, "a.theirs", &spec)
    };
    for (export, seen) in [("['*']", true), ("[]", true), ("['.']", false), ("[demo]", true), ("['~']", false)] {
        assert_eq!(world(&entry(export)).host("a.com", 80).is_some(), seen, "{export}");
    }
    for (export, seen) in [("*", true), (".", false), ("x, demo", true), ("x", false)] {
        let annotated = service("users.theirs", 80)
            .replace("theirs}", &format!("theirs, annotations: {{networking.istio.io/exportTo: '{export}'}}}}"));
        assert_eq!(world(&annotated).host("users.theirs", 80).is_some(), seen, "{export}");
    }
}

#[test]
fn names_for_metrics() {
    let entry = |host: &str, location: &str| {
        object(ENTRY, "a", &format!("{{hosts: [{host}], ports: [{{number: 80, name: http}}], location: {location}}}"))
    };
    for (text, host, expected) in [
        (service("users", 80), "users.demo.svc.cluster.local", ("users", "demo", false)),
        (entry("a.com", "MESH_EXTERNAL"), "a.com", ("a.com", "unknown", true)),
        (entry("a.com", "MESH_INTERNAL"), "a.com", ("a.com", "demo", false)),
        (
            entry("users.demo.svc.cluster.local", "MESH_INTERNAL"),
            "users.demo.svc.cluster.local",
            ("users", "demo", false),
        ),
    ] {
        let world = world(&text);
        let service = &world.cluster(&format!("outbound|80||{host}")).service;
        assert_eq!((&*service.name, &*service.namespace, service.external), expected, "{host}");
        assert_eq!((&*service.host, service.port), (host, 80));
    }
}
