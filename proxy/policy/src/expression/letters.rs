//! Bytes as letters of Latin-1, in the crate's syntax, which knows no classes of Unicode when it reads bytes. Of case both know in
//! ASCII only.

use alloc::format;
use alloc::string::String;

/// Writes a letter that stands for itself, inside of brackets or outside.
pub(super) fn push(out: &mut String, letter: char) {
    if !letter.is_ascii() {
        out.push_str(&format!("\\x{:02X}", u32::from(letter)));
        return;
    }
    if r"\.+*?()|[]{}^$#&-~".contains(letter) {
        out.push('\\');
    }
    out.push(letter);
}

/// Writes all letters from one to another, inside of brackets.
pub(super) fn push_range(out: &mut String, low: char, high: char) {
    push(out, low);
    if low < high {
        out.push('-');
        push(out, high);
    }
}

/// The inside of the brackets of what a class of Unicode has in Latin-1, or has not; `None` when there is no such class.
pub(super) fn unicode(class: &str, negated: bool) -> Option<String> {
    let class = regex::Regex::new(class).ok()?;
    let mut ranges = String::new();
    let mut from = None;
    for letter in '\0'..='\u{100}' {
        let has = letter <= '\u{ff}' && class.is_match(letter.encode_utf8(&mut [0; 4]));
        match from {
            None if has => from = Some(letter),
            Some(low) if !has => {
                push_range(&mut ranges, low, char::from_u32(u32::from(letter) - 1)?);
                from = None;
            }
            _ => {}
        }
    }
    // Brackets are never empty.
    Some(match (ranges.is_empty(), negated) {
        (false, false) => ranges,
        (false, true) => format!("[^{ranges}]"),
        (true, false) => String::from("[^\\x00-\\xFF]"),
        (true, true) => String::from("\\x00-\\xFF"),
    })
}
