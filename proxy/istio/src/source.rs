//! The user's text and places in it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use leeboard_policy::origin::Origin;

/// A file's name and text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The name, as the user would write it.
    pub name: Arc<str>,
    /// Everything that is in it.
    pub text: Arc<str>,
    /// Whether it holds settings of the mesh and nothing else, without saying so in `kind`.
    pub mesh: bool,
}

impl Source {
    /// A file's name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into(), mesh: false }
    }

    /// The name and text of a file with settings of the mesh, as in Istio's own `mesh` file.
    pub fn mesh(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { mesh: true, ..Self::new(name, text) }
    }
}

/// A place in a file: what an editor would have to select. Counted in characters, from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Spot {
    /// The name of the [`Source`].
    pub file: Arc<str>,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u32,
    /// Column of the first character, from 1.
    pub column: u32,
    /// Characters on that line, at least 1.
    pub len: u32,
}

impl Spot {
    /// A whole file.
    pub fn file(name: &Arc<str>) -> Self {
        Self { file: name.clone(), line: 0, column: 0, len: 0 }
    }

    /// The same place as the origin of a rule of `resource`.
    pub fn origin(&self, resource: &Arc<str>) -> Origin {
        Origin { resource: resource.clone(), file: self.file.clone(), line: self.line, column: self.column }
    }
}

impl fmt::Display for Spot {
    /// `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value, and where it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located<T> {
    /// What is written.
    pub value: T,
    /// Where.
    pub spot: Spot,
}

impl<T> Located<T> {
    /// A value and its place.
    pub fn new(value: T, spot: Spot) -> Self {
        Self { value, spot }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
