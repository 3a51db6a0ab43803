//! Text in a given width: cut, wrapped and packed, by the columns that a terminal gives each character.

use unicode_width::UnicodeWidthChar;

/// How many columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

/// The text without what moves a cursor: control characters become spaces.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The beginning of the text that fits.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = |character: &char| {
        taken += character.width().unwrap_or(0);
        taken <= width
    };
    printable(text).chars().take_while(fits).collect()
}

/// The text without its first columns.
fn without(text: &str, columns: usize) -> String {
    let mut passed = 0;
    let skipped = |character: &char| {
        let skips = passed < columns;
        passed += character.width().unwrap_or(0);
        skips
    };
    text.chars().skip_while(skipped).collect()
}

/// Breaks between words; what follows the first line is indented. A word that is longer than a line is cut up.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    join(&words, " ", "", width, indent)
}

/// Puts as many parts into a line as fit, with `between` between them and `end` where a line goes on in the next one.
pub(crate) fn join(parts: &[String], between: &str, end: &str, width: usize, indent: usize) -> Vec<String> {
    let width = width.max(1);
    let indent = if indent * 2 < width { indent } else { 0 };
    let mut lines = vec![String::new()];
    for (at, part) in parts.iter().map(|part| printable(part)).enumerate() {
        let line = lines.last_mut().expect("there is a line from the start");
        // Where a line ends for good, nothing stands at its end.
        let end_columns = if at + 1 == parts.len() { 0 } else { columns(end) };
        if at == 0 {
            line.push_str(&part);
        } else if columns(line) + columns(between) + columns(&part) + end_columns <= width {
            line.push_str(between);
            line.push_str(&part);
        } else {
            line.push_str(end);
            lines.push(format!("{}{part}", " ".repeat(indent)));
        }
        // A part that is longer than a line goes on in the next.
        while let Some(last) = lines.pop() {
            let fits = columns(&last) <= width;
            let rest = last[cut(&last, width).len()..].to_owned();
            lines.push(cut(&last, width));
            if fits || rest.len() == last.len() {
                break;
            }
            lines.push(format!("{}{rest}", " ".repeat(indent)));
        }
    }
    lines
}

/// A compiler's complaint: prose is wrapped, and of quoted source with its carets that part is shown where the carets are.
pub(crate) fn complaint(text: &str, width: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut fitted = Vec::new();
    for group in lines.chunk_by(|a, b| gutter(a).is_some() == gutter(b).is_some()) {
        if gutter(group[0]).is_none() {
            fitted.extend(group.iter().flat_map(|line| wrap(line, width, 4)));
            continue;
        }
        let caret = group.iter().filter_map(|line| line.rfind('^').map(|at| columns(&line[..=at]) + 1)).max();
        let shift = caret.unwrap_or(0).saturating_sub(width);
        for line in group {
            let (margin, rest) = line.split_at(gutter(line).unwrap_or(0));
            match rest.trim_start().strip_prefix("= ") {
                Some(_) => fitted.extend(wrap(&format!("{margin}{rest}"), width, 4)),
                None => fitted.push(cut(&format!("{margin}{}", without(rest, shift)), width)),
            }
        }
    }
    fitted
}

/// How long the margin of a line of quoted source is: spaces, a line number and a bar. None in other lines.
fn gutter(line: &str) -> Option<usize> {
    let (margin, _) = line.split_once('|')?;
    margin.chars().all(|character| character == ' ' || character.is_ascii_digit()).then(|| margin.len() + 1)
}

/// `1 call`, `2 calls`.
pub(crate) fn count(number: impl Into<f64>, one: &str, many: &str) -> String {
    let number: f64 = number.into();
    format!("{number:.0} {}", if number == 1.0 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_long_ones_cut_up() {
        for (text, width, lines) in [
            ("a bc def", 80, vec!["a bc def"]),
            ("a bc def", 5, vec!["a bc", " def"]),
            ("abcdefgh", 3, vec!["abc", " de", " fg", " h"]),
            ("a\tb\u{1b}[2J", 80, vec!["a b [2J"]),
            ("日本語", 4, vec!["日本", " 語"]),
            ("日", 1, vec![""]),
            ("", 5, vec![""]),
        ] {
            assert_eq!(wrap(text, width, 1), lines, "{text} in {width}");
        }
    }

    #[test]
    fn the_caret_stays_under_what_it_points_at() {
        let text = "error[L1]: no such thing\n  |\n9 |     timeout: {long: words, bad: 3}\n  |                                 ^\n";
        for width in [12, 20, 30, 40, 80] {
            let lines = complaint(text, width);
            let at = lines.iter().position(|line| line.contains('^')).unwrap();
            let caret = lines[at].find('^').unwrap();
            assert_eq!(&lines[at - 1][caret..=caret], "3", "{width}: {lines:#?}");
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn one_is_singular() {
        let of = |number: u32| count(number, "retry", "retries");
        assert_eq!([of(0), of(1), of(2)], ["0 retries", "1 retry", "2 retries"]);
    }
}
