//! Where access log lines go: gathered by each worker, written by a thread of their own that no worker ever waits for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use super::access_log::{Format, write_line};
use super::record::Record;

/// A worker hands its lines over when they are this many bytes, or at its next tick.
const BATCH: usize = 8 * 1024;

/// Batches that wait for the sink at a time. What comes while so many wait is dropped and counted.
const BACKLOG: usize = 256;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sink {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// The end of a file, which is made if it is absent.
    File(PathBuf),
}

impl Sink {
    /// As the command line has it: `-`, `off`, or a path.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "-" | "/dev/stdout" => Sink::Stdout,
            "off" | "" => Sink::Off,
            path => Sink::File(path.into()),
        }
    }

    fn open(&self) -> io::Result<Option<Box<dyn Write + Send>>> {
        Ok(match self {
            Sink::Off => None,
            Sink::Stdout => Some(Box::new(io::stdout())),
            Sink::File(path) => {
                let file: File = OpenOptions::new().create(true).append(true).open(path)?;
                Some(Box::new(file))
            }
        })
    }
}

enum Message {
    Lines { text: Vec<u8>, lines: u64 },
    Written(mpsc::Sender<()>),
}

/// The writer's thread, as workers see it.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Opens a sink and starts its thread; `None` when the log is off.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub(crate) fn start(sink: &Sink) -> io::Result<Option<Self>> {
        sink.open()?.map(Self::start_on).transpose()
    }

    fn start_on(out: Box<dyn Write + Send>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(BACKLOG);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        thread::Builder::new().name("access-log".into()).spawn(move || write_all(out, &receiver, &lost))?;
        Ok(Self { sender, dropped })
    }

    /// Lines lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits, for a second at most, until all that was handed over is written.
    pub(crate) fn finish(&self) {
        let (written, wait) = mpsc::channel();
        if self.sender.try_send(Message::Written(written)).is_ok() {
            // Either way the process ends: nothing is left to do about lines that a stuck sink has not taken.
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }

    fn hand_over(&self, text: Vec<u8>, lines: u64) {
        match self.sender.try_send(Message::Lines { text, lines }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(lines, Relaxed);
            }
        }
    }
}

fn write_all(mut out: Box<dyn Write + Send>, receiver: &Receiver<Message>, lost: &AtomicU64) {
    for message in receiver {
        match message {
            Message::Lines { text, lines } => {
                if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                    lost.fetch_add(lines, Relaxed);
                }
            }
            // Whoever asked may have stopped waiting.
            Message::Written(written) => drop(written.send(())),
        }
    }
}

/// One worker's lines that are not handed over yet.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    writer: LogWriter,
    format: Format,
    text: Vec<u8>,
    lines: u64,
}

impl LogBuffer {
    /// Empty.
    pub(crate) fn new(writer: LogWriter, format: Format) -> Self {
        Self { writer, format, text: Vec::new(), lines: 0 }
    }

    /// Adds a record's line.
    pub(crate) fn push(&mut self, record: &Record) {
        let before = self.text.len();
        if before == 0 {
            self.text.reserve(BATCH + BATCH / 4);
        }
        write_line(&mut self.text, self.format, record);
        self.lines += u64::from(self.text.len() > before);
        if self.text.len() >= BATCH {
            self.flush();
        }
    }

    /// Hands over what there is.
    pub(crate) fn flush(&mut self) {
        if !self.text.is_empty() {
            self.writer.hand_over(std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::samples;
    use std::sync::Mutex;

    /// A sink that tests can read, and that takes nothing while it is held.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn sinks_are_read_from_the_command_line() {
        for (text, sink) in [("-", Sink::Stdout), ("off", Sink::Off), ("/var/log/a", Sink::File("/var/log/a".into()))] {
            assert_eq!(Sink::parse(text), sink);
        }
    }

    #[test]
    fn all_lines_are_written_when_a_buffer_ends() {
        let paper = Paper::default();
        let writer = LogWriter::start_on(Box::new(paper.clone())).unwrap();
        let mut buffer = LogBuffer::new(writer.clone(), Format::Text);
        for _ in 0..100 {
            buffer.push(&samples::record());
        }
        drop(buffer);
        writer.finish();
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!((text.lines().count(), writer.dropped()), (100, 0));
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_no_time() {
        let paper = Paper::default();
        let stuck = paper.0.lock().unwrap();
        let writer = LogWriter::start_on(Box::new(paper.clone())).unwrap();
        let mut buffer = LogBuffer::new(writer.clone(), Format::Text);
        for _ in 0..BACKLOG + 3 {
            buffer.push(&samples::record());
            buffer.flush();
        }
        let dropped = writer.dropped();
        // The writer holds one batch if it has begun.
        assert!((2..=3).contains(&dropped), "{dropped}");
        drop(stuck);
        buffer.flush();
        drop(buffer);
    }
}
