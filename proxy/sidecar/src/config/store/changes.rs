//! Which objects a reload has changed, as one line of the log.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use leeboard_istio::resources::{ObjectId, Resources};

/// The most objects that a line names of those that were added, of those that were changed, and of those that were removed.
const MOST_NAMED: usize = 10;

/// An object in force, as far as it is needed to tell whether the next one is another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Object {
    id: ObjectId,
    file: Arc<str>,
    /// What its document says.
    fingerprint: u64,
}

/// All objects in force, and the mesh's settings.
#[derive(Clone, Default, Debug)]
pub(super) struct Objects {
    /// In order of their ids.
    objects: Vec<Object>,
    mesh: Option<u64>,
}

impl Objects {
    /// The objects of a configuration.
    pub(super) fn of(resources: &Resources) -> Self {
        let mut objects = Vec::new();
        resources.each(|meta| {
            let (id, file) = (meta.id.clone(), meta.spot.file.clone());
            objects.push(Object { id, file, fingerprint: meta.fingerprint });
        });
        let mesh = resources.mesh.as_ref().map(|mesh| {
            let mut hash = DefaultHasher::new();
            format!("{mesh:?}").hash(&mut hash);
            hash.finish()
        });
        Self::new(objects, mesh)
    }

    fn new(mut objects: Vec<Object>, mesh: Option<u64>) -> Self {
        objects.sort_by(|a, b| a.id.cmp(&b.id));
        objects.shrink_to_fit();
        Self { objects, mesh }
    }

    /// How many there are, the mesh's settings with them.
    pub(super) fn count(&self) -> usize {
        self.objects.len() + usize::from(self.mesh.is_some())
    }
}

/// What is different in `now`: `1 added: VirtualService demo/a (a.yaml)`, and so on. `None` when nothing is.
pub(super) fn changes(before: &Objects, now: &Objects) -> Option<String> {
    let [mut added, mut changed, mut removed] = [const { Vec::new() }; 3];
    let (mut old, mut new) = (before.objects.iter().peekable(), now.objects.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.id.cmp(&new.id),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some(was), Some(is)) if was.fingerprint != is.fingerprint => changed.push(is),
            (Some(was), None) => removed.push(was),
            (None, Some(is)) => added.push(is),
            _ => {}
        }
    }
    let kinds = [("added", added), ("changed", changed), ("removed", removed)];
    let mut told: Vec<String> =
        kinds.iter().filter(|(_, of)| !of.is_empty()).map(|(word, of)| tell(word, of)).collect();
    match (before.mesh, now.mesh) {
        (None, Some(_)) => told.push("mesh settings added".into()),
        (Some(_), None) => told.push("mesh settings removed".into()),
        (before, now) if before != now => told.push("mesh settings changed".into()),
        _ => {}
    }
    (!told.is_empty()).then(|| told.join("; "))
}

fn tell(word: &str, objects: &[&Object]) -> String {
    let named = objects.iter().take(MOST_NAMED).map(|object| format!("{} ({})", object.id, object.file));
    let mut told = format!("{} {word}: {}", objects.len(), named.collect::<Vec<_>>().join(", "));
    if let Some(more @ 1..) = objects.len().checked_sub(MOST_NAMED) {
        told += &format!(" and {more} more");
    }
    told
}

#[cfg(test)]
mod tests {
    use leeboard_istio::resources::Kind;

    use super::*;

    /// `name=fingerprint@file`; `mesh=…` is the mesh's settings.
    fn objects(text: &str) -> Objects {
        let (mut objects, mut mesh) = (Vec::new(), None);
        for word in text.split_whitespace() {
            let (name, rest) = word.split_once('=').expect("a name");
            let (fingerprint, file) = rest.split_once('@').unwrap_or((rest, "f.yaml"));
            let fingerprint = fingerprint.parse().expect("a number");
            match name {
                "mesh" => mesh = Some(fingerprint),
                _ => {
                    let id = ObjectId { kind: Kind::VirtualService, namespace: "demo".into(), name: name.into() };
                    objects.push(Object { id, file: file.into(), fingerprint });
                }
            }
        }
        Objects::new(objects, mesh)
    }

    #[test]
    fn what_a_reading_changes_is_told_in_one_line() {
        let many: String = (10..23).map(|number| format!("v{number}=1 ")).collect();
        let named: Vec<String> = (10..20).map(|number| format!("VirtualService demo/v{number} (f.yaml)")).collect();
        let eleven = format!("13 added: {} and 3 more", named.join(", "));
        #[rustfmt::skip]
        let table: &[(&str, &str, Option<&str>)] = &[
            ("", "", None),
            ("a=1 b=2", "b=2 a=1", None),
            // Another place is no change.
            ("a=1@x.yaml", "a=1@y.yaml", None),
            ("", "a=1", Some("1 added: VirtualService demo/a (f.yaml)")),
            ("a=1", "", Some("1 removed: VirtualService demo/a (f.yaml)")),
            ("a=1@x.yaml", "a=2@y.yaml", Some("1 changed: VirtualService demo/a (y.yaml)")),
            ("a=1 b=1 c=1@z.yaml", "b=2 d=1 e=1", Some(
                "2 added: VirtualService demo/d (f.yaml), VirtualService demo/e (f.yaml); \
                 1 changed: VirtualService demo/b (f.yaml); \
                 2 removed: VirtualService demo/a (f.yaml), VirtualService demo/c (z.yaml)",
            )),
            ("", &many, Some(&eleven)),
            ("mesh=1", "mesh=1", None),
            ("", "mesh=1", Some("mesh settings added")),
            ("a=1 mesh=1", "mesh=2", Some("1 removed: VirtualService demo/a (f.yaml); mesh settings changed")),
            ("mesh=1", "", Some("mesh settings removed")),
        ];
        for (before, now, expected) in table {
            assert_eq!(changes(&objects(before), &objects(now)).as_deref(), *expected, "{before} -> {now}");
        }
    }
}
