//! The program's own log on standard error. Its level can be changed at run time. A writer thread writes the lines, and
//! lines are dropped when too many wait.

use std::io::{self, Write};
use std::sync::Mutex;

use clap::ValueEnum;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::line_queue::{LineQueue, Notices};

/// The most bytes of the log that wait to be written. What comes while so many wait is dropped and counted.
const BACKLOG: usize = 1 << 20;

const NOTICES: Notices = Notices {
    began: None,
    over: |lines| {
        tracing::warn!(lines, "lines of this log were dropped since nobody took them, so many since the start")
    },
};

/// How a log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the log tells, and the way to change it.
#[derive(Debug)]
pub(crate) struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
    directives: Mutex<String>,
}

/// The log's way to standard error.
#[derive(Clone, Debug)]
pub(crate) struct ProgramLog(LineQueue);

impl ProgramLog {
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
pub(crate) struct LastLines(ProgramLog);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.0.finish();
    }
}

impl Write for ProgramLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.hand_over(bytes.to_vec(), 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::MakeWriter<'_> for ProgramLog {
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
    pub(crate) fn set(&self, levels: &str) -> Result<(), String> {
        let directives = directives(levels)?;
        self.filter.reload(filter(&directives)?).map_err(|error| error.to_string())?;
        *self.directives.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = directives;
        Ok(())
    }
}

/// Starts the log of the whole process, which also tells of panics: what std writes of them waits for standard error.
///
/// # Errors
/// When the level cannot be read, or a log has been started already.
pub(crate) fn start(directives: &str, format: Format) -> Result<(ProgramLog, LogLevel, LastLines), String> {
    let queue = LineQueue::start("log", BACKLOG, NOTICES, || Ok(Box::new(io::stderr())));
    let log = ProgramLog(queue.map_err(|error| format!("the log has no thread: {error}"))?);
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
    let directives = self::directives(directives)?;
    let (filter, handle) = reload::Layer::new(filter(&directives)?);
    let lines = fmt::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    let lines = match format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let level = LogLevel { filter: handle, directives: Mutex::new(directives) };
    Ok((level, Registry::default().with(filter).with(lines)))
}

/// The levels, as `tracing` names them and as Envoy does, which has two for `warn` and one that only ends of the process have.
const LEVELS: [(&str, &str); 8] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("info", "info"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("off", "off"),
];

/// Reads a level, or levels by module between commas, whose own level comes behind `=`, or `:` as Envoy's `paths` have it. What
/// no module is named for keeps to `info` unless a level stands alone.
///
/// # Errors
/// A word that is no level, or a name that no module has. `tracing` takes any word for a module, and is silent then.
fn directives(text: &str) -> Result<String, String> {
    let level = |word: &str| {
        let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.trim())).map(|(_, level)| *level);
        let known: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| format!("log level '{}': no such level; there are {}", word.trim(), known.join(", ")))
    };
    let (mut rest, mut modules) = (None, Vec::new());
    for item in text.split(',') {
        let Some((module, word)) = item.rsplit_once('=').or_else(|| item.rsplit_once(':')) else {
            rest = Some(level(item)?);
            continue;
        };
        let module = module.trim();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        if module.is_empty() || !module.bytes().all(letter) {
            return Err(format!("log level '{item}': '{module}' is no module; say leeboard=debug, or a level alone"));
        }
        modules.push(format!("{module}={}", level(word)?));
    }
    match (modules.is_empty(), rest) {
        (true, Some(level)) => return Ok(level.to_owned()),
        (_, rest) => modules.push(rest.unwrap_or("info").to_owned()),
    }
    Ok(modules.join(","))
}

fn filter(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(directives).map_err(|error| format!("log level '{directives}': {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn levels_are_said_in_envoys_words_too_and_nonsense_is_refused() {
        #[rustfmt::skip]
        let table: &[(&str, Option<&str>)] = &[
            ("info", Some("info")), ("Warning", Some("warn")), ("critical", Some("error")), ("off", Some("off")),
            ("leeboard=debug", Some("leeboard=debug,info")), ("leeboard=debug,warning", Some("leeboard=debug,warn")),
            ("warn, leeboard::store=trace", Some("leeboard::store=trace,warn")),
            ("leeboard::store:debug,h2:off", Some("leeboard::store=debug,h2=off,info")),
            ("loud", None), ("", None), (",", None), ("leeboard=loud", None), ("a=b=c", None), ("=debug", None),
            ("leeboard=", None), ("lee board=debug", None), ("info,", None),
        ];
        for (text, expected) in table {
            let read = directives(text);
            assert_eq!(read.as_deref().ok(), *expected, "{text:?}: {read:?}");
            assert!(read.is_err() || filter(&read.unwrap()).is_ok(), "{text:?}");
        }
        assert!(directives("loud").unwrap_err().contains("'loud'"));
    }

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
