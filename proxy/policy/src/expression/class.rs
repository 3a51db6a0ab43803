//! Classes of letters and escapes of RE2, in the crate's syntax.

use alloc::format;
use alloc::string::String;

use super::ExpressionError;
use super::input::Input;
use super::letters;

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
            Some('[') if input.rest().starts_with(b"[:") => match posix(input)? {
                Some(class) => out.push_str(&class),
                None => range(input, start, &mut out)?,
            },
            Some('\\') => {
                input.next();
                match named(input, at)? {
                    Some(class) => out.push_str(&class),
                    None => {
                        input.at = at;
                        range(input, start, &mut out)?;
                    }
                }
            }
            Some(_) => range(input, start, &mut out)?,
        }
    }
}

/// One letter, or all from one to another.
fn range(input: &mut Input<'_>, start: usize, out: &mut String) -> Result<(), ExpressionError> {
    let at = input.at;
    let low = letter(input, start)?;
    let rest = input.rest();
    let high = match rest.starts_with(b"-") && rest.len() > 1 && !rest.starts_with(b"-]") {
        true => {
            input.next();
            letter(input, start)?
        }
        false => low,
    };
    if high < low {
        return Err(input.error(at, "bad range of letters"));
    }
    letters::push_range(out, low, high);
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

/// `[:alpha:]`; `None` if it does not end as one.
fn posix(input: &mut Input<'_>) -> Result<Option<String>, ExpressionError> {
    let at = input.at;
    let Some(inner) = input.until(b":]") else { return Ok(None) };
    let Some(name) = inner.strip_prefix(b"[:") else { return Ok(None) };
    input.at += inner.len() + ":]".len();
    let name = core::str::from_utf8(name).unwrap_or_default();
    if NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Ok(Some(format!("[:{name}:]")));
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
            let Some(name) = input.until(b"}") else { return Err(wanted("missing `}`", input)) };
            input.at += name.len() + 1;
            String::from_utf8_lossy(name).into_owned()
        }
        Some(letter) => String::from(letter),
        None => return Err(wanted("no class of letters", input)),
    };
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negated = !negated;
            name
        }
        None => &name,
    };
    let like_a_script = name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.chars().skip(1).all(|letter| letter.is_ascii_alphabetic() || letter == '_');
    let class = if CATEGORIES.contains(&name) {
        letters::unicode(&format!("\\p{{{name}}}"), negated)
    } else if like_a_script && name.len() > 2 {
        letters::unicode(&format!("\\p{{sc={name}}}"), negated)
    } else {
        None
    };
    class.ok_or_else(|| wanted("no class of letters", input))
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
    found.filter(|letter| *letter <= '\u{ff}').ok_or_else(|| bad(input))
}

/// `41` or `{1F600}`.
fn hexadecimal(input: &mut Input<'_>) -> Option<char> {
    let digits = match input.eat("{") {
        true => {
            let digits = core::str::from_utf8(input.until(b"}")?).ok()?;
            input.at += digits.len() + 1;
            digits.trim_start_matches('0').len().checked_sub(9).map_or(digits, |_| "")
        }
        false => {
            let digits = core::str::from_utf8(input.rest().get(..2)?).ok()?;
            input.at += 2;
            digits
        }
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| plain)?)
}
