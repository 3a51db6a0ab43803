//! What RE2 itself says of expressions, by its answers in `tests/re2/answers.txt`, and where errors point.

use alloc::format;
use alloc::vec::Vec;

use super::*;

/// `tests/re2/ask` makes it.
const ANSWERS: &str = include_str!("../../tests/re2/answers.txt");

/// Expressions that RE2 takes and that are refused here, each with its reason.
const REFUSED: &[&str] = &[];

fn plain(text: &str) -> Vec<u8> {
    let mut letters = text.bytes();
    let mut plain = Vec::new();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            b'\\' => match letters.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'x') => {
                    let digits: String = letters.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).expect("two digits")
                }
                other => other.unwrap_or(b'\\'),
            },
            letter => letter,
        });
    }
    plain
}

/// How the expression differs from RE2's answers in a line.
fn differences(line: &str) -> Vec<String> {
    let mut parts = line.split('\t');
    let text = String::from_utf8(plain(parts.next().unwrap_or_default())).expect("an expression is text");
    let answers: Vec<&str> = parts.collect();
    let (whole, part) = match (Expression::whole(&text), Expression::part(&text)) {
        (Ok(whole), Ok(part)) => (whole, part),
        (Err(_), Err(_)) if answers == ["!"] || REFUSED.contains(&&*text) => return Vec::new(),
        (Err(error), _) | (_, Err(error)) => return [format!("{text:?} is refused: {error}")].into(),
    };
    if answers == ["!"] {
        return [format!("{text:?} is taken, and RE2 refuses it")].into();
    }
    let differs = |answer: &&str| {
        let (said, subject) = answer.split_once('=').expect("an answer has a subject");
        let subject = plain(subject);
        let found = part.captures_iter(&subject).next().and_then(|groups| groups.get(0));
        let found = found.map_or_else(String::new, |found| format!("{}-{}", found.start(), found.end()));
        let here = format!("{}@{found}", u8::from(whole.is_match(&subject)));
        (here != said)
            .then(|| format!("{text:?} on {:?}: {here}, and RE2 says {said}", subject.escape_ascii().to_string()))
    };
    answers.iter().filter_map(differs).collect()
}

#[test]
fn expressions_match_what_re2_matches() {
    let differences: Vec<String> = ANSWERS.lines().flat_map(differences).collect();
    assert!(ANSWERS.lines().count() >= 2000);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn errors_point_to_what_was_written() {
    for (text, at, message) in [
        ("/a/(b", 3, "missing `)`: `(b`"),
        ("/a/b)c", 4, "unexpected `)`: `)`"),
        ("é*{2}*", 2, "bad repetition operator: `*{2}`"),
        ("a|*", 2, "missing argument to repetition operator: `*`"),
        ("x[a-", 1, "missing `]`: `[a-`"),
        ("[z-a]", 1, "bad range of letters: `z-a`"),
        ("a\\y", 1, "bad escape: `\\y`"),
        ("a\\", 1, "backslash at the end: `\\`"),
        ("(?=x)", 0, "RE2 has no such group or flag: `(?=`"),
        ("\\p{Nope}", 0, "no class of letters: `\\p{Nope}`"),
        ("(?P<a-b>x)", 0, "no name for a group: `(?P<a-b>`"),
        ("a{1001}", 1, "bad repetition operator: `{1001}`"),
        ("[é-a]", 2, "bad range of letters: `\u{fffd}-a`"),
        ("a\\x{100}", 1, "bad escape: `\\x{100}`"),
    ] {
        let error = Expression::whole(text).expect_err(text);
        assert_eq!((error.at, &*error.message), (at, message), "{text}");
    }
}

#[test]
fn the_text_is_kept_as_it_was_written() {
    let expression = Expression::whole(r"/\Qa.b\E/[\w-.]+").expect("RE2 takes it");
    assert_eq!(expression.as_str(), r"/\Qa.b\E/[\w-.]+");
    assert!(expression.is_match(b"/a.b/x-y.z") && !expression.is_match(b"/aXb/x"));
}

#[test]
fn what_needs_too_much_memory_is_refused() {
    for text in [&*"[ab]c".repeat(50_000), &"(a|bc)*".repeat(30_000)] {
        let error = Expression::whole(text).expect_err(&text[..8]);
        assert!(error.message.starts_with("it needs too much memory"), "{error}");
    }
    for text in [r"[\w-.]{1,1000}", "/api/v[0-9]+/(users|orders)/[^/]{1,64}(/.*)?", r"(a|b|c){0,500}"] {
        Expression::whole(text).expect(text);
    }
}
