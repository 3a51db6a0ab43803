//! Documents of the usual forms, read directly: blocks and lists by indentation, brackets and quotes that close on their line, in
//! ASCII. Whatever else there is, in a document or wrong with it, is left to the parser. What is read is what the parser reads.

use std::borrow::Cow;

use super::build::{Builder, node};
use super::{Document, MAX_DEPTH, Mark, Start, Value};

/// The longest key that is read here, in bytes. YAML allows 1024 characters before the colon.
const LONGEST_KEY: usize = 512;

/// Reads the document at `start`, if it is simple: what it is, unless it is empty, and where the next one starts.
pub(super) fn document(text: &str, start: Start) -> Option<(Option<Document>, Start)> {
    let rest = &text[start.at..];
    let text = &rest[..end(rest)];
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return None;
    }
    let mut reader =
        Reader { text, at: 0, line: start.lines + 1, line_start: 0, depth: 0, builder: Builder::default() };
    if text.starts_with("---") {
        reader.at = 3;
    }
    reader.finish_line()?;
    if let Some(column) = reader.column() {
        reader.block(column)?;
    }
    // What is left over is less indented than the first line, or something else that is wrong.
    reader.column().is_none().then(|| {
        let behind = Start { at: start.at + text.len(), lines: reader.line - 1 };
        (reader.builder.finish(None), behind)
    })
}

/// Where a document ends: before the next line that is `---`.
pub(super) fn end(text: &str) -> usize {
    let boundary = |at: &usize| matches!(text.as_bytes().get(at + 4), None | Some(b' ' | b'\t' | b'\r' | b'\n'));
    text.match_indices("\n---").map(|(at, _)| at).find(boundary).map_or(text.len(), |at| at + 1)
}

/// Reads one document. What gives `None` is not simple.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
    depth: usize,
    builder: Builder,
}

/// A key or value, and what it says.
struct Scalar<'t> {
    text: Cow<'t, str>,
    plain: bool,
    mark: Mark,
}

impl<'t> Reader<'t> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn byte(&self) -> Option<u8> {
        self.peek(0)
    }

    /// Whether nothing follows a character on its line but a space.
    fn is_apart(&self, ahead: usize) -> bool {
        matches!(self.peek(ahead), None | Some(b' ' | b'\n'))
    }

    /// How far what comes next is indented, unless it is the end.
    fn column(&self) -> Option<usize> {
        (self.at < self.text.len()).then(|| self.at - self.line_start)
    }

    fn is_entry(&self) -> bool {
        self.byte() == Some(b'-') && self.is_apart(1)
    }

    fn mark(&self, from: usize, len: usize) -> Mark {
        Mark { line: self.line, column: (from - self.line_start) as u32 + 1, len: len.max(1) as u32 }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    }

    fn skip_comment(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    /// Goes on to the next line that says something, if nothing more is said on this one.
    fn finish_line(&mut self) -> Option<()> {
        let from = self.at;
        loop {
            self.skip_spaces();
            match self.byte() {
                None => return Some(()),
                Some(b'\n') => {
                    self.at += 1;
                    self.line += 1;
                    self.line_start = self.at;
                }
                // Without a space before it, it is no comment.
                Some(b'#') if self.at == self.line_start || self.text.as_bytes()[self.at - 1] == b' ' => {
                    self.skip_comment()
                }
                // The document's first line, or a later one than this.
                Some(_) if from == 0 || self.line_start > from => {
                    return (self.at > self.line_start || !self.text[self.at..].starts_with("...")).then_some(());
                }
                Some(_) => return None,
            }
        }
    }

    /// Whether a line ends here, comments aside.
    fn is_line_over(&mut self) -> bool {
        self.skip_spaces();
        matches!(self.byte(), None | Some(b'\n' | b'#'))
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        read(self)?;
        self.depth -= 1;
        self.builder.end();
        Some(())
    }

    fn block(&mut self, column: usize) -> Option<()> {
        if self.is_entry() { self.list(column, self.mark(self.at, 1)) } else { self.map(column) }
    }

    /// Keys that are so far indented, with their values.
    fn map(&mut self, column: usize) -> Option<()> {
        self.builder.begin(node(Value::Map(Vec::new()), self.mark(self.at, 1), None), false, 0);
        self.deeper(|reader| {
            loop {
                let key = reader.key()?;
                reader.complete(key);
                reader.value(column)?;
                match reader.column() {
                    Some(next) if next == column && !reader.is_entry() => {}
                    Some(next) if next >= column => return None,
                    _ => return Some(()),
                }
            }
        })
    }

    fn value(&mut self, column: usize) -> Option<()> {
        if !self.is_line_over() {
            return self.inline();
        }
        self.finish_line()?;
        match self.column() {
            Some(next) if next > column => self.block(next),
            // The parser says that such a list begins with what is in it.
            Some(next) if next == column && self.is_entry() => {
                let rest = &self.text[self.at + 1..];
                let first = rest.len() - rest.trim_start_matches(' ').len();
                (!matches!(rest.as_bytes().get(first)?, b'\n' | b'#')).then_some(())?;
                self.list(next, self.mark(self.at + 1 + first, 1))
            }
            _ => None,
        }
    }

    /// Items that are so far indented.
    fn list(&mut self, column: usize, mark: Mark) -> Option<()> {
        self.builder.begin(node(Value::Seq(Vec::new()), mark, None), false, 0);
        self.deeper(|reader| {
            while reader.column() == Some(column) && reader.is_entry() {
                reader.at += 1;
                reader.item(column)?;
            }
            reader.column().is_none_or(|next| next <= column).then_some(())
        })
    }

    fn item(&mut self, column: usize) -> Option<()> {
        if self.is_line_over() {
            self.finish_line()?;
            return self.column().filter(|next| *next > column).and_then(|next| self.block(next));
        }
        let inner = self.column()?;
        if self.is_entry() {
            return self.list(inner, self.mark(self.at, 1));
        }
        let is_key = {
            let from = self.at;
            let is_key = !matches!(self.byte(), Some(b'[' | b'{')) && self.key().is_some();
            self.at = from;
            is_key
        };
        if is_key { self.map(inner) } else { self.inline() }
    }

    /// A value that ends on its line.
    fn inline(&mut self) -> Option<()> {
        match self.byte() {
            Some(b'[' | b'{') => self.flow()?,
            _ => {
                let scalar = self.scalar(false)?;
                self.complete(scalar);
            }
        }
        self.finish_line()
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<Scalar<'t>> {
        let key = self.scalar(false)?;
        self.colon(key)
    }

    fn colon(&mut self, key: Scalar<'t>) -> Option<Scalar<'t>> {
        let is_key = self.byte() == Some(b':') && self.is_apart(1) && key.text.len() <= LONGEST_KEY && key.text != "<<";
        self.at += 1;
        is_key.then_some(key)
    }

    /// A list or block in brackets.
    fn flow(&mut self) -> Option<()> {
        let map = self.byte() == Some(b'{');
        let (value, close) = if map { (Value::Map(Vec::new()), b'}') } else { (Value::Seq(Vec::new()), b']') };
        self.builder.begin(node(value, self.mark(self.at, 1), None), true, 0);
        self.at += 1;
        self.skip_spaces();
        self.deeper(|reader| {
            if reader.byte() == Some(close) {
                reader.at += 1;
                return Some(());
            }
            loop {
                if map {
                    let key = reader.scalar(true)?;
                    let key = reader.colon(key)?;
                    reader.complete(key);
                    reader.skip_spaces();
                }
                match reader.byte()? {
                    b'[' | b'{' => reader.flow()?,
                    _ => {
                        let scalar = reader.scalar(true)?;
                        reader.complete(scalar);
                    }
                }
                reader.skip_spaces();
                let found = reader.byte()?;
                reader.at += 1;
                match found {
                    b',' => reader.skip_spaces(),
                    _ => return (found == close).then_some(()),
                }
            }
        })
    }

    fn complete(&mut self, scalar: Scalar<'_>) {
        let value = Value::Scalar { text: scalar.text.into(), plain: scalar.plain };
        self.builder.complete(node(value, scalar.mark, None), 0);
    }

    /// Text up to what ends it, in brackets or not.
    fn scalar(&mut self, flow: bool) -> Option<Scalar<'t>> {
        let from = self.at;
        let (text, plain) = match self.byte()? {
            b'\'' => (self.single_quoted()?, false),
            b'"' => (self.double_quoted()?, false),
            _ => (self.plain(flow)?, true),
        };
        Some(Scalar { text, plain, mark: self.mark(from, self.at - from) })
    }

    fn plain(&mut self, flow: bool) -> Option<Cow<'t, str>> {
        let bytes = &self.text.as_bytes()[self.at..];
        let begins = match bytes[0] {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'+' | b'~' | b'$' | b'(' | b'^' => true,
            b'-' => bytes.get(1).is_some_and(u8::is_ascii_alphanumeric),
            _ => false,
        };
        let mut len = 0;
        loop {
            match bytes.get(len) {
                None | Some(b'\n') => break,
                Some(b',' | b'[' | b']' | b'{' | b'}') if flow => break,
                Some(b':') if matches!(bytes.get(len + 1), None | Some(b' ' | b'\n')) => break,
                Some(b':') if flow && matches!(bytes[len + 1], b',' | b'[' | b']' | b'{' | b'}') => return None,
                Some(b'#') if len > 0 && bytes[len - 1] == b' ' => break,
                Some(_) => len += 1,
            }
        }
        let text = self.text[self.at..self.at + len].trim_end_matches(' ');
        self.at += text.len();
        begins.then_some(Cow::Borrowed(text))
    }

    fn single_quoted(&mut self) -> Option<Cow<'t, str>> {
        let rest = &self.text[self.at + 1..];
        let mut len = 0;
        loop {
            match rest.as_bytes().get(len)? {
                b'\n' => return None,
                b'\'' if rest.as_bytes().get(len + 1) == Some(&b'\'') => len += 2,
                b'\'' => break,
                _ => len += 1,
            }
        }
        self.at += len + 2;
        let text = &rest[..len];
        Some(if text.contains('\'') { Cow::Owned(text.replace("''", "'")) } else { Cow::Borrowed(text) })
    }

    /// Escapes are the parser's.
    fn double_quoted(&mut self) -> Option<Cow<'t, str>> {
        let rest = &self.text[self.at + 1..];
        let len = rest.find(['"', '\\', '\n']).filter(|len| rest.as_bytes()[*len] == b'"')?;
        self.at += len + 2;
        Some(Cow::Borrowed(&rest[..len]))
    }
}
