//! From RE2's syntax to that of the regex crate, token by token. Where both write the same and mean the same nothing changes;
//! `\w \d \s \b` are ASCII; what the crate reads as syntax and RE2 does not (`{id}`, `&&` in a class, `\<`) becomes literal; and
//! what only RE2 has (`\Q…\E`, octal escapes) is written out. What RE2 refuses is refused.
//!
//! A letter is a byte, in the expression as in what it is held to. Envoy: RE2 reads both as Latin-1.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::ExpressionError;
use super::class;
use super::input::Input;
use super::letters;

/// Groups within groups, as deep as RE2 allows.
pub(super) const DEEPEST: u32 = 1000;

/// The most that a repetition, and all those within each other, may come to.
const REPEATS: u32 = 1000;

/// The expression in the crate's syntax.
pub(super) fn translate(text: &str) -> Result<String, ExpressionError> {
    let mut translator = Translator {
        input: Input::of(text),
        out: String::with_capacity(text.len() + 8),
        groups: Vec::new(),
        atom: None,
        most: 1,
        repetition: None,
    };
    translator.all()?;
    Ok(translator.out)
}

/// What a repetition repeats: where it stands in the output, and what the repetitions in it come to.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    end: usize,
    most: u32,
    repeated: bool,
}

/// A group that is open.
struct Group {
    /// Where it begins in the text and in the output.
    at: usize,
    start: usize,
    /// What the repetitions before it in the group around it come to.
    most: u32,
}

struct Translator<'t> {
    input: Input<'t>,
    out: String,
    groups: Vec<Group>,
    atom: Option<Atom>,
    /// What the repetitions in the innermost group come to.
    most: u32,
    /// Where the token before begins, if it is a repetition.
    repetition: Option<usize>,
}

impl Translator<'_> {
    fn all(&mut self) -> Result<(), ExpressionError> {
        loop {
            let start = self.input.at;
            let before = self.repetition.take();
            let Some(next) = self.input.next() else { break };
            match next {
                '(' => self.open(start)?,
                ')' => self.close(start)?,
                '|' => {
                    self.out.push('|');
                    self.atom = None;
                }
                '*' | '+' | '?' => self.repeat(start, before, None)?,
                '{' => match self.count() {
                    Some(range) => self.repeat(start, before, Some(range))?,
                    None => self.literal('{'),
                },
                '[' => {
                    let class = class::bracketed(&mut self.input, start)?;
                    self.put(&class);
                }
                '.' | '^' | '$' => self.put(next.encode_utf8(&mut [0; 4])),
                '\\' => self.escape(start)?,
                _ => self.literal(next),
            }
        }
        match self.groups.last() {
            Some(group) => Err(self.input.error_behind(group.at, "missing `)`")),
            None => Ok(()),
        }
    }

    /// Writes something that can be repeated.
    fn put(&mut self, written: &str) {
        let start = self.out.len();
        self.out.push_str(written);
        self.atom = Some(Atom { start, end: self.out.len(), most: 1, repeated: false });
    }

    fn literal(&mut self, letter: char) {
        let start = self.out.len();
        letters::push(&mut self.out, letter);
        self.atom = Some(Atom { start, end: self.out.len(), most: 1, repeated: false });
    }

    fn open(&mut self, at: usize) -> Result<(), ExpressionError> {
        let start = self.out.len();
        if !self.input.eat("?") {
            self.out.push('(');
        } else if self.input.eat("P<") || (!self.is_look_behind() && self.input.eat("<")) {
            self.name(at)?;
            self.out.push('(');
        } else if self.flags(at)? {
            // They hold from here on, and there is no group.
            return Ok(());
        }
        self.groups.push(Group { at, start, most: self.most });
        if self.groups.len() > DEEPEST as usize {
            return Err(self.input.error(at, "groups are nested too deeply"));
        }
        (self.atom, self.most) = (None, 1);
        Ok(())
    }

    fn is_look_behind(&self) -> bool {
        self.input.rest().starts_with(b"<=") || self.input.rest().starts_with(b"<!")
    }

    /// A group's name. Nobody asks for it, so it is left out.
    fn name(&mut self, at: usize) -> Result<(), ExpressionError> {
        let name = self.input.until(b">").unwrap_or(self.input.rest());
        self.input.at += name.len();
        let is_name =
            !name.is_empty() && name.iter().all(|letter| char::from(*letter).is_alphanumeric() || *letter == b'_');
        if !self.input.eat(">") || !is_name {
            return Err(self.input.error(at, "no name for a group"));
        }
        Ok(())
    }

    /// Reads flags and writes them; whether they stand alone, as in `(?i)`.
    fn flags(&mut self, at: usize) -> Result<bool, ExpressionError> {
        const LETTERS: [char; 4] = ['i', 'm', 's', 'U'];
        let mut flags = [None; LETTERS.len()];
        let (mut on, mut any) = (true, false);
        let alone = loop {
            match self.input.next() {
                Some('-') if on => (on, any) = (false, false),
                Some(end @ (')' | ':')) if on || any => break end == ')',
                Some(letter) => match LETTERS.iter().position(|known| *known == letter) {
                    Some(flag) => (flags[flag], any) = (Some(on), true),
                    None => return Err(self.input.error(at, "RE2 has no such group or flag")),
                },
                None => return Err(self.input.error(at, "missing `)`")),
            }
        };
        let said = |wanted: bool| (0..LETTERS.len()).filter(move |flag| flags[*flag] == Some(wanted));
        let (set, unset): (String, String) =
            (said(true).map(|flag| LETTERS[flag]).collect(), said(false).map(|flag| LETTERS[flag]).collect());
        let minus = if unset.is_empty() { "" } else { "-" };
        match (alone, set.is_empty() && unset.is_empty()) {
            (true, true) => {}
            (true, false) => self.out.push_str(&format!("(?{set}{minus}{unset})")),
            (false, _) => self.out.push_str(&format!("(?{set}{minus}{unset}:")),
        }
        Ok(alone)
    }

    fn close(&mut self, at: usize) -> Result<(), ExpressionError> {
        let Some(group) = self.groups.pop() else { return Err(self.input.error(at, "unexpected `)`")) };
        self.out.push(')');
        self.atom = Some(Atom { start: group.start, end: self.out.len(), most: self.most, repeated: false });
        self.most = self.most.max(group.most);
        Ok(())
    }

    /// Reads the rest of `{n}`, `{n,}` or `{n,m}`. Everything else that begins so is literal.
    fn count(&mut self) -> Option<(u32, Option<u32>)> {
        let inner = core::str::from_utf8(self.input.until(b"}")?).ok()?;
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let plain = plain && (digits.len() == 1 || !digits.starts_with('0'));
            digits.parse::<u32>().ok().filter(|number| plain && *number < 1_000_000_000)
        };
        let range = match inner.split_once(',') {
            None => number(inner).map(|exactly| (exactly, Some(exactly))),
            Some((least, "")) => number(least).map(|least| (least, None)),
            Some((least, most)) => number(least).zip(number(most)).map(|(least, most)| (least, Some(most))),
        }?;
        self.input.at += inner.len() + 1;
        Some(range)
    }

    fn repeat(
        &mut self,
        at: usize,
        before: Option<usize>,
        range: Option<(u32, Option<u32>)>,
    ) -> Result<(), ExpressionError> {
        self.input.eat("?");
        let operator = self.input.since(at);
        if let Some(before) = before {
            return Err(self.input.error(before, "bad repetition operator"));
        }
        let Some(mut atom) = self.atom else {
            return Err(self.input.error(at, "missing argument to repetition operator"));
        };
        if let Some((least, most)) = range {
            let times = most.unwrap_or(least);
            if times < least || least > REPEATS || times > REPEATS {
                return Err(self.input.error(at, "bad repetition operator"));
            }
            atom.most = atom.most.saturating_mul(times.max(1));
            if times.max(least) >= 2 && atom.most > REPEATS {
                return Err(self.input.error(at, "repetitions of repetitions come to more than 1000"));
            }
        }
        // Only flags can stand between what is repeated and the operator.
        if atom.repeated {
            self.out.insert(atom.end, ')');
            self.out.insert_str(atom.start, "(?:");
            atom.end += "(?:)".len();
        }
        self.out.insert_str(atom.end, operator);
        atom.end += operator.len();
        atom.repeated = true;
        self.most = self.most.max(atom.most);
        (self.atom, self.repetition) = (Some(atom), Some(at));
        Ok(())
    }

    fn escape(&mut self, at: usize) -> Result<(), ExpressionError> {
        match self.input.peek() {
            Some('Q') => {
                self.input.next();
                self.quoted();
                return Ok(());
            }
            Some('C') => self.put("(?s:.)"),
            Some('A') => self.put(r"\A"),
            Some('z') => self.put(r"\z"),
            Some('b') => self.put(r"\b"),
            Some('B') => self.put(r"\B"),
            _ => {
                if let Some(class) = class::named(&mut self.input, at)? {
                    self.put(&format!("[{class}]"));
                } else {
                    let letter = class::escaped(&mut self.input, at)?;
                    self.literal(letter);
                }
                return Ok(());
            }
        }
        self.input.next();
        Ok(())
    }

    /// `\Q…\E`, or to the end.
    fn quoted(&mut self) {
        while !self.input.eat(r"\E") {
            let Some(letter) = self.input.next() else { return };
            self.literal(letter);
        }
    }
}
