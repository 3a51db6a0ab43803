//! An explanation without what is secret in it.

use super::{Edit, Explanation, Tried};

/// A value that is not shown, and that may stand in others, such as a header made of another.
const LEAST: usize = 4;

impl Explanation {
    /// Puts `instead` in the place of the values of all headers and query parameters whose name `hides`, and wherever else those
    /// values stand.
    pub fn redact(&mut self, hides: &dyn Fn(&str) -> bool, instead: &str) {
        let secrets = self.secrets(hides);
        self.texts(&mut |name, value| {
            if name.is_some_and(hides) {
                instead.clone_into(value);
            }
            for secret in &secrets {
                if value.contains(&**secret) {
                    *value = value.replace(&**secret, instead);
                }
            }
        });
    }

    /// The values that are secret, the longest first.
    fn secrets(&self, hides: &dyn Fn(&str) -> bool) -> Vec<String> {
        let sent = self.sent.as_ref();
        let headers: Vec<_> = self.request.headers.iter().map(|(name, value)| (&**name, crate::text(value))).collect();
        let headers = headers.iter().map(|(name, value)| (*name, &**value));
        let edits = self.response_edits.iter().chain(sent.iter().flat_map(|sent| &sent.edits));
        let query = self.request.path.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let all = headers.chain(edits.map(|edit| (&*edit.name, &*edit.value))).chain(query);
        let secret = all.filter(|(name, value)| value.len() >= LEAST && hides(name));
        let mut secret: Vec<String> = secret.map(|(_, value)| value.to_owned()).collect();
        secret.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        secret
    }

    /// Every text that may come from a header or a query, with the name of the header if it is its value.
    fn texts(&mut self, see: &mut dyn FnMut(Option<&str>, &mut String)) {
        if let Some(sent) = &mut self.sent {
            see(None, &mut sent.path);
        }
        let sent = self.sent.as_mut();
        let (sent_headers, sent_edits) = sent.map(|sent| (&mut sent.headers, &mut sent.edits)).unzip();
        let headers = [Some(&mut self.request.headers), Some(&mut self.response_headers), sent_headers];
        for (name, value) in headers.into_iter().flatten().flatten() {
            let mut text = crate::text(value);
            see(Some(name), &mut text);
            *value = text.into_bytes();
        }
        for Edit { name, value, .. } in self.response_edits.iter_mut().chain(sent_edits.into_iter().flatten()) {
            see(Some(name), value);
        }
        for Tried { part, wanted, is, holds, .. } in self.tried.iter_mut().chain(&mut self.absent) {
            let first = part.as_ref().map(|part| (part, wanted, is));
            let held = holds.iter_mut().map(|(part, wanted, is)| (&*part, wanted, is));
            for (part, wanted, is) in first.into_iter().chain(held) {
                let name = part.split_once('[').and_then(|(_, name)| name.strip_suffix(']'));
                see(name, wanted);
                if let Some(is) = is {
                    see(name, is);
                }
            }
        }
        see(None, &mut self.request.path);
        let answers = [&mut self.answer, &mut self.at_worst].into_iter().flatten();
        answers.for_each(|answer| answer.location.iter_mut().for_each(|location| see(None, location)));
    }
}
