//! Where a setting of an object is written. The text is parsed again for that, and only when there is something to say about it,
//! so that resources need not remember the place of every field.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::names;
use crate::resources::Meta;
use crate::source::{Source, Spot};
use crate::support::lower_camel;
use crate::yaml::{self, Key, Mark, Node, Value};

/// One step from a block or list into it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A field, or any other key.
    Key(Cow<'static, str>),
    /// An entry of a list, from 0.
    Item(usize),
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(Cow::Borrowed(key))
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(Cow::Owned(key))
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

/// The way from an object's top to a setting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// The same way, and further.
    pub(crate) fn to(&self, step: impl Into<Step>) -> Self {
        let mut path = Self(Vec::with_capacity(self.0.len() + 1));
        path.0.extend(self.0.iter().cloned());
        path.then(step)
    }

    /// This way, and further.
    pub(crate) fn then(mut self, step: impl Into<Step>) -> Self {
        self.0.push(step.into());
        self
    }
}

/// The way to a setting: `way!["spec", "http", 0, "timeout"]`.
macro_rules! way {
    ($($step:expr),* $(,)?) => {{
        let path = $crate::locations::Path::default();
        $(let path = path.then($step);)*
        path
    }};
}
pub(crate) use way;

/// The texts, and trees of those that were asked for.
pub(crate) struct Locations<'s> {
    sources: HashMap<&'s str, &'s Source>,
    trees: RefCell<HashMap<&'s str, Rc<Tree>>>,
}

/// The objects of a file, by where their names are written.
struct Tree {
    objects: HashMap<(u32, u32), Node>,
}

impl<'s> Locations<'s> {
    pub(crate) fn of(sources: &'s [Source]) -> Self {
        let sources = sources.iter().rev().map(|source| (&*source.name, source)).collect();
        Self { sources, trees: RefCell::default() }
    }

    /// The place of a setting, or of the nearest block around it that is written: the value if it is a scalar, else its key.
    pub(crate) fn spot(&self, meta: &Meta, path: &Path) -> Spot {
        let tree = self.tree(&meta.spot.file);
        let object = tree.as_ref().and_then(|tree| tree.objects.get(&(meta.spot.line, meta.spot.column)));
        let mark = object.and_then(|object| walk(object, path, true).last().map(|(key, node)| mark(*key, node)));
        mark.map_or_else(|| meta.spot.clone(), |mark| spot(meta, mark))
    }

    /// The place of a setting's key, or of the nearest block around it that is written.
    pub(crate) fn key(&self, meta: &Meta, path: &Path) -> Spot {
        let tree = self.tree(&meta.spot.file);
        let object = tree.as_ref().and_then(|tree| tree.objects.get(&(meta.spot.line, meta.spot.column)));
        let mark = object.and_then(|object| {
            walk(object, path, true).last().map(|(key, node)| key.map_or(node.mark, |key: &Key| key.mark))
        });
        mark.map_or_else(|| meta.spot.clone(), |mark| spot(meta, mark))
    }

    /// Whether something is written at the end of a way.
    pub(crate) fn is_written(&self, meta: &Meta, path: &Path) -> bool {
        let Some(tree) = self.tree(&meta.spot.file) else { return false };
        let Some(object) = tree.objects.get(&(meta.spot.line, meta.spot.column)) else { return false };
        let steps = walk(object, path, false);
        steps.len() == path.0.len() && steps.last().is_some_and(|(_, node)| !node.is_null())
    }

    /// Where the parts of an object's `spec` begin, in order: its fields and, of a list, its entries, which are marked.
    pub(crate) fn parts(&self, meta: &Meta) -> Vec<((u32, u32), bool)> {
        let tree = self.tree(&meta.spot.file);
        let object = tree.as_ref().and_then(|tree| tree.objects.get(&(meta.spot.line, meta.spot.column)));
        let fields = object.and_then(|object| object.get("spec")?.entries()).unwrap_or_default();
        let at = |mark: Mark| (mark.line, mark.column);
        let entries = fields.iter().flat_map(|(_, node)| match &node.value {
            Value::Seq(items) => items.as_slice(),
            Value::Scalar { .. } | Value::Map(_) => &[],
        });
        let entries = entries.map(|entry| (at(entry.mark), true));
        let mut parts: Vec<_> = fields.iter().map(|(key, _)| (at(key.mark), false)).chain(entries).collect();
        parts.sort_unstable();
        parts
    }

    /// Whether some object is of a kind.
    pub(crate) fn has_kind(&self, kind: &str) -> bool {
        let is = |object: &Node| object.get("kind").and_then(Node::raw) == Some(kind);
        self.sources.keys().any(|file| self.tree(file).is_some_and(|tree| tree.objects.values().any(is)))
    }

    fn tree(&self, file: &str) -> Option<Rc<Tree>> {
        let source = self.sources.get(file).copied()?;
        let mut trees = self.trees.borrow_mut();
        Some(trees.entry(&*source.name).or_insert_with(|| Rc::new(Tree::of(source))).clone())
    }
}

impl Tree {
    fn of(source: &Source) -> Self {
        let mut tree = Self { objects: HashMap::new() };
        yaml::parse(&source.text, |document| tree.add(document.root));
        tree
    }

    fn add(&mut self, node: Node) {
        if node.get("kind").and_then(Node::raw).is_some_and(|kind| kind.ends_with("List"))
            && let Value::Map(entries) = node.value
        {
            for (key, node) in entries {
                if let (true, Value::Seq(items)) = (&*key.text == "items", node.value) {
                    items.into_iter().for_each(|item| self.add(item));
                }
            }
            return;
        }
        let name =
            child(&node, &"metadata".into(), true).and_then(|(_, metadata)| child(metadata, &"name".into(), true));
        if let Some((key, name)) = name {
            let mark = mark(key, name);
            self.objects.entry((mark.line, mark.column)).or_insert(node);
        }
    }
}

/// The nodes on a way, as far as they are written.
fn walk<'n>(object: &'n Node, path: &Path, near: bool) -> Vec<(Option<&'n Key>, &'n Node)> {
    let mut found: Vec<(Option<&Key>, &Node)> = Vec::with_capacity(path.0.len());
    let mut node = object;
    for step in &path.0 {
        let Some((key, next)) = child(node, step, near) else { break };
        found.push((key, next));
        node = next;
    }
    found
}

/// A key is found by either spelling, or misspelt when there is nothing nearer.
fn child<'n>(node: &'n Node, step: &Step, near: bool) -> Option<(Option<&'n Key>, &'n Node)> {
    match (&node.value, step) {
        (Value::Seq(items), Step::Item(item)) => items.get(*item).map(|node| (None, node)),
        (Value::Map(entries), Step::Key(wanted)) => {
            let exact = entries.iter().find(|(key, _)| *key.text == **wanted);
            let spelt = || entries.iter().find(|(key, _)| lower_camel(&key.text) == **wanted);
            let misspelt = |key: &Key| near && names::nearest(&key.text, [&**wanted].into_iter()).is_some();
            let nearest = || entries.iter().find(|(key, _)| misspelt(key));
            exact.or_else(spelt).or_else(nearest).map(|(key, node)| (Some(key), node))
        }
        _ => None,
    }
}

/// As the readers point: at a scalar itself, at the key of anything larger.
fn mark(key: Option<&Key>, node: &Node) -> Mark {
    match (key, &node.value) {
        (Some(key), Value::Seq(_) | Value::Map(_)) => key.mark,
        (Some(key), Value::Scalar { .. }) if node.is_null() => key.mark,
        _ => node.mark,
    }
}

fn spot(meta: &Meta, mark: Mark) -> Spot {
    Spot { file: meta.spot.file.clone(), line: mark.line, column: mark.column, len: mark.len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn a_setting_is_found_where_it_is_written() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  \
                    metadata: {name: a}\n  spec:\n    hosts: [a]\n    http:\n    - route: [{destination: {host: a}}]\n      \
                    retries: {attempts: 1, per_try_timeout: 2s}\n      timeout:\n";
        let sources = [Source::new("f.yaml", text)];
        let loaded = load(&sources);
        let meta = &loaded.resources.virtual_services[0].meta;
        let places = Locations::of(&sources);
        let at = |path: Path| {
            let spot = places.spot(meta, &path);
            (spot.line, spot.column, spot.len)
        };
        let http = way!["spec", "http", 0];
        assert_eq!(at(http.to("retries").to("perTryTimeout")), (11, 47, 2));
        assert_eq!(at(http.to("retries")), (11, 7, 7));
        assert_eq!(at(http.to("retries").to("backoff")), (11, 7, 7), "the block around what is not written");
        assert_eq!(at(http.clone()), (10, 7, 5), "an entry begins at its first key");
        assert_eq!(at(way!["spec", "nothing"]), (7, 3, 4));
        assert_eq!(at(way!["nothing"]), (6, 20, 1), "the object's name in the worst case");
        assert!(places.is_written(meta, &http.to("retries").to("attempts")));
        assert!(!places.is_written(meta, &http.to("timeout")) && !places.is_written(meta, &way!["spec", "http", 1]));
        assert_eq!(places.key(meta, &http.to("retries").to("attempts")).column, 17);
    }
}
