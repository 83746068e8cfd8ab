//! Connections that are written and read without anybody waiting: what is sent is queued and goes out as the other side
//! takes it, while what comes is read.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::service::{self, ServiceError};

/// Bytes that may wait for a server to read them: a minute of the widest audio is less.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// Bytes read from a stream at a time.
const PIECE: usize = 16 * 1024;

/// What goes over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::speech) enum Wire {
    Text(String),
    Bytes(Bytes),
}

impl Wire {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// One connection.
pub(in crate::speech) trait Link: Send {
    /// Queues something to be sent.
    ///
    /// # Errors
    /// When the other side has not read for so long that there is no room.
    fn send(&mut self, wire: Wire) -> Result<(), ServiceError>;

    /// Writes what is queued as far as the other side takes it, and gives what came. After an error there is nothing more.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Wire, ServiceError>>;
}

/// What waits to be written.
struct Outbox {
    service: &'static str,
    wires: VecDeque<Wire>,
    bytes: usize,
}

impl Outbox {
    const fn new(service: &'static str) -> Self {
        Self { service, wires: VecDeque::new(), bytes: 0 }
    }

    fn push(&mut self, wire: Wire) -> Result<(), ServiceError> {
        if self.bytes + wire.len() > MOST_WAITING {
            let what = "it does not read what it is sent".to_owned();
            return Err(ServiceError::Broken { service: self.service, what });
        }
        self.bytes += wire.len();
        self.wires.push_back(wire);
        Ok(())
    }

    fn pop(&mut self) -> Option<Wire> {
        let wire = self.wires.pop_front()?;
        self.bytes -= wire.len();
        Some(wire)
    }
}

/// A WebSocket.
pub(in crate::speech) struct Socket {
    stream: service::Socket,
    outbox: Outbox,
}

impl Socket {
    pub(in crate::speech) const fn new(service: &'static str, stream: service::Socket) -> Self {
        Self { stream, outbox: Outbox::new(service) }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), tungstenite::Error> {
        while !self.outbox.wires.is_empty() {
            match Pin::new(&mut self.stream).poll_ready(context) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => break,
            }
            let message = match self.outbox.pop() {
                Some(Wire::Text(text)) => Message::text(text),
                Some(Wire::Bytes(bytes)) => Message::binary(bytes),
                None => break,
            };
            Pin::new(&mut self.stream).start_send(message)?;
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Link for Socket {
    fn send(&mut self, wire: Wire) -> Result<(), ServiceError> {
        self.outbox.push(wire)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Wire, ServiceError>> {
        let service = self.outbox.service;
        let lost = |error: &tungstenite::Error| Poll::Ready(Err(ServiceError::of_websocket(service, error)));
        // What came is read even where nothing can be written: a server that goes says why.
        let written = self.write(context);
        loop {
            let message = match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Ready(message) => message,
                Poll::Pending => return written.map_or_else(|error| lost(&error), |()| Poll::Pending),
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Poll::Ready(Ok(Wire::Text(text.as_str().to_owned())));
                }
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(Wire::Bytes(bytes))),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) =
                        frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Poll::Ready(Err(ServiceError::of_close(service, code, &reason)));
                }
                // The pong goes out with the next flush.
                Some(Ok(Message::Ping(_))) => {
                    let _ = Pin::new(&mut self.stream).poll_flush(context);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return lost(&error),
                None => return lost(&tungstenite::Error::ConnectionClosed),
            }
        }
    }
}

/// A TCP stream; what comes are pieces of any length.
pub(in crate::speech) struct Tcp {
    stream: TcpStream,
    outbox: Outbox,
    /// What is being written, and how much of it is.
    writing: Option<(Wire, usize)>,
}

impl Tcp {
    pub(in crate::speech) const fn new(service: &'static str, stream: TcpStream) -> Self {
        Self { stream, outbox: Outbox::new(service), writing: None }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some((wire, written)) =
            self.writing.take().or_else(|| self.outbox.pop().map(|wire| (wire, 0)))
        {
            let bytes: &[u8] = match &wire {
                Wire::Text(text) => text.as_bytes(),
                Wire::Bytes(bytes) => bytes,
            };
            match Pin::new(&mut self.stream).poll_write(context, &bytes[written..]) {
                Poll::Ready(Ok(count)) if written + count < bytes.len() => {
                    self.writing = Some((wire, written + count))
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.writing = Some((wire, written));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Link for Tcp {
    fn send(&mut self, wire: Wire) -> Result<(), ServiceError> {
        if wire.len() == 0 { Ok(()) } else { self.outbox.push(wire) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Wire, ServiceError>> {
        let service = self.outbox.service;
        let closed = |what: String| Poll::Ready(Err(ServiceError::Closed { service, what }));
        let written = self.poll_write(context);
        let mut piece = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut piece);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => closed("without a word".to_owned()),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Wire::Bytes(Bytes::copy_from_slice(buffer.filled())))),
            Poll::Ready(Err(error)) => closed(error.to_string()),
            Poll::Pending => match written {
                Poll::Ready(Err(error)) => closed(error.to_string()),
                _ => Poll::Pending,
            },
        }
    }
}

/// A connection that is over.
pub(in crate::speech) struct Gone;

impl Link for Gone {
    fn send(&mut self, _wire: Wire) -> Result<(), ServiceError> {
        Ok(())
    }

    fn poll(&mut self, _context: &mut Context<'_>) -> Poll<Result<Wire, ServiceError>> {
        Poll::Pending
    }
}

/// An answer that is on its way.
pub(in crate::speech) type Reply = Pin<Box<dyn Future<Output = Result<Wire, ServiceError>> + Send>>;

/// Requests over HTTP: each thing sent is one, its body is what comes. Dropping it takes the request back.
pub(in crate::speech) struct Requests {
    ask: Box<dyn Fn(Wire) -> Reply + Send>,
    under_way: Option<Reply>,
}

impl Requests {
    pub(in crate::speech) fn new(ask: impl Fn(Wire) -> Reply + Send + 'static) -> Self {
        Self { ask: Box::new(ask), under_way: None }
    }
}

impl Link for Requests {
    fn send(&mut self, wire: Wire) -> Result<(), ServiceError> {
        self.under_way = Some((self.ask)(wire));
        Ok(())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Wire, ServiceError>> {
        let Some(reply) = &mut self.under_way else { return Poll::Pending };
        let came = ready!(reply.as_mut().poll(context));
        self.under_way = None;
        Poll::Ready(came)
    }
}
