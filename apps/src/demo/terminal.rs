//! The terminal as a whole screen: every frame is written anew, so that nothing is left of another width.

use std::io::{IsTerminal, Write, stdin, stdout};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A second screen, no cursor, no line that wraps.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// What a terminal that does not tell its size is taken for.
const USUAL: (usize, usize) = (80, 24);

/// The screen, from [`Terminal::enter`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The modes to give back.
    before: Option<Termios>,
}

impl Terminal {
    /// Takes the screen; none when standard output is no terminal, or one that can only print.
    pub(crate) fn enter() -> Option<Terminal> {
        let simple = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if simple || !stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut silent = before.clone();
            // What is typed would be written into the frame. Without it there is only that: a failure changes nothing else.
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            let _ = tcsetattr(stdin(), OptionalActions::Now, &silent);
        }
        write(ENTER);
        Some(Terminal { before })
    }

    /// Columns and rows now.
    pub(crate) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL,
        }
    }

    /// Puts a frame in the place of the one before.
    pub(crate) fn show(&self, frame: &[String]) {
        write(&bytes(frame));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

/// From the top left; each line ends with what clears the rest of it, the last one with what clears the rest of the screen.
fn bytes(frame: &[String]) -> String {
    let lines: Vec<String> = frame.iter().map(|line| format!("{line}\x1b[K")).collect();
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}

/// A terminal that has gone away is no reason to leave processes behind, so errors are dropped.
fn write(text: &str) {
    let mut out = stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_frame_clears_what_was_there_before() {
        let frame = ["ab".to_owned(), String::new(), "c".to_owned()];
        assert_eq!(super::bytes(&frame), "\x1b[Hab\x1b[K\r\n\x1b[K\r\nc\x1b[K\x1b[J");
    }
}
