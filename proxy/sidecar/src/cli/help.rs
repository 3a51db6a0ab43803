//! `leeboard help`: the help of a command, or the page of a diagnostic code.

use std::io::Write;

use clap::{Args, CommandFactory};
use leeboard_istio::codes::{self, Code};

use super::Cli;
use crate::bootstrap::{COULD_NOT, DONE};

/// How wide a page is.
const WIDTH: usize = 100;

/// What help is asked about.
#[derive(Args, Debug)]
pub(crate) struct HelpArgs {
    /// A command, a code such as L0301, or `codes` for the list of them.
    #[arg(value_name = "COMMAND|CODE")]
    topic: Vec<String>,
}

/// Prints what is asked for; the process' exit code.
pub(crate) fn print(args: &HelpArgs, out: &mut dyn Write, complaints: &mut dyn Write) -> u8 {
    let text = match &args.topic[..] {
        [topic] if topic == "codes" => Ok(list()),
        [topic] if Code::named(topic).is_some() => Ok(Code::named(topic).map_or_else(String::new, page)),
        topics => command(topics),
    };
    // Where it goes may be closed already, and there is nobody else to tell.
    match text {
        Ok(text) => out.write_all(text.as_bytes()).map_or(COULD_NOT, |()| DONE),
        Err(complaint) => {
            let _ = writeln!(complaints, "error: {complaint}");
            COULD_NOT
        }
    }
}

/// The help of a command.
fn command(topics: &[String]) -> Result<String, String> {
    let mut command = Cli::command();
    command.build();
    let mut at = &mut command;
    for topic in topics {
        at = at.find_subcommand_mut(topic).ok_or_else(|| {
            format!("`{topic}` is neither a command nor a code; `leeboard help codes` lists the codes")
        })?;
    }
    Ok(at.render_long_help().to_string())
}

fn list() -> String {
    codes::ALL.iter().map(|entry| format!("{}  {}\n", entry.code, entry.title)).collect()
}

fn page(code: Code) -> String {
    let mut text = format!("{code}: {}\n\n", code.title());
    let mut column = 0;
    for word in code.page().split_whitespace() {
        if column + word.chars().count() >= WIDTH {
            text.push('\n');
            column = 0;
        }
        if column > 0 {
            text.push(' ');
        }
        text.push_str(word);
        column += word.chars().count() + 1;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(topics: &[&str]) -> (u8, String, String) {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let args = HelpArgs { topic: topics.iter().map(ToString::to_string).collect() };
        let code = print(&args, &mut out, &mut complaints);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(complaints).unwrap())
    }

    #[test]
    fn topics_and_their_pages() {
        for (topics, code, begins) in [
            (&[][..], DONE, "Istio's traffic management"),
            (&["run"], DONE, "Stand beside an application"),
            (&["check"], DONE, "Find the mistakes"),
            (&["L0302"], DONE, "L0302: the destination rule has no such subset\n\nRequests for a subset"),
            (&["l0001"], DONE, "L0001: the text is not YAML\n\n"),
            (&["codes"], DONE, "L0001  the text is not YAML\n"),
            (&["L9999"], COULD_NOT, ""),
            (&["run", "walk"], COULD_NOT, ""),
        ] {
            let (found, text, complaint) = shown(topics);
            assert_eq!((found, complaint.is_empty()), (code, code == DONE), "{topics:?}");
            assert!(text.starts_with(begins), "{topics:?}: {text}");
            assert!(text.starts_with("Usage") || text.lines().all(|line| line.chars().count() <= 250), "{topics:?}");
        }
    }

    #[test]
    fn pages_are_no_wider_than_a_terminal() {
        for entry in codes::ALL {
            assert!(page(entry.code).lines().skip(2).all(|line| line.chars().count() <= WIDTH), "{}", entry.code);
        }
    }
}
