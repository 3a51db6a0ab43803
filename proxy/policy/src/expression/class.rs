//! Classes of letters and escapes of RE2, in the crate's syntax.

use alloc::format;
use alloc::string::String;

use super::ExpressionError;
use super::re2::Input;

/// General categories of Unicode that RE2 knows. Whatever else it knows is a script.
const CATEGORIES: [&str; 37] = [
    "Any", "C", "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Cs",
];

/// Classes of ASCII with a name in brackets.
const NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// `[…]`, whose first bracket has been read at `start`.
pub(super) fn bracketed(input: &mut Input<'_>, start: usize) -> Result<String, ExpressionError> {
    let mut out = String::from("[");
    if input.eat("^") {
        out.push('^');
    }
    let mut first = true;
    loop {
        if !first && input.eat("]") {
            out.push(']');
            return Ok(out);
        }
        first = false;
        let at = input.at;
        match input.peek() {
            None => return Err(input.error(start, "missing `]`")),
            Some('[') if input.rest().starts_with("[:") => match posix(input)? {
                Some(class) => out.push_str(&class),
                None => range(input, at, start, &mut out)?,
            },
            Some('\\') => {
                input.next();
                match named(input, at)? {
                    Some(class) => out.push_str(&class),
                    None => {
                        input.at = at;
                        range(input, at, start, &mut out)?;
                    }
                }
            }
            Some(_) => range(input, at, start, &mut out)?,
        }
    }
}

/// One letter, or all from one to another.
fn range(input: &mut Input<'_>, at: usize, start: usize, out: &mut String) -> Result<(), ExpressionError> {
    let low = letter(input, start)?;
    let rest = input.rest();
    let high = match rest.starts_with('-') && rest.len() > 1 && !rest.starts_with("-]") {
        true => {
            input.next();
            Some(letter(input, start)?)
        }
        false => None,
    };
    push(out, low);
    if let Some(high) = high {
        if high < low {
            return Err(input.error(at, "bad range of letters"));
        }
        out.push('-');
        push(out, high);
    }
    Ok(())
}

fn letter(input: &mut Input<'_>, start: usize) -> Result<char, ExpressionError> {
    let at = input.at;
    match input.next() {
        Some('\\') => escaped(input, at),
        Some(letter) => Ok(letter),
        None => Err(input.error(start, "missing `]`")),
    }
}

fn push(out: &mut String, letter: char) {
    if r"\[]^-&~".contains(letter) {
        out.push('\\');
    }
    out.push(letter);
}

/// `[:alpha:]`; `None` if it does not end as one.
fn posix(input: &mut Input<'_>) -> Result<Option<String>, ExpressionError> {
    let at = input.at;
    let Some((name, _)) = input.rest()[2..].split_once(":]") else { return Ok(None) };
    input.at += "[::]".len() + name.len();
    if NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Ok(Some(input.since(at).into()));
    }
    Err(input.error(at, "no class of that name"))
}

/// What stands behind a backslash, if it is a class: the inside of its brackets.
pub(super) fn named(input: &mut Input<'_>, at: usize) -> Result<Option<String>, ExpressionError> {
    let class = match input.peek() {
        Some('d') => "0-9",
        Some('D') => "[^0-9]",
        Some('s') => r"\t\n\f\r ",
        Some('S') => r"[^\t\n\f\r ]",
        Some('w') => "0-9A-Za-z_",
        Some('W') => "[^0-9A-Za-z_]",
        Some('p' | 'P') => return unicode(input, at).map(Some),
        _ => return Ok(None),
    };
    input.next();
    Ok(Some(class.into()))
}

/// `pL`, `p{Greek}`, `P{^Lu}`.
fn unicode(input: &mut Input<'_>, at: usize) -> Result<String, ExpressionError> {
    let wanted = |error: &str, input: &Input<'_>| input.error(at, error);
    let mut negated = input.next() == Some('P');
    let name = match input.next() {
        Some('{') => {
            let Some((name, _)) = input.rest().split_once('}') else { return Err(wanted("missing `}`", input)) };
            input.at += name.len() + 1;
            name
        }
        Some(letter) => &input.text[input.at - letter.len_utf8()..input.at],
        None => return Err(wanted("no class of letters", input)),
    };
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negated = !negated;
            name
        }
        None => name,
    };
    let case = if negated { 'P' } else { 'p' };
    if CATEGORIES.contains(&name) {
        return Ok(format!("\\{case}{{{name}}}"));
    }
    let like_a_script = name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.chars().skip(1).all(|letter| letter.is_ascii_alphabetic() || letter == '_');
    let script = format!("\\{case}{{sc={name}}}");
    match like_a_script && name.len() > 2 && regex::Regex::new(&script).is_ok() {
        true => Ok(script),
        false => Err(wanted("no class of letters", input)),
    }
}

/// The letter that an escape stands for, whose backslash has been read at `at`.
pub(super) fn escaped(input: &mut Input<'_>, at: usize) -> Result<char, ExpressionError> {
    let bad = |input: &Input<'_>| input.error(at, "bad escape");
    let octal = |input: &mut Input<'_>, first: char| {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let Some(digit) = input.peek().and_then(|digit| digit.to_digit(8)) else { break };
            input.next();
            code = code * 8 + digit;
        }
        char::from_u32(code)
    };
    let Some(letter) = input.next() else { return Err(input.error(at, "backslash at the end")) };
    let found = match letter {
        'a' => Some('\x07'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        'x' => hexadecimal(input),
        '0' => octal(input, letter),
        // With one digit it would refer to a group, which RE2 does not have.
        '1'..='7' if input.peek().is_some_and(|digit| digit.is_digit(8)) => octal(input, letter),
        _ => Some(letter).filter(|letter| letter.is_ascii() && !letter.is_ascii_alphanumeric()),
    };
    found.ok_or_else(|| bad(input))
}

/// `41` or `{1F600}`.
fn hexadecimal(input: &mut Input<'_>) -> Option<char> {
    let digits = match input.eat("{") {
        true => {
            let digits = input.rest().split_once('}')?.0;
            input.at += digits.len() + 1;
            digits.trim_start_matches('0').len().checked_sub(9).map_or(digits, |_| "")
        }
        false => {
            let digits = input.rest().get(..2)?;
            input.at += 2;
            digits
        }
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| plain)?)
}
