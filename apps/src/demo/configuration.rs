//! The configuration files the demo runs on: the ones in `config/`, or a copy with other ports to edit freely.

use std::fs;
use std::path::{Path, PathBuf};

use crate::topology::{Ports, REPLICAS};

/// The files that make up the demo's configuration. The folder holds others, which are not for this topology.
pub(crate) const FILES: [&str; 3] = ["routes.yaml", "destinations.yaml", "services.yaml"];

/// Copies the files from one folder to another, with the inbound ports in `services.yaml` replaced.
pub(crate) fn copy(from: &Path, to: &Path, ports: &[Ports]) -> Result<(), String> {
    for name in FILES {
        let mut text = read(&from.join(name))?;
        if name == "services.yaml" {
            text = with_ports(&text, ports)?;
        }
        write(&to.join(name), &text)?;
    }
    Ok(())
}

/// Puts each replica's inbound port in the place of the fixed one.
fn with_ports(services: &str, ports: &[Ports]) -> Result<String, String> {
    let mut text = services.to_owned();
    for (replica, ports) in REPLICAS.iter().zip(ports) {
        let fixed = format!("{{http: {}}}", Ports::fixed(replica.number).inbound);
        if !text.contains(&fixed) {
            return Err(format!("services.yaml has no endpoint with `ports: {fixed}` for {}", replica.name));
        }
        // The braces change with the number, so that no later replica finds a number that was just put in.
        text = text.replace(&fixed, &format!("{{ http: {} }}", ports.inbound));
    }
    Ok(text)
}

/// One change to `routes.yaml`, in terms of its text, as a person would make it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    /// The weights of v1 and v2 of `user-service`.
    Weights(u32, u32),
    /// The percentages of `order-service`'s delay and abort.
    Faults(u32, u32),
}

/// The routes after an edit.
pub(crate) fn edited(routes: &str, edit: Edit) -> Result<String, String> {
    let (object, key, values) = match edit {
        Edit::Weights(v1, v2) => ("user-service", "weight: ", [v1.to_string(), v2.to_string()]),
        Edit::Faults(delay, abort) => {
            ("order-service", "percentage: ", [format!("{{value: {delay}}}"), format!("{{value: {abort}}}")])
        }
    };
    let mut documents: Vec<String> = routes.split("\n---\n").map(str::to_owned).collect();
    let name = format!("\n  name: {object}\n");
    let document = documents
        .iter_mut()
        .find(|document| document.contains("kind: VirtualService") && document.contains(&name))
        .ok_or_else(|| format!("routes.yaml has no VirtualService named {object}"))?;
    *document = with_values(document, key, &values).ok_or_else(|| {
        format!("the VirtualService {object} in routes.yaml does not have {} lines with `{key}`", values.len())
    })?;
    Ok(documents.join("\n---\n"))
}

/// Replaces what follows `key` on the lines that have it, one value a line; none if their number is not the same.
fn with_values(document: &str, key: &str, values: &[String]) -> Option<String> {
    let mut values = values.iter();
    let mut lines = Vec::new();
    for line in document.split('\n') {
        match line.split_once(key) {
            Some((before, _)) if !before.trim_start().starts_with('#') => {
                lines.push(format!("{before}{key}{}", values.next()?));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    values.next().is_none().then(|| lines.join("\n"))
}

/// A `routes.yaml` to edit.
#[derive(Debug)]
pub(crate) struct Routes {
    path: PathBuf,
}

impl Routes {
    /// The file in this folder.
    pub(crate) fn in_folder(folder: &Path) -> Routes {
        Routes { path: folder.join("routes.yaml") }
    }

    /// Saves an edit as editors do: a new file in the place of the old one.
    pub(crate) fn save(&self, edit: Edit) -> Result<(), String> {
        let text = edited(&read(&self.path)?, edit)?;
        let new = self.path.with_extension("yaml.new");
        write(&new, &text)?;
        fs::rename(&new, &self.path).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The project's own files, which the demo must be able to edit.
    fn own(name: &str) -> String {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)).unwrap()
    }

    #[test]
    fn every_replica_has_its_endpoint_and_gets_its_port() {
        // Ports that are one another's fixed ones show whether a number is replaced twice.
        let ports: Vec<Ports> = REPLICAS.iter().rev().map(|replica| Ports::fixed(replica.number)).collect();
        let text = with_ports(&own("services.yaml"), &ports).unwrap();
        for port in &ports {
            assert_eq!(text.matches(&format!("{{ http: {} }}", port.inbound)).count(), 1, "{port:?}");
        }
        assert!(with_ports("kind: ServiceEntry", &ports).unwrap_err().contains("gateway"));
    }

    #[test]
    fn an_edit_changes_its_lines_and_nothing_else() {
        let before = own("routes.yaml");
        for (edit, lines) in [
            (Edit::Weights(41, 59), vec!["          weight: 41", "          weight: 59"]),
            (Edit::Faults(7, 8), vec!["          percentage: {value: 7}", "          percentage: {value: 8}"]),
        ] {
            let after = edited(&before, edit).unwrap();
            assert_eq!(before.lines().count(), after.lines().count());
            let changed: Vec<&str> =
                before.lines().zip(after.lines()).filter(|(old, new)| old != new).map(|(_, new)| new).collect();
            assert_eq!(changed, lines, "{edit:?}");
        }
    }

    #[test]
    fn an_edit_that_does_not_fit_the_file_says_so() {
        let route = "kind: VirtualService\nmetadata:\n  name: user-service\n";
        for (text, error) in [
            ("kind: Service", "no VirtualService named user-service"),
            (route, "does not have 2 lines"),
            (&format!("{route}  weight: 1\n"), "does not have 2 lines"),
            (&format!("{route}  weight: 1\n  weight: 1\n  weight: 1\n"), "does not have 2 lines"),
        ] {
            let message = edited(text, Edit::Weights(1, 2)).unwrap_err();
            assert!(message.contains(error), "{text}: {message}");
        }
    }
}
