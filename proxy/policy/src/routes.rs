//! The routes of a virtual host in order of priority, and how the first that matches is found among thousands.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use crate::index::Index;
use crate::matching::Asked;
use crate::request::Head;
use crate::route::Route;

/// So many routes are tried one after the other: an index would cost more than it spares.
const FEW: usize = 8;

/// A list of routes, shared by all virtual hosts that have the same.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    list: Box<[Route]>,
    /// `None` for a short list.
    index: Option<Box<Index>>,
}

impl Routes {
    /// The place of the first route that a request matches. Istio: the order of the list decides, not how specific a rule is.
    pub fn find(&self, head: &impl Head) -> Option<usize> {
        let asked = Asked::of(head);
        match &self.0.index {
            Some(index) => index.find(&self.0.list, &asked),
            None => self.0.list.iter().position(|route| route.when.holds(&asked)),
        }
    }
}

impl From<Vec<Route>> for Routes {
    fn from(list: Vec<Route>) -> Self {
        let index = (list.len() > FEW).then(|| Box::new(Index::new(&list)));
        Self(Arc::new(Table { list: list.into(), index }))
    }
}

impl Deref for Routes {
    type Target = [Route];
    fn deref(&self) -> &[Route] {
        &self.0.list
    }
}
