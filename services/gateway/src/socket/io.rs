//! The socket itself: vectored writes of everything that is due, reads without a buffer of the connection's own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use runtime::http::RawStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::wires::websocket_frame::{Limits, Message, Reader};

/// Read from the stack, so that an idle connection holds no read buffer.
const READ: usize = 8 * 1024;
/// The most slices of one write.
const SLICES: usize = 64;
/// Answers that a client does not read hold its own requests back.
const ANSWERS: usize = 256 * 1024;

enum Stream {
    Plain(TcpStream),
    Tls(Pin<Box<dyn Tls>>),
}

trait Tls: AsyncRead + AsyncWrite + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Send + Sync> Tls for T {}

pub(crate) struct Socket {
    stream: Stream,
    pub reader: Reader,
    outbox: VecDeque<Bytes>,
    queued: usize,
    /// TLS holds bytes of its own that the socket has not taken.
    unflushed: bool,
}

/// What [`Socket::drive`] came back with.
pub(crate) enum Happened {
    /// Bytes came in.
    Read,
    /// The outbox made progress.
    Wrote,
    /// The client has closed its side.
    Closed,
}

impl Socket {
    pub(crate) fn new(raw: RawStream) -> Self {
        let (stream, read) = match raw {
            RawStream::Plain(stream, read) => (Stream::Plain(stream), read),
            RawStream::Tls(stream, read) => (Stream::Tls(Pin::from(stream as Box<dyn Tls>)), read),
        };
        let mut reader = Reader::default();
        reader.push(&read);
        Self { stream, reader, outbox: VecDeque::new(), queued: 0, unflushed: false }
    }

    pub(crate) fn send(&mut self, frame: Bytes) {
        self.queued += frame.len();
        self.outbox.push_back(frame);
    }

    pub(crate) fn send_all(&mut self, frames: &mut Vec<Bytes>) {
        for frame in frames.drain(..) {
            self.send(frame);
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.outbox.is_empty() && !self.unflushed
    }

    /// Writes what is queued and reads what has come, whichever the socket is ready for; safe to drop while waiting.
    pub(crate) async fn drive(&mut self) -> io::Result<Happened> {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    /// Writes everything that is queued.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            while !self.is_drained() {
                ready!(self.poll_write(cx))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Writes what is left and reads until the client has agreed to the end: what it still sends, left unread, would
    /// have its system throw away what was written. The caller holds the deadline.
    pub(crate) async fn farewell(mut self, limits: Limits) {
        if self.flush().await.is_err() {
            return;
        }
        let mut is_read = true;
        loop {
            while is_read {
                match self.reader.next_message(limits) {
                    Ok(Some(Message::Close(_))) => return,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // What breaks the protocol is taken off unread, until the client closes.
                    Err(_) => is_read = false,
                }
            }
            let Ok(Happened::Read | Happened::Wrote) = self.drive().await else { return };
            if !is_read {
                self.reader = Reader::default();
            }
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Happened>> {
        if !self.is_drained()
            && let Poll::Ready(written) = self.poll_write(cx)
        {
            return Poll::Ready(written.map(|()| Happened::Wrote));
        }
        if self.queued > ANSWERS {
            return Poll::Pending;
        }
        self.poll_read(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Happened>> {
        let mut bytes = [0u8; READ];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Stream::Tls(stream) => stream.as_mut().poll_read(cx, &mut buffer),
        })?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(Happened::Closed));
        }
        self.reader.push(read);
        Poll::Ready(Ok(Happened::Read))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.is_empty() {
            return self.poll_flush(cx);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.outbox) {
            *slice = IoSlice::new(frame);
            used += 1;
        }
        let written = ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, &slices[..used]),
            Stream::Tls(stream) => stream.as_mut().poll_write_vectored(cx, &slices[..used]),
        })?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        self.unflushed = matches!(self.stream, Stream::Tls(_));
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::Tls(stream) = &mut self.stream {
            ready!(stream.as_mut().poll_flush(cx))?;
        }
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.queued -= written;
        while let Some(front) = self.outbox.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.outbox.pop_front();
        }
        // Nothing is due: a connection that idles holds no queue.
        self.outbox = VecDeque::new();
    }
}
