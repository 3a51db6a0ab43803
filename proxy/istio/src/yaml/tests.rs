//! What text becomes, and where its mistakes are found.

mod alike;

use super::{parse as parse_each, *};
use crate::codes;

fn parse(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    parse_each(text, |document| documents.push(document));
    documents
}

fn show(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, plain } => {
            if *plain {
                text.to_string()
            } else {
                format!("{text:?}")
            }
        }
        Value::Seq(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<_> = entries.iter().map(|(k, v)| format!("{}: {}", k.text, show(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[test]
fn text_becomes_a_tree() {
    let rows = [
        ("a: 1\nb: [x, 'y']\n", "{a: 1, b: [x, \"y\"]}"),
        ("{\"a\": {\"b\": null}}", r#"{a: {b: null}}"#),
        ("a: &x {k: v}\nb: *x\n", "{a: {k: v}, b: {k: v}}"),
        ("base: &x {k: v, m: 1}\nb:\n  <<: *x\n  m: 2\n", "{base: {k: v, m: 1}, b: {m: 2, k: v}}"),
        ("{\n\t\"a\": [\n\t\t\"b\\/\\u00e9\"\n\t]\n}\n", "{a: [\"b/é\"]}"),
        ("a: 1\r\nb: [x]\r\n", "{a: 1, b: [x]}"),
        ("a: !!str 5\n", "{a: \"5\"}"),
        ("a: |\n  one\n  two\n", "{a: \"one\\ntwo\\n\"}"),
    ];
    for (text, wanted) in rows {
        let documents = parse(text);
        assert_eq!(documents.len(), 1, "{text}");
        assert!(documents[0].broken.is_none() && documents[0].root.problems().is_empty(), "{text}");
        assert_eq!(show(&documents[0].root), wanted);
    }
}

#[test]
fn quoted_text_may_stand_at_the_indentation_of_its_key() {
    let rows = [
        ("data:\n  x: '{\n  \"a\": 1\n}\n'\n", r#"{data: {x: "{ \"a\": 1 } "}}"#),
        ("a: 'one\n\ntwo'\nb: \"three\nfour\"\n", r#"{a: "one\ntwo", b: "three four"}"#),
        ("- k: \"x: \\\"\n  y\"\n- 'it''s\nhere'\n- z\n", r#"[{k: "x: \" y"}, "it's here", z]"#),
        ("a: 'one\nb: two\n- c'\nd: e\n", r#"{a: "one b: two - c", d: e}"#),
    ];
    for (text, wanted) in rows {
        let [document] = &parse(text)[..] else { panic!("{text}") };
        assert_eq!(document.broken, None, "{text}");
        assert_eq!(show(&document.root), wanted, "{text}");
    }
    // What follows keeps its place, and each document is handed over once.
    let text = "a: 1\n---\nq: 'x\ny'\nb: *c\n---\nd: &e\nf: *g\n";
    for text in [text.to_owned(), format!("%YAML 1.2\n---\n{text}")] {
        let documents = parse(&text);
        let lines = text.lines().count() as u32;
        assert_eq!(documents.len(), 3, "{text}");
        let places = documents.iter().flat_map(|d| d.root.problems()).map(|p| (lines - p.mark.line, p.mark.column));
        assert_eq!(places.collect::<Vec<_>>(), [(3, 4), (0, 4)], "{text}");
    }
    for text in ["a: 'one\ntwo\nb: c\n", "a: \"one\ntwo\\\"\n", "a: b\n  c: 'd'\n"] {
        assert!(parse(text)[0].broken.is_some(), "{text}");
    }
    // However many there are, an end comes, and what is read of them is right or told.
    for count in [60, 500] {
        let text: String = (0..count).map(|n| format!("k{n}: 'x\ny{n}'\n")).collect();
        let [document] = &parse(&text)[..] else { panic!("one document") };
        assert_eq!(document.broken.is_none(), count < 64, "{count}");
    }
}

#[test]
fn places_are_counted_in_characters_from_one() {
    let documents = parse("# é\nä: x\nkey:\n  - naïve: \"ü\"  # c\n");
    let list = documents[0].root.get("key").expect("there");
    let Value::Seq(items) = &list.value else { panic!("a list") };
    let entries = items[0].entries().expect("a block");
    assert_eq!(entries[0].0.mark, Mark { line: 4, column: 5, len: 5 });
    assert_eq!(entries[0].1.mark, Mark { line: 4, column: 12, len: 3 });
}

#[test]
fn mistakes_of_form_are_found_where_they_are() {
    let rows: &[(&str, Code, u32, u32)] = &[
        ("a: 1\nb: 2\na: 3\n", codes::DUPLICATE_KEY, 3, 1),
        ("a: *nope\n", codes::ALIAS, 1, 4),
        ("a: !secret x\n", codes::TAG, 1, 12),
        ("a: {b: 1, b: 2}\n", codes::DUPLICATE_KEY, 1, 11),
        ("? [x]\n: 1\n", codes::WRONG_TYPE, 1, 3),
    ];
    for (text, code, line, column) in rows {
        let documents = parse(text);
        let problems = documents[0].root.problems();
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!(
            (problems[0].code, problems[0].mark.line, problems[0].mark.column),
            (*code, *line, *column),
            "{text}"
        );
    }
}

#[test]
fn a_broken_document_costs_no_other() {
    let rows = [
        "kind: A\n---\nkind: B\n  bad: [1,\n---\nkind: C\n",
        "kind: A\n---\nkind: B\nbad: \"open\n---\nkind: C\n",
        "kind: A\n---\nkind: B\nbad: [1, 2\n---\nkind: C\n",
        "kind: A\n---\nkind: B\n\tbad: x\n---\nkind: C\n",
        "kind: A\n---\nkind: B\nbad\nbad: : :\n---\nkind: C\n",
    ];
    for text in rows {
        let documents = parse(text);
        let kinds: Vec<_> =
            documents.iter().map(|d| (d.root.get("kind").and_then(Node::raw), d.broken.is_some())).collect();
        assert_eq!(kinds.first(), Some(&(Some("A"), false)), "{text}");
        assert_eq!(kinds.last(), Some(&(Some("C"), false)), "{text}");
        assert_eq!(kinds.len(), 3, "{text}");
        assert!(kinds[1].1, "{text}");
    }
}

#[test]
fn an_alias_bomb_does_not_go_off() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    let documents = parse(&text);
    assert!(documents[0].root.problems().iter().any(|p| p.code == codes::ALIAS));
    assert!(documents[0].root.size().values < 2 * MAX_UNFOLDED.values);
}

#[test]
fn long_texts_and_many_documents_do_not_unfold_without_end_either() {
    let long = |aliases: usize| format!("a: &a {}\nb: [{}]\n", "x".repeat(40_000), vec!["*a"; aliases].join(", "));
    let flawed = |document: &Document| document.root.problems().iter().any(|p| p.code == codes::ALIAS);
    assert!(!flawed(&parse(&long(100))[0]));
    let documents = parse(&long(1_000));
    assert!(flawed(&documents[0]) && documents[0].root.size().bytes < 2 * MAX_UNFOLDED.bytes);

    let documents = parse(&vec![long(100); 40].join("---\n"));
    let unfolded = documents.iter().filter(|document| !flawed(document)).count();
    assert_eq!((documents.len(), unfolded), (40, MAX_UNFOLDED_IN_ALL.bytes / 4_000_000));

    // Anchors within anchors are kept once for each.
    let open: String = (0..60).map(|depth| format!("&a{depth} [")).collect();
    let documents = parse(&format!("a: {open}{}{}\nb: *a0\n", "x".repeat(2 << 20), "]".repeat(60)));
    assert!(flawed(&documents[0]));
}

#[test]
fn depth_is_bounded() {
    let text = format!("a: {}x{}\nb: 1\n", "[".repeat(200), "]".repeat(200));
    let documents = parse(&text);
    assert_eq!(documents[0].broken.as_ref().map(|p| p.code), Some(codes::TOO_DEEP));
    assert!(documents[0].root.depth() <= MAX_DEPTH + 1);
}

#[test]
fn unquoted_text_means_what_kubernetes_takes_it_for() {
    let rows = [
        ("yes", Meaning::Bool(true)),
        ("off", Meaning::Bool(false)),
        ("~", Meaning::Null),
        ("12", Meaning::Number),
        ("-1.5e3", Meaning::Number),
        ("0x1F", Meaning::Number),
        ("1.2.3", Meaning::Text),
        ("10.0.0.1", Meaning::Text),
        ("v1", Meaning::Text),
        ("5s", Meaning::Text),
        ("-", Meaning::Text),
        ("5xx,reset", Meaning::Text),
        ("2026-01-01", Meaning::Text),
    ];
    for (text, wanted) in rows {
        assert_eq!(meaning(text), wanted, "{text}");
    }
}
