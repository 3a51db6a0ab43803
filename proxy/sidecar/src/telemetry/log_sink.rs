//! Where access log lines go. Each worker buffers its own, and a writer thread writes them, so that no worker waits.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::access_log::{Format, write_line};
use super::line_queue::{LineQueue, Notices};
use super::record::Record;

/// A worker hands its lines over when they are this many bytes, or at its next tick.
const BATCH: usize = 8 * 1024;

/// The most bytes that wait for the sink. What comes while so many wait is dropped and counted.
const BACKLOG: usize = 2 << 20;

const NOTICES: Notices = Notices {
    began: Some(|| tracing::warn!("the access log's lines are not taken: what does not fit is dropped and counted")),
    over: |lines| tracing::warn!(lines, "the access log's lines are taken again; dropped since the start"),
};

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
}

/// The writer's thread, as workers see it.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter(LineQueue);

impl LogWriter {
    /// Opens a sink and starts its thread; `None` when the log is off.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub(crate) fn start(sink: &Sink) -> io::Result<Option<Self>> {
        Ok(match sink {
            Sink::Off => None,
            Sink::Stdout => Some(Self::start_on(|| Ok(Box::new(io::stdout())))?),
            // It opens when somebody reads it, which may be never.
            Sink::File(path) if is_fifo(path) => {
                let path = path.clone();
                tracing::info!(path = %path.display(), "the access log is a FIFO: its lines wait until it is read");
                Some(Self::start_on(move || open(&path))?)
            }
            Sink::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Some(Self::start_on(move || Ok(Box::new(file)))?)
            }
        })
    }

    fn start_on(open: impl FnOnce() -> io::Result<Box<dyn Write>> + Send + 'static) -> io::Result<Self> {
        LineQueue::start("access-log", BACKLOG, NOTICES, open).map(Self)
    }

    /// Lines lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// Waits, for a second at most, until all that was handed over is written.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

fn open(path: &Path) -> io::Result<Box<dyn Write>> {
    Ok(Box::new(OpenOptions::new().append(true).open(path)?))
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
            self.writer.0.hand_over(std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
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
    use crate::telemetry::line_queue::tests::Paper;
    use crate::telemetry::samples;

    #[test]
    fn sinks_are_read_from_the_command_line() {
        for (text, sink) in [("-", Sink::Stdout), ("off", Sink::Off), ("/var/log/a", Sink::File("/var/log/a".into()))] {
            assert_eq!(Sink::parse(text), sink);
        }
    }

    #[test]
    fn all_lines_are_written_when_a_buffer_ends() {
        let paper = Paper::default();
        let sheet = paper.clone();
        let writer = LogWriter::start_on(move || Ok(Box::new(sheet))).unwrap();
        let mut buffer = LogBuffer::new(writer.clone(), Format::Text);
        for _ in 0..100 {
            buffer.push(&samples::record());
        }
        drop(buffer);
        writer.finish();
        assert_eq!((paper.text().lines().count(), writer.dropped()), (100, 0));
    }

    #[test]
    fn a_fifo_that_nobody_reads_does_not_hold_up_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let writer = LogWriter::start(&Sink::File(path.clone())).unwrap().unwrap();
        let mut buffer = LogBuffer::new(writer.clone(), Format::Text);
        buffer.push(&samples::record());
        drop(buffer);
        // Now somebody reads it: what was logged before is there.
        let reader = std::thread::spawn(move || fs::read_to_string(&path));
        writer.finish();
        drop(writer);
        assert_eq!(reader.join().unwrap().unwrap().lines().count(), 1);
    }
}
