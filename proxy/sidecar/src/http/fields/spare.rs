//! Buffers of fields that are used again for the next message, so that it allocates nothing.

use std::cell::RefCell;

use super::Field;

/// What a message's fields take: their text, and where each is in it.
type Room = (Vec<u8>, Vec<Field>);

/// The longest text that is kept, in bytes.
const TEXT: usize = 4 * 1024;
/// The longest list that is kept.
const LIST: usize = 64;
/// How many are kept.
const ROOMS: usize = 128;

thread_local! {
    /// What nobody on this thread needs just now. What was used last is used first.
    static SPARE: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

/// Room for so many fields of so many bytes together.
pub(super) fn take(count: usize, bytes: usize) -> Room {
    let (mut text, mut list) = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    text.reserve(bytes);
    list.reserve(count);
    (text, list)
}

/// Leaves room to the next message, unless it is too much or none.
pub(super) fn leave(mut text: Vec<u8>, mut list: Vec<Field>) {
    let fits = (1..=TEXT).contains(&text.capacity()) && (1..=LIST).contains(&list.capacity());
    if !fits {
        return;
    }
    text.clear();
    list.clear();
    // A thread that is ending keeps nothing.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < ROOMS {
            spare.push((text, list));
        }
    });
}

/// Lets go of half of what a burst has left on this thread.
pub(crate) fn forget() {
    SPARE.with_borrow_mut(|spare| {
        let keep = spare.len() / 2;
        spare.truncate(keep);
        spare.shrink_to(keep * 2);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Fields;

    fn spare() -> usize {
        SPARE.with_borrow(Vec::len)
    }

    #[test]
    fn what_one_message_leaves_is_clean_for_the_next_and_not_kept_for_ever() {
        let mut first = Fields::with_capacity(4, 100);
        first.append("x-a", b"1");
        drop(first);
        assert_eq!(spare(), 1);
        let second = Fields::with_capacity(4, 100);
        assert_eq!((spare(), second.iter().count(), second.size()), (0, 0, 0));
        drop(second);
        drop(Fields::default());
        drop(Fields::with_capacity(LIST + 1, 10));
        drop(Fields::with_capacity(4, 10 * TEXT));
        assert_eq!(spare(), 0, "what has grown too large is let go");
        let many: Vec<_> = (0..2 * ROOMS).map(|_| Fields::with_capacity(4, 100)).collect();
        drop(many);
        assert_eq!(spare(), ROOMS);
        (0..8).for_each(|_| forget());
        assert_eq!(spare(), 0);
    }
}
