//! How much room regular expressions take, all together. One is bounded where it is compiled; ten thousand that just pass there
//! would fill the memory.

/// The most that the expressions of all objects may weigh. A unit is about thirty bytes of a compiled program.
pub(crate) const MOST: usize = 4_000_000;

/// What a class of Unicode's stands for, in units.
const UNICODE: usize = 1_000;
/// What a class of letters, or any letter, stands for.
const CLASS: usize = 4;

/// About how large an expression's program is: what is repeated counts as often as it may be there.
pub(crate) fn weight(expression: &str) -> usize {
    let mut reader = Reader { rest: expression.as_bytes(), depth: 0 };
    let mut all = 1_usize;
    while !reader.rest.is_empty() {
        all = all.saturating_add(reader.sequence());
        // A `)` too many: the compiler complains of it.
        reader.rest = reader.rest.get(1..).unwrap_or_default();
    }
    all
}

/// Deeper groups are not looked into: the compiler refuses them.
const DEEPEST: usize = 250;

struct Reader<'e> {
    rest: &'e [u8],
    depth: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Everything up to the end of a group, alternatives included.
    fn sequence(&mut self) -> usize {
        let mut all = 0_usize;
        while self.rest.first().is_some_and(|next| *next != b')') {
            let atom = self.atom();
            let times = self.times();
            all = all.saturating_add(atom.saturating_mul(times));
        }
        all
    }

    fn atom(&mut self) -> usize {
        match self.next() {
            Some(b'\\') => self.escape(),
            Some(b'[') => self.class(),
            Some(b'.') => CLASS,
            Some(b'(') if self.depth < DEEPEST => {
                self.depth += 1;
                let inside = self.sequence();
                self.depth -= 1;
                self.next();
                inside.saturating_add(2)
            }
            _ => 1,
        }
    }

    fn escape(&mut self) -> usize {
        match self.next() {
            Some(b'p' | b'P') => {
                if self.rest.first() == Some(&b'{') {
                    self.skip_behind(b'}');
                } else {
                    self.next();
                }
                UNICODE
            }
            Some(b'w' | b'W' | b'd' | b'D' | b's' | b'S') => CLASS,
            _ => 1,
        }
    }

    fn class(&mut self) -> usize {
        let mut weight = CLASS;
        // `[]a]` and `[^]a]` hold a bracket.
        if self.rest.first() == Some(&b'^') {
            self.next();
        }
        let mut first = true;
        while let Some(next) = self.next() {
            match next {
                b']' if !first => break,
                b'\\' => weight = weight.max(self.escape()),
                b'[' if self.rest.first() == Some(&b':') => self.skip_behind(b']'),
                _ => {}
            }
            first = false;
        }
        weight
    }

    fn skip_behind(&mut self, end: u8) {
        let at = self.rest.iter().position(|byte| *byte == end).map_or(self.rest.len(), |at| at + 1);
        self.rest = &self.rest[at..];
    }

    /// How often what stands before is there at most.
    fn times(&mut self) -> usize {
        let mut times = 1_usize;
        loop {
            match self.rest.first() {
                Some(b'*' | b'+' | b'?') => {
                    self.next();
                }
                Some(b'{') => {
                    let Some(end) = self.rest.iter().position(|byte| *byte == b'}') else { return times };
                    let inside = std::str::from_utf8(&self.rest[1..end]).unwrap_or_default();
                    let numbers = inside.split(',').filter_map(|number| number.trim().parse::<usize>().ok());
                    let Some(most) = numbers.max() else { return times };
                    times = times.saturating_mul(most.max(1));
                    self.rest = &self.rest[end + 1..];
                }
                _ => return times,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_weighs_as_often() {
        for (expression, expected) in [
            ("", 1),
            ("abc", 4),
            ("a{3}", 4),
            ("a{2,30}", 31),
            ("(ab){10}", 41),
            ("((a{10}){10}){10}", 1 + ((10 + 2) * 10 + 2) * 10),
            ("[a-z]{5}", 21),
            ("[]x]{2}", 9),
            ("[[:alpha:]x]", 5),
            (r"[\p{L}\d]{300}", 300_001),
            (r"\pL+", 1_001),
            (r"\{3}", 4),
            ("a|b", 4),
            ("a{", 3),
            ("(a", 4),
            ("a))b", 3),
            (".*", 5),
        ] {
            assert_eq!(weight(expression), expected, "{expression}");
        }
        assert_eq!(weight(&"(".repeat(1_000)), weight(&"(".repeat(1_000)));
        assert_eq!(weight(&format!("a{}", "{1000}".repeat(20))), usize::MAX);
    }
}
