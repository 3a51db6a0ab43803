//! `leeboard help`: the help of a command, or the page of a diagnostic code.

use std::io::Write;

use clap::{Args, CommandFactory};
use leeboard_istio::codes::{self, Code};
use leeboard_istio::ist;

use super::Cli;
use crate::host::exit::{COULD_NOT, DONE};

/// How wide a page is.
const WIDTH: usize = 100;

/// What help is asked about.
#[derive(Args, Debug)]
pub(crate) struct HelpArgs {
    /// A command, a code such as L0301 or Istio's IST0101, or `codes` for the list of ours.
    #[arg(value_name = "COMMAND|CODE")]
    topic: Vec<String>,
}

/// Prints what is asked for; the process' exit code.
pub(crate) fn print(args: &HelpArgs, out: &mut dyn Write, complaints: &mut dyn Write) -> u8 {
    let text = match &args.topic[..] {
        [topic] if topic == "codes" => Ok(list()),
        [topic] if Code::named(topic).is_some() => Ok(Code::named(topic).map_or_else(String::new, page)),
        [topic] if ist::named(topic).is_some() => Ok(ist::named(topic).map_or_else(String::new, of_istio)),
        topics => command(topics),
    };
    // Where it goes may be closed already, and there is nobody else to tell.
    match text {
        Ok(text) => {
            let _ = out.write_all(text.as_bytes());
            DONE
        }
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

/// What is known of a code of `istioctl analyze`, and the pages of ours for the same thing.
fn of_istio(row: &ist::Row) -> String {
    let pages: Vec<String> = row.ours.iter().filter_map(|name| Code::named(name)).map(page).collect();
    let what = match row.ours.is_empty() {
        true => format!("it is not found here: {}.", row.why),
        false => format!("found on objects of kind {}, as", row.kinds.join(", ")),
    };
    let text = format!("{} ({}): {what}\n", row.code, row.name);
    [vec![text], pages].concat().join("\n")
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
            (&["IST0101"], DONE, "IST0101 (ReferencedResourceNotFound): found on objects of kind VirtualService, "),
            (
                &["ist0143"],
                DONE,
                "IST0143 (LocalhostListener): it is not found here: it takes a look into a running pod.\n",
            ),
            (&["IST9999"], COULD_NOT, ""),
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
