//! What paths begin with: all beginnings of a path that are known are found by one search.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::Candidates;

/// Known beginnings, sorted, so that those which begin with another one come right behind it.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    sorted: Box<[Prefix]>,
    /// Whether the case of a path is the same to them; then they are in lower case.
    fold: bool,
}

#[derive(Debug)]
struct Prefix {
    text: Arc<str>,
    /// The longest other one that this one begins with; itself when there is none.
    parent: u32,
    candidates: Candidates,
}

impl Prefixes {
    /// Sorts beginnings, in lower case if `fold`, with the places they are at, which are in order.
    pub(super) fn new(
        mut list: Vec<(Arc<str>, u32)>,
        fold: bool,
        mut candidates: impl FnMut(Vec<u32>) -> Candidates,
    ) -> Self {
        list.sort();
        let mut sorted: Vec<Prefix> = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        for same in list.chunk_by(|a, b| a.0 == b.0) {
            let text = same[0].0.clone();
            while open.last().is_some_and(|last| !text.starts_with(&*sorted[*last as usize].text)) {
                open.pop();
            }
            let own = sorted.len() as u32;
            let parent = open.last().copied().unwrap_or(own);
            open.push(own);
            let candidates = candidates(same.iter().map(|(_, place)| *place).collect());
            sorted.push(Prefix { text, parent, candidates });
        }
        Self { sorted: sorted.into(), fold }
    }

    /// Hands over what is known of each beginning of a path, the longest first.
    ///
    /// The last text that is not behind the path in the order is its longest beginning, or begins with it: everything
    /// between the two does.
    pub(super) fn of(&self, path: &str, mut each: impl FnMut(Candidates)) {
        let behind = self.sorted.partition_point(|prefix| self.order(&prefix.text, path) != Ordering::Greater);
        let Some(mut at) = behind.checked_sub(1) else { return };
        loop {
            let prefix = &self.sorted[at];
            if self.begins(path, &prefix.text) {
                each(prefix.candidates);
            }
            if prefix.parent as usize == at {
                return;
            }
            at = prefix.parent as usize;
        }
    }

    fn order(&self, text: &str, path: &str) -> Ordering {
        match self.fold {
            false => text.cmp(path),
            true => text.bytes().cmp(path.bytes().map(|b| b.to_ascii_lowercase())),
        }
    }

    fn begins(&self, path: &str, text: &str) -> bool {
        match self.fold {
            false => path.starts_with(text),
            true => path.as_bytes().get(..text.len()).is_some_and(|b| b.eq_ignore_ascii_case(text.as_bytes())),
        }
    }
}
