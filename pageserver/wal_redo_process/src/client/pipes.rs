//! The two pipes of a helper process and where in the conversation each is.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};

use super::{REPLY_BYTES, RedoProcessError};

/// The pipe to the process.
#[derive(Debug)]
pub(super) struct Input {
    pipe: ChildStdin,
    sent: u64,
    /// Set while a request is being written: if it stays set, only a part went out.
    writing: bool,
}

impl Input {
    pub(super) fn new(pipe: ChildStdin) -> Self {
        Input { pipe, sent: 0, writing: false }
    }

    /// Requests sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes a request and returns its number.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<u64, RedoProcessError> {
        if std::mem::replace(&mut self.writing, true) {
            return Err(RedoProcessError::Poisoned);
        }
        self.pipe.write_all(request).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::BrokenPipe => RedoProcessError::Closed,
            _ => RedoProcessError::Pipe { what: "send a request to", source },
        })?;
        self.writing = false;
        self.sent += 1;
        Ok(self.sent - 1)
    }
}

/// The pipe from the process.
#[derive(Debug)]
pub(super) struct Output {
    pipe: ChildStdout,
    partial: BytesMut,
    /// Number of the request that the first of `ready` belongs to.
    first: u64,
    /// Replies that came, in order; `None` for those that were taken or that nobody wants.
    ready: VecDeque<Option<Bytes>>,
    closed: bool,
}

impl Output {
    pub(super) fn new(pipe: ChildStdout) -> Self {
        let partial = BytesMut::with_capacity(REPLY_BYTES);
        Output { pipe, partial, first: 0, ready: VecDeque::new(), closed: false }
    }

    /// Replies that came so far.
    pub(super) fn received(&self) -> u64 {
        self.first + self.ready.len() as u64
    }

    /// Gives up: whoever waits for a reply gets an error.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Reads the next reply. Cancel-safe: what was read of it is kept. `unwanted` says whether
    /// the caller of a request is gone, and is asked once per request.
    pub(super) async fn read_reply(
        &mut self,
        unwanted: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<(), RedoProcessError> {
        if self.closed {
            return Err(RedoProcessError::Poisoned);
        }
        self.partial.reserve(REPLY_BYTES - self.partial.len());
        while self.partial.len() < REPLY_BYTES {
            let room = REPLY_BYTES - self.partial.len();
            let read = self.pipe.read_buf(&mut (&mut self.partial).limit(room)).await;
            let failed = |source| RedoProcessError::Pipe { what: "read a page from", source };
            if read.map_err(failed)? == 0 {
                self.closed = true;
                return Err(RedoProcessError::Closed);
            }
        }
        let reply = std::mem::take(&mut self.partial).freeze();
        let number = self.received();
        self.ready.push_back((!unwanted(number)).then_some(reply));
        self.trim(unwanted);
        Ok(())
    }

    /// Takes a reply that has come.
    pub(super) fn take(
        &mut self,
        number: u64,
        unwanted: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<Bytes, RedoProcessError> {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let reply = at.and_then(|at| self.ready.get_mut(at)).and_then(Option::take);
        self.trim(unwanted);
        // A reply is there until its own caller takes it.
        reply.ok_or(RedoProcessError::Poisoned)
    }

    /// Forgets replies at the front that are gone or that nobody will take.
    fn trim(&mut self, unwanted: &mut (dyn FnMut(u64) -> bool + Send)) {
        while let Some(front) = self.ready.front() {
            if front.is_some() && !unwanted(self.first) {
                break;
            }
            self.ready.pop_front();
            self.first += 1;
        }
    }
}
