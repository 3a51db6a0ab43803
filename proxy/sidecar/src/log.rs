//! The program's own log, on standard error. Its level can be changed while it runs.

use std::io;
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::cli::run::Format;

/// What the log tells, and the way to change it.
#[derive(Debug)]
pub(crate) struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
    directives: Mutex<String>,
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

/// Starts the log of the whole process.
///
/// # Errors
/// When the level cannot be read, or a log has been started already.
pub(crate) fn start(directives: &str, format: Format) -> Result<LogLevel, String> {
    let (level, layers) = build(directives, format, io::stderr)?;
    layers.try_init().map_err(|error| error.to_string())?;
    Ok(level)
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
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
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
