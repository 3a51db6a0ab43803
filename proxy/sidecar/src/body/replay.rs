//! Buffered request bodies. Small pieces are copied together, so that a buffered byte costs about one byte of memory.
//! One limit holds for the whole process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};

use crate::http::http1::READ_MOST;

/// From this size a piece is kept as it is. A smaller one is copied: it may be all that is alive of the buffer it was read into.
const SHARED: usize = READ_MOST / 2;
/// The least and the most room of a block that small pieces are copied into.
const BLOCK: usize = 512;
const BLOCK_MOST: usize = 64 * 1024;

/// Pieces in a row.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    sealed: VecDeque<Bytes>,
    /// The block that grows.
    tail: BytesMut,
    bytes: usize,
}

impl Blocks {
    /// Adds a piece at the end. `more` is how much is expected to follow, where that is known. What it costs is asked for of
    /// `room` first; false when that has none, and then nothing is added.
    pub(crate) fn push(&mut self, data: &Bytes, more: Option<u64>, mut room: impl FnMut(usize) -> bool) -> bool {
        if data.len() >= SHARED {
            if !room(data.len()) {
                return false;
            }
            self.seal();
            self.sealed.push_back(data.clone());
        } else {
            let (fits, rest) = data.split_at(data.len().min(self.tail.capacity() - self.tail.len()));
            let block = (!rest.is_empty()).then(|| {
                let expected = more.map_or(self.bytes, |more| usize::try_from(more).unwrap_or(BLOCK_MOST));
                let least = if more.is_some() { 0 } else { BLOCK };
                (rest.len() + expected).clamp(least, BLOCK_MOST).max(rest.len())
            });
            if block.is_some_and(|block| !room(block)) {
                return false;
            }
            self.tail.extend_from_slice(fits);
            if let Some(block) = block {
                self.seal();
                self.tail = BytesMut::with_capacity(block);
                self.tail.extend_from_slice(rest);
            }
        }
        self.bytes += data.len();
        true
    }

    /// How much is kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the block that grows, so that all can be read; how many blocks there are then. What is added later begins another.
    pub(crate) fn seal(&mut self) -> usize {
        if !self.tail.is_empty() {
            self.sealed.push_back(self.tail.split().freeze());
        }
        self.sealed.len()
    }

    /// A block that has been sealed.
    pub(crate) fn get(&self, index: usize) -> Option<&Bytes> {
        self.sealed.get(index)
    }

    /// Takes the first block out.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.sealed.is_empty() {
            self.seal();
        }
        let first = self.sealed.pop_front()?;
        self.bytes -= first.len();
        Some(first)
    }
}

/// What all requests together may keep for replay.
#[derive(Debug)]
pub(crate) struct ReplayMemory {
    left: AtomicUsize,
}

impl ReplayMemory {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }
}

/// One request's part of it. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct ReplayClaim {
    of: Arc<ReplayMemory>,
    taken: usize,
}

impl ReplayClaim {
    /// A part that is empty yet.
    pub(crate) fn of(memory: &Arc<ReplayMemory>) -> Self {
        Self { of: memory.clone(), taken: 0 }
    }

    /// Takes so many bytes more, if there are as many.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.of.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok();
        self.taken += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for ReplayClaim {
    fn drop(&mut self) {
        self.of.left.fetch_add(self.taken, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes pieces of a size until so much is kept; what that cost.
    fn cost(piece: usize, total: usize, length: Option<u64>) -> usize {
        let (mut blocks, mut cost) = (Blocks::default(), 0);
        let mut expected = Vec::new();
        while blocks.bytes() < total {
            let data = Bytes::from(vec![(blocks.bytes() / piece) as u8; piece.min(total - blocks.bytes())]);
            expected.extend_from_slice(&data);
            let more = length.map(|length| length - (blocks.bytes() + data.len()) as u64);
            let room = |bytes| {
                cost += bytes;
                true
            };
            assert!(blocks.push(&data, more, room));
        }
        let mut all = Vec::new();
        for index in 0..blocks.seal() {
            all.extend_from_slice(blocks.get(index).unwrap());
        }
        assert!(all == expected, "what was kept is what was pushed, in order");
        all.clear();
        while let Some(block) = blocks.pop() {
            all.extend_from_slice(&block);
        }
        assert!(all == expected && blocks.bytes() == 0);
        cost
    }

    #[test]
    fn a_kept_byte_costs_about_a_byte() {
        #[rustfmt::skip]
        let table = [
            // pieces of, in all, the length that was announced, the most that it costs
            (1, 1, None, 512), (5, 5, Some(5), 5), (100, 100_000, Some(100_000), 100_000), (1, 1_000_000, None, 1_066_000),
            (1_000, 1_000_000, None, 1_066_000), (16_384, 1 << 20, None, 1_115_000), (65_536, 1 << 20, None, 1 << 20),
        ];
        for (piece, total, length, most) in table {
            let cost = cost(piece, total, length);
            assert!((total..=most).contains(&cost), "{total} bytes by {piece} cost {cost}");
        }
    }

    #[test]
    fn what_does_not_fit_the_memory_is_not_taken_and_all_comes_back() {
        let memory = ReplayMemory::new(100);
        let (mut one, mut two) = (ReplayClaim::of(&memory), ReplayClaim::of(&memory));
        assert_eq!([one.take(60), two.take(60), two.take(40), one.take(1)], [true, false, true, false]);
        drop(two);
        assert!(one.take(40));
        drop(one);
        assert_eq!(memory.left.load(Relaxed), 100);
    }
}
