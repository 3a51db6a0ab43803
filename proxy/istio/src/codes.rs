//! The register of diagnostic codes: one row each, with a title. Numbers are never used twice.

use std::fmt;

/// The code of a diagnostic, shown as `L0001`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(u16);

impl Code {
    /// Whether Istio's validator complains about the same.
    pub(crate) fn is_validation(self) -> bool {
        (102..300).contains(&self.0) || self == REFUSED
    }

    /// What this code is about, in one line.
    pub fn title(self) -> &'static str {
        ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, title)| title)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{:04}", self.0)
    }
}

macro_rules! codes {
    ($($number:literal $name:ident $title:literal)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*
        /// Every code with its title, in order.
        pub const ALL: &[(Code, &str)] = &[$((Code($number), $title)),*];
    };
}

// L00xx text · L01xx fields and values · L02xx rules between fields · L03xx rules between objects · L04xx what is not enforced
codes! {
    1 SYNTAX "the text is not YAML"
    2 DUPLICATE_KEY "a key is written twice in one block"
    3 ALIAS "an alias is unknown or unfolds too far"
    4 TAG "a tag that is not understood"
    5 NOT_AN_OBJECT "a document that is not an object"
    6 PASSED_OVER "a kind that is not ours is passed over"
    7 ENVELOPE "apiVersion, kind or metadata is missing or wrong"
    8 DUPLICATE_OBJECT "an object is defined twice"
    9 KEPT "the last good version of an object stays in force"
    10 TOO_DEEP "blocks are nested too deep"
    11 UNREADABLE "a file or folder cannot be read"
    101 UNKNOWN_FIELD "no field of this name is known here"
    102 WRONG_TYPE "a value is of the wrong type"
    103 MISSING "a required field is missing"
    104 BAD_VALUE "a value is not allowed"
    105 BAD_DURATION "a duration is not allowed"
    106 BAD_REGEX "a regular expression is not allowed"
    107 OUT_OF_RANGE "a number is out of range"
    108 BAD_NAME "a name is malformed"
    109 BAD_HOST "a host name is malformed"
    110 SPELLED_TWICE "a field is written in both its spellings"
    201 ONE_OF "only one of several fields may be set"
    202 NEEDS "a field needs another one"
    203 CONFLICT "fields contradict one another"
    204 DUPLICATE "a value that must be unique is repeated"
    205 UNREACHABLE "a rule can never be reached"
    206 NO_EFFECT "a setting has no effect"
    207 DEPRECATED "a field is deprecated"
    301 UNKNOWN_HOST "no service of this name is defined here"
    302 UNKNOWN_SUBSET "the destination rule has no such subset"
    303 UNKNOWN_PORT "the service has no such port"
    304 HOST_CONFLICT "several objects claim one host"
    401 NOT_ENFORCED "a field is known but not enforced yet"
    402 IGNORED "a field has no meaning for this proxy"
    403 REFUSED "a field that is never accepted"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_registered_once_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(ALL.iter().all(|(code, title)| !title.is_empty() && code.title() == *title));
        assert_eq!(SYNTAX.to_string(), "L0001");
    }
}
