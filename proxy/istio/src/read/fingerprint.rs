//! What a document says, as one number: the same wherever it stands, and however it is indented or commented.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::yaml::{Node, Value};

/// Equal for equal texts, and but for an improbable accident different for others.
pub(super) fn of(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    add(node, &mut hasher);
    hasher.finish()
}

fn add(node: &Node, hasher: &mut DefaultHasher) {
    match &node.value {
        Value::Scalar { text, plain } => (0u8, plain, text).hash(hasher),
        Value::Seq(items) => {
            (1u8, items.len()).hash(hasher);
            items.iter().for_each(|item| add(item, hasher));
        }
        Value::Map(entries) => {
            (2u8, entries.len()).hash(hasher);
            for (key, node) in entries {
                key.text.hash(hasher);
                add(node, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn number(text: &str) -> u64 {
        let mut numbers = Vec::new();
        yaml::parse(text, |document| numbers.push(of(&document.root)));
        numbers[0]
    }

    #[test]
    fn what_is_said_counts_and_not_where_or_how() {
        let text = "a: {b: [1, x], c: ''}";
        for (other, same) in [
            ("# moved\n\n\na: {b: [1, x], c: ''}", true),
            ("a:\n  b:\n  - 1\n  - x # spaced\n  c: \"\"\n", true),
            ("a: {b: [1, y], c: ''}", false),
            ("a: {b: [1], x: ''}", false),
            ("a: {b: ['1', x], c: ''}", false),
            ("a: {b: [1, x]}", false),
            ("a: {b: [[1, x]], c: ''}", false),
        ] {
            assert_eq!(number(text) == number(other), same, "{other}");
        }
    }
}
