//! The program's own log, on standard error. Its level can be changed while it runs. Nobody waits for whoever reads it, or
//! does not: lines are written by a thread of their own, and dropped when too many wait.

use std::io::{self, Write};
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::cli::run::Format;
use crate::spool::{Spool, Words};

/// The most bytes of the log that wait to be written. What comes while so many wait is dropped and counted.
const BACKLOG: usize = 1 << 20;

const WORDS: Words = Words {
    began: None,
    over: |lines| {
        tracing::warn!(lines, "lines of this log were dropped since nobody took them, so many since the start")
    },
};

/// What the log tells, and the way to change it.
#[derive(Debug)]
pub(crate) struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
    directives: Mutex<String>,
}

/// The log's way to standard error.
#[derive(Clone, Debug)]
pub(crate) struct Log(Spool);

impl Log {
    /// Says something that is no event: the reason for which the process ends.
    pub(crate) fn say(&self, text: &str) {
        self.0.hand_over(format!("{text}\n").into_bytes(), 1);
    }

    /// Lines lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

/// The end of the process waits, for a second at most, for the last lines.
pub(crate) struct LastLines(Log);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.0.finish();
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.hand_over(bytes.to_vec(), 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl LogLevel {
    /// What the log tells, as it was last set.
    pub(crate) fn current(&self) -> String {
        self.directives.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Changes what the log tells: a level (`info`), or levels by module (`leeboard=debug,info`).
    ///
    /// # Errors
    /// When the text is neither; the log goes on as before.
    pub(crate) fn set(&self, directives: &str) -> Result<(), String> {
        let filter = filter(directives)?;
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        *self.directives.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = directives.to_owned();
        Ok(())
    }
}

/// Starts the log of the whole process, which also tells of panics: what std writes of them waits for standard error.
///
/// # Errors
/// When the level cannot be read, or a log has been started already.
pub(crate) fn start(directives: &str, format: Format) -> Result<(Log, LogLevel, LastLines), String> {
    let spool = Spool::start("log", BACKLOG, WORDS, || Ok(Box::new(io::stderr())));
    let log = Log(spool.map_err(|error| format!("the log has no thread: {error}"))?);
    let (level, layers) = build(directives, format, log.clone())?;
    layers.try_init().map_err(|error| error.to_string())?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        tracing::error!(%place, %thread, "panicked: {}", panic.payload_as_str().unwrap_or("for no reason"));
    }));
    Ok((log.clone(), level, LastLines(log)))
}

type Layers = tracing_subscriber::layer::Layered<
    Box<dyn Layer<tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>> + Send + Sync>,
    tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>,
>;

fn build<W>(directives: &str, format: Format, writer: W) -> Result<(LogLevel, Layers), String>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(directives)?);
    let lines = fmt::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    let lines = match format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let level = LogLevel { filter: handle, directives: Mutex::new(directives.to_owned()) };
    Ok((level, Registry::default().with(filter).with(lines)))
}

fn filter(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(directives).map_err(|error| format!("log level '{directives}': {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl fmt::MakeWriter<'_> for Lines {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn text_lines_read_as_key_value() {
        let out = Lines::default();
        let (level, layers) = build("info", Format::Text, out.clone()).unwrap();
        tracing::subscriber::with_default(layers, || {
            tracing::info!(kind = %"outbound", address = %"127.0.0.1:15001", "listening");
            let line = out.take();
            assert!(line.ends_with("INFO listening kind=outbound address=127.0.0.1:15001\n"), "{line}");
            assert!(!line.contains('\u{1b}'));
            tracing::debug!("unheard");
            assert_eq!(out.take(), "");
            level.set("debug").unwrap();
            tracing::debug!("heard");
            assert!(out.take().contains("heard"));
        });
        assert_eq!(level.current(), "debug");
        assert!(level.set("a=b=c").is_err());
        assert_eq!(level.current(), "debug");
    }

    #[test]
    fn json_lines_are_objects() {
        let out = Lines::default();
        let (_level, layers) = build("info", Format::Json, out.clone()).unwrap();
        tracing::subscriber::with_default(layers, || tracing::warn!(kind = %"admin", "listening"));
        let line: serde_json::Value = serde_json::from_str(&out.take()).unwrap();
        assert_eq!(
            (&line["message"], &line["kind"], &line["level"]),
            (&"listening".into(), &"admin".into(), &"WARN".into())
        );
    }
}
