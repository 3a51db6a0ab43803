//! What stays in force when an edit breaks something, and what does not.

use leeboard_istio::source::Source;
use leeboard_istio::{Loaded, load};

fn rule(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec: {{host: {host}}}\n---\n"
    )
}

/// Host of each rule in force, and the names that were kept.
fn shown(loaded: &Loaded) -> (Vec<String>, Vec<String>) {
    let hosts = loaded.resources.destination_rules.iter().map(|rule| rule.host.value.to_string()).collect();
    (hosts, loaded.kept.iter().map(|id| id.name.to_string()).collect())
}

#[test]
fn a_broken_object_keeps_its_last_good_version() {
    let a = rule("a", "old-a");
    let b = rule("b", "old-b");
    let before = load(&[Source::new("f.yaml", a.clone() + &b)]);
    let rows: &[(&str, String, &[&str], &[&str])] = &[
        ("an edit takes effect", rule("a", "new-a") + &b, &["new-a", "old-b"], &[]),
        ("a value is wrong", rule("a", "'*.*'") + &rule("b", "new-b"), &["old-a", "new-b"], &["a"]),
        ("the syntax is wrong", rule("a", "[") + &rule("b", "new-b"), &["old-a", "new-b"], &["a"]),
        ("not even the name is legible", format!("kind: [\n---\n{}", rule("b", "new-b")), &["old-a", "new-b"], &["a"]),
        ("an object is taken away", b.clone(), &["old-b"], &[]),
        ("everything is taken away", String::new(), &[], &[]),
        ("an object is renamed", rule("c", "new-c") + &b, &["new-c", "old-b"], &[]),
        ("a new object is wrong", rule("c", "'*.*'") + &a + &b, &["old-a", "old-b"], &[]),
    ];
    for (what, text, hosts, kept) in rows {
        let now = load(&[Source::new("f.yaml", text.clone())]).keep(&before.resources);
        let (mut found, found_kept) = shown(&now);
        found.sort();
        let mut wanted: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        wanted.sort();
        assert_eq!((found, found_kept), (wanted, kept.iter().map(ToString::to_string).collect()), "{what}");
        assert_eq!(now.kept.is_empty(), kept.is_empty(), "{what}");
    }
}

#[test]
fn what_was_kept_is_kept_again_until_it_is_mended() {
    let good = load(&[Source::new("f.yaml", rule("a", "one"))]);
    let broken = load(&[Source::new("f.yaml", rule("a", "'*.*'"))]).keep(&good.resources);
    let still = load(&[Source::new("f.yaml", rule("a", "'*.*.*'"))]).keep(&broken.resources);
    assert_eq!(shown(&still), (vec!["one".to_owned()], vec!["a".to_owned()]));
    let mended = load(&[Source::new("f.yaml", rule("a", "two"))]).keep(&still.resources);
    assert_eq!(shown(&mended), (vec!["two".to_owned()], vec![]));
}

#[test]
fn an_object_that_moves_to_another_file_is_not_kept_twice() {
    let before = load(&[Source::new("a.yaml", rule("a", "one"))]);
    let now = load(&[Source::new("a.yaml", "x: [\n"), Source::new("b.yaml", rule("a", "two"))]).keep(&before.resources);
    assert_eq!(shown(&now), (vec!["two".to_owned()], vec![]));
}
