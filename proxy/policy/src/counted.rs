//! How many there are of what is counted, in words.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// `1 object`, `2 objects`, `2 entries`: how many there are of what is counted.
pub fn counted(number: usize, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        _ if number == 1 => noun.to_owned(),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    };
    format!("{number} {plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_not() {
        let table = [
            (0, "object", "0 objects"),
            (1, "object", "1 object"),
            (2, "object", "2 objects"),
            (1, "entry", "1 entry"),
            (2, "entry", "2 entries"),
            (2, "key", "2 keys"),
        ];
        for (number, noun, expected) in table {
            assert_eq!(counted(number, noun), expected);
        }
    }
}
