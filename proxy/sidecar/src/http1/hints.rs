//! Interim answers, such as 103 Early Hints and 100 Continue: passed on to a caller of HTTP/1.1 as they come, ahead of the answer. RFC 9110
//! §15.2. A caller of HTTP/2 is sent none.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::write;
use crate::fields::{Fields, Names};
use crate::hops::strip_hop_by_hop;

/// The most bytes of interim answers that wait for a caller who does not read; beyond it they are dropped.
const WAITING: usize = 64 * 1024;

/// The way by which interim answers reach a caller.
#[derive(Clone, Debug)]
pub(crate) struct Hints(Rc<Way>);

#[derive(Debug)]
struct Way {
    stream: Arc<TcpStream>,
    /// What the kernel has not taken yet, for whoever writes the answer.
    left: RefCell<Vec<u8>>,
    /// Whether the caller has been told to send its body.
    gave_leave: Cell<bool>,
}

impl Hints {
    /// A caller's connection on which nothing is being written.
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self(Rc::new(Way { stream, left: RefCell::default(), gave_leave: Cell::new(false) }))
    }

    /// Another request of the caller's begins.
    pub(crate) fn begin(&self) {
        self.0.gave_leave.set(false);
    }

    /// Whether the caller has been told to send its body.
    pub(crate) fn gave_leave(&self) -> bool {
        self.0.gave_leave.get()
    }

    /// Passes an interim answer on.
    pub(crate) fn pass_on(&self, status: u16, mut fields: Fields) {
        strip_hop_by_hop(&mut fields);
        let mut left = self.0.left.borrow_mut();
        if left.len() + fields.size() > WAITING {
            return;
        }
        if status == 100 {
            self.0.gave_leave.set(true);
        }
        write::status_line(&mut left, status);
        fields.write(&mut left, Names::default());
        left.extend_from_slice(b"\r\n");
        loop {
            match self.0.stream.try_write(&left) {
                Ok(0) => return,
                Ok(count) => drop(left.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What is left goes before the answer; a caller that is gone shows there too.
                Err(_) => return,
            }
            if left.is_empty() {
                return;
            }
        }
    }

    /// What is left to be written before the answer.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.left.borrow_mut())
    }
}
