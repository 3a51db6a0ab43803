//! Requests over HTTP/2 that the h2 crate refuses by itself: it resets their streams and tells nobody. What leaves for the caller
//! shows them: a stream that is reset though no request on it was handed on. RFC 9113 §8.1.1.

/// The bytes of a frame's head.
const HEAD: usize = 9;
const RST_STREAM: u8 = 3;
const PROTOCOL_ERROR: u32 = 1;
/// The bytes of a reset's payload.
const CODE: usize = 4;
/// How many streams are remembered that were passed over.
const PASSED_OVER: usize = 64;

/// What has left on a connection, as far as it tells which requests were refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// A frame's head, or a reset's code.
    bytes: [u8; HEAD],
    have: usize,
    /// How much of a payload is not here yet that tells nothing.
    left: usize,
    /// The stream whose reset's code comes next.
    reset: Option<u32>,
    /// The next stream that can be handed on, and those before it that were not.
    next: u32,
    passed_over: Vec<u32>,
    /// Streams that were reset and not handed on. One that was reset with the bytes that brought it may be handed on after that.
    reset_unseen: Vec<u32>,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; HEAD],
            have: 0,
            left: 0,
            reset: None,
            next: 1,
            passed_over: Vec::new(),
            reset_unseen: Vec::new(),
        }
    }

    /// A request on this stream has been handed on.
    pub(super) fn handed_on(&mut self, stream: u32) {
        if stream > self.next {
            let more = PASSED_OVER - self.passed_over.len();
            self.passed_over.extend((self.next..stream).step_by(2).take(more));
        }
        self.next = stream.saturating_add(2);
        self.reset_unseen.retain(|reset| *reset != stream);
    }

    /// Whether a request on this stream would be handed on yet.
    pub(super) fn is_to_come(&self, stream: u32) -> bool {
        stream >= self.next
    }

    /// How many have been refused since this was last asked. To be asked when nothing more can be handed on for now.
    pub(super) fn take(&mut self) -> usize {
        std::mem::take(&mut self.reset_unseen).len()
    }

    /// Takes note of what has been written.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) {
        loop {
            let skip = self.left.min(bytes.len());
            self.left -= skip;
            bytes = &bytes[skip..];
            if bytes.is_empty() {
                return;
            }
            let wanted = if self.reset.is_some() { CODE } else { HEAD };
            let take = (wanted - self.have).min(bytes.len());
            self.bytes[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == wanted {
                self.have = 0;
                self.read();
            }
        }
    }

    /// A frame's head is here, or the code of a reset.
    fn read(&mut self) {
        let [a, b, c, kind, _, stream @ ..] = self.bytes;
        if let Some(stream) = self.reset.take() {
            if u32::from_be_bytes([a, b, c, kind]) == PROTOCOL_ERROR {
                self.reset(stream);
            }
            return;
        }
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if kind == RST_STREAM && length == CODE {
            self.reset = Some(u32::from_be_bytes(stream));
        } else {
            self.left = length;
        }
    }

    fn reset(&mut self, stream: u32) {
        let passed_over = self.passed_over.iter().position(|one| *one == stream);
        if let Some(at) = passed_over {
            self.passed_over.swap_remove(at);
        }
        if passed_over.is_some() || stream >= self.next {
            self.reset_unseen.push(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn what_is_handed_on_after_its_reset_was_not_refused() {
        let mut refused = Refused::new();
        refused.wrote(&frame(RST_STREAM, 1, &PROTOCOL_ERROR.to_be_bytes()));
        refused.handed_on(1);
        assert_eq!(refused.take(), 0);
    }

    #[test]
    fn a_reset_of_what_was_never_handed_on_is_a_refusal_whatever_the_pieces() {
        let reset = |stream, code: u32| frame(RST_STREAM, stream, &code.to_be_bytes());
        let (settings, data) = (frame(4, 0, &[0; 12]), frame(0, 5, b"answer"));
        #[rustfmt::skip]
        let table = [
            // handed on, what leaves, refused
            (vec![], vec![settings.clone(), reset(1, 1)], 1),
            (vec![1], vec![reset(1, 1)], 0),
            (vec![1], vec![reset(3, 1), data.clone(), reset(7, 1)], 2),
            (vec![1, 5], vec![reset(3, 1), reset(5, 1), reset(1, 1)], 1),
            (vec![1, 5], vec![reset(3, 1), reset(3, 1)], 1),
            (vec![5], vec![data.clone(), reset(1, 7), reset(3, 8), settings.clone()], 0),
            (vec![1_000_001], vec![reset(1, 1), reset(127, 1), reset(129, 1)], 2),
        ];
        for (handed_on, frames, expected) in table {
            for piece in [1, 2, 4, 9, 1_000] {
                let mut refused = Refused::new();
                handed_on.iter().for_each(|stream| refused.handed_on(*stream));
                frames.concat().chunks(piece).for_each(|bytes| refused.wrote(bytes));
                assert_eq!((refused.take(), refused.take()), (expected, 0), "{handed_on:?} {frames:?} by {piece}");
            }
        }
    }
}
