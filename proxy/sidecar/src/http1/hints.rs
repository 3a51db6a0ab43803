//! Interim answers, such as 103 Early Hints and 100 Continue: passed on to a caller as they come, ahead of the answer. RFC 9110 §15.2.

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
    to: Caller,
    /// Whether the caller has been told to send its body.
    gave_leave: Cell<bool>,
}

#[derive(Debug)]
enum Caller {
    /// An HTTP/1 connection, and what the kernel has not taken yet, for whoever writes the answer.
    Wire(Arc<TcpStream>, RefCell<Vec<u8>>),
    /// A stream, whose task sends them when it looks next; it is the one that they come in.
    Stream(RefCell<Vec<(u16, Fields)>>),
}

impl Hints {
    /// A caller's connection on which nothing is being written.
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self::to(Caller::Wire(stream, RefCell::default()))
    }

    /// A caller's stream.
    pub(crate) fn for_stream() -> Self {
        Self::to(Caller::Stream(RefCell::default()))
    }

    fn to(to: Caller) -> Self {
        Self(Rc::new(Way { to, gave_leave: Cell::new(false) }))
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
        match &self.0.to {
            Caller::Wire(stream, left) => {
                if write_now(stream, &mut left.borrow_mut(), status, &fields) && status == 100 {
                    self.0.gave_leave.set(true);
                }
            }
            Caller::Stream(waiting) => {
                let mut waiting = waiting.borrow_mut();
                let held: usize = waiting.iter().map(|(_, fields)| fields.size()).sum();
                if held + fields.size() <= WAITING {
                    waiting.push((status, fields));
                }
            }
        }
    }

    /// What is left to be written before the answer.
    pub(crate) fn take(&self) -> Vec<u8> {
        match &self.0.to {
            Caller::Wire(_, left) => std::mem::take(&mut left.borrow_mut()),
            Caller::Stream(_) => Vec::new(),
        }
    }

    /// What waits for a stream's task.
    pub(crate) fn each(&self, mut send: impl FnMut(u16, Fields)) {
        if let Caller::Stream(waiting) = &self.0.to {
            waiting.borrow_mut().drain(..).for_each(|(status, fields)| send(status, fields));
        }
    }
}

/// False when there is no room for it.
fn write_now(stream: &TcpStream, left: &mut Vec<u8>, status: u16, fields: &Fields) -> bool {
    if left.len() + fields.size() > WAITING {
        return false;
    }
    write::status_line(left, status);
    fields.write(left, Names::default());
    left.extend_from_slice(b"\r\n");
    loop {
        match stream.try_write(left) {
            Ok(0) => return true,
            Ok(count) => drop(left.drain(..count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What is left goes before the answer; a caller that is gone shows there too.
            Err(_) => return true,
        }
        if left.is_empty() {
            return true;
        }
    }
}
