//! A bounded queue of lines with a writer thread of its own, for outputs that may be slow or blocked, such as a pipe.
//! Nobody waits to add a line. Lines that do not fit are dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// What a text that waits costs besides its bytes.
const OVERHEAD: usize = 64;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What the log says of a sink that takes too little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notices {
    /// Lines are dropped from now on; nothing where nobody could read it.
    pub(crate) began: Option<fn()>,
    /// All that waited has been written at last; so many lines were dropped in all.
    pub(crate) over: fn(u64),
}

/// The way to a sink. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LineQueue {
    sender: Sender<Message>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// The most bytes that may wait. A text is taken whatever its size while nothing else waits.
    bound: usize,
    waiting: AtomicUsize,
    dropped: AtomicU64,
    dropping: AtomicBool,
    words: Notices,
}

enum Message {
    Text { text: Vec<u8>, lines: u64 },
    Written(Sender<()>),
}

impl LineQueue {
    /// Starts the thread of a sink, which is opened there: that may take as long as it likes.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(
        name: &str,
        bound: usize,
        words: Notices,
        open: impl FnOnce() -> io::Result<Box<dyn Write>> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let state = Arc::new(State {
            bound,
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            dropping: AtomicBool::new(false),
            words,
        });
        let queue = Self { sender, state: state.clone() };
        thread::Builder::new().name(name.into()).spawn(move || match open() {
            Ok(out) => write_all(out, &receiver, &state),
            // The channel goes with its receiver: from here on everything is dropped.
            Err(error) => tracing::error!(%error, "a log cannot be opened"),
        })?;
        Ok(queue)
    }

    /// Lines lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.dropped.load(Relaxed)
    }

    /// Hands a text of so many lines over, or drops it.
    pub(crate) fn hand_over(&self, text: Vec<u8>, lines: u64) {
        let state = &self.state;
        let size = text.len() + OVERHEAD;
        let before = state.waiting.fetch_add(size, Relaxed);
        if before > 0 && before + size > state.bound {
            state.waiting.fetch_sub(size, Relaxed);
            return state.drop_lines(lines);
        }
        if self.sender.send(Message::Text { text, lines }).is_err() {
            state.waiting.fetch_sub(size, Relaxed);
            state.drop_lines(lines);
        }
    }

    /// Waits, for a second at most, until all that was handed over is written.
    pub(crate) fn finish(&self) {
        let (written, wait) = mpsc::channel();
        if self.sender.send(Message::Written(written)).is_ok() {
            // Either way the process ends: nothing is left to do about lines that a stuck sink has not taken.
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }
}

impl State {
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Relaxed);
        if !self.dropping.swap(true, Relaxed)
            && let Some(began) = self.words.began
        {
            began();
        }
    }

    /// Once for each time that the backlog was full and is empty again, so that a slow sink is not told of at every text.
    fn caught_up(&self) {
        if self.dropping.swap(false, Relaxed) {
            (self.words.over)(self.dropped.load(Relaxed));
        }
    }
}

fn write_all(mut out: Box<dyn Write>, receiver: &Receiver<Message>, state: &State) {
    for message in receiver {
        match message {
            Message::Text { text, lines } => {
                if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                    state.dropped.fetch_add(lines, Relaxed);
                }
                let size = text.len() + OVERHEAD;
                if state.waiting.fetch_sub(size, Relaxed) == size {
                    state.caught_up();
                }
            }
            // Whoever asked may have stopped waiting.
            Message::Written(written) => drop(written.send(())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A sink that tests can read, and that takes nothing while it is held.
    #[derive(Clone, Default)]
    pub(crate) struct Paper(pub(crate) Arc<Mutex<Vec<u8>>>);

    impl Paper {
        /// What was written so far.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) const SILENT: Notices = Notices { began: None, over: |_| {} };

    fn queue(paper: &Paper, bound: usize, words: Notices) -> LineQueue {
        let paper = paper.clone();
        LineQueue::start("test", bound, words, move || Ok(Box::new(paper))).unwrap()
    }

    #[test]
    fn what_is_handed_over_is_written_in_order() {
        let paper = Paper::default();
        let queue = queue(&paper, 1 << 20, SILENT);
        for line in 0..100 {
            queue.hand_over(format!("{line}\n").into_bytes(), 1);
        }
        queue.finish();
        let expected: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!((paper.text(), queue.dropped()), (expected, 0));
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_no_time() {
        static BEGAN: AtomicU64 = AtomicU64::new(0);
        static OVER: AtomicU64 = AtomicU64::new(0);
        let words = Notices {
            began: Some(|| {
                BEGAN.fetch_add(1, Relaxed);
            }),
            over: |lines| OVER.store(lines, Relaxed),
        };
        let paper = Paper::default();
        let stuck = paper.0.lock().unwrap();
        let line = vec![b'x'; 1024 - OVERHEAD];
        let queue = queue(&paper, 10 * 1024, words);
        (0..13).for_each(|_| queue.hand_over(line.clone(), 1));
        assert_eq!((queue.dropped(), BEGAN.load(Relaxed)), (3, 1), "told once");
        drop(stuck);
        queue.finish();
        assert_eq!((paper.text().len(), OVER.load(Relaxed)), (10 * line.len(), 3));
        queue.hand_over(line.clone(), 1);
        queue.finish();
        assert_eq!(paper.text().len(), 11 * line.len(), "it goes on");
    }

    #[test]
    fn what_is_larger_than_the_bound_is_taken_when_nothing_waits() {
        let paper = Paper::default();
        let queue = queue(&paper, 16, SILENT);
        queue.hand_over(vec![b'x'; 1000], 1);
        queue.finish();
        assert_eq!((paper.text().len(), queue.dropped()), (1000, 0));
    }

    #[test]
    fn a_sink_that_cannot_be_opened_drops_everything() {
        let queue = LineQueue::start("test", 1 << 20, SILENT, || Err(io::Error::other("no"))).unwrap();
        queue.finish();
        queue.hand_over(b"x\n".to_vec(), 1);
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn a_sink_that_is_not_open_yet_holds_nobody_up() {
        let paper = Paper::default();
        let (ready, open) = mpsc::channel::<()>();
        let written = paper.clone();
        let queue = LineQueue::start("test", 1 << 20, SILENT, move || {
            let _ = open.recv();
            Ok(Box::new(written))
        });
        let queue = queue.unwrap();
        queue.hand_over(b"early\n".to_vec(), 1);
        assert_eq!(paper.text(), "");
        ready.send(()).unwrap();
        queue.finish();
        assert_eq!(paper.text(), "early\n");
    }
}
