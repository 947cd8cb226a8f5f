//! One connection: bytes from a non-blocking socket, through TLS or not, as HTTP and then perhaps as a WebSocket.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};
use tungstenite::{
    Bytes, Error, Message, Utf8Bytes,
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

use super::{http, stream::Channel, verdict::Cut};
use crate::{sys::net::reset_on_close, types::Nanos};

/// Most bytes that may wait for a slow reader; then the connection is cut.
pub const OUT_MAX: usize = 8 << 20;
/// Input taken in before it is looked at.
const IN_MAX: usize = http::HEAD_MAX + http::BODY_MAX + (64 << 10);
/// Longest message that a client may send.
const MESSAGE_MAX: usize = 1 << 20;

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// Everything that was there.
    Drained,
    /// There may be more: look at the input and read again.
    More,
    /// The peer has closed.
    Closed,
}

/// In-memory ends of a WebSocket: the codec reads and writes here, never the socket.
#[derive(Debug, Default)]
struct Pipe {
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.input.read(buf) }
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that takes at most so many bytes at a time; without Nagle each write is a segment.
struct Narrow<'a, W> {
    stream: &'a mut W,
    most: usize,
}

impl<W: Write> Write for Narrow<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(&buf[..buf.len().min(self.most)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

struct Socket {
    context: WebSocketContext,
    pipe: Pipe,
    channel: Channel,
}

/// One connection.
pub struct Conn {
    /// The socket, registered with the poll.
    pub stream: TcpStream,
    /// When it was accepted.
    pub born: Nanos,
    /// Bytes not looked at yet (HTTP).
    pub input: Vec<u8>,
    /// Closed as soon as everything is written.
    pub closing: bool,
    /// An answer is due: no further request is read.
    pub held: bool,
    /// Which socket of its channel it is, from 1.
    pub number: u32,
    /// One byte a segment.
    pub one_byte: bool,
    /// No frame is told before this, because an earlier one is not.
    pub backlog: Option<Nanos>,
    /// Frames held back: how many are to pass first, a number, the text.
    pub held_back: Vec<(u32, u64, Utf8Bytes)>,
    tls: Option<Box<ServerConnection>>,
    out: Vec<u8>,
    sent: usize,
    farewell: bool,
    socket: Option<Box<Socket>>,
}

impl Conn {
    /// A fresh connection. Errors: the TLS session could not be made.
    pub fn new(stream: TcpStream, tls: Option<Arc<ServerConfig>>, born: Nanos) -> io::Result<Self> {
        let tls = tls.map(ServerConnection::new).transpose().map_err(io::Error::other)?.map(Box::new);
        Ok(Self {
            stream,
            born,
            input: Vec::new(),
            closing: false,
            held: false,
            number: 0,
            one_byte: false,
            backlog: None,
            held_back: Vec::new(),
            tls,
            out: Vec::new(),
            sent: 0,
            farewell: false,
            socket: None,
        })
    }

    /// Reads what the socket has into the input.
    pub fn receive(&mut self) -> io::Result<Got> {
        let mut chunk = [0; 16 << 10];
        loop {
            if self.input.len() >= IN_MAX {
                return Ok(Got::More);
            }
            let read = match &mut self.tls {
                None => self.stream.read(&mut chunk),
                Some(tls) => tls.read_tls(&mut self.stream),
            };
            let n = match read {
                Ok(0) => return Ok(Got::Closed),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Got::Drained),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let Some(tls) = &mut self.tls else {
                self.input.extend_from_slice(&chunk[..n]);
                continue;
            };
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let n = tls.reader().read(&mut chunk)?;
                self.input.extend_from_slice(&chunk[..n]);
                left -= n.min(left);
            }
        }
    }

    /// Queues bytes.
    pub fn queue(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
    }

    /// Turns the connection into a WebSocket; what is left of the input belongs to it.
    pub fn upgrade(&mut self, channel: Channel) {
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
        let context = WebSocketContext::new(Role::Server, Some(config));
        self.socket = Some(Box::new(Socket { context, pipe: Pipe::default(), channel }));
    }

    /// What the socket listens to, once it is a WebSocket.
    pub fn channel(&mut self) -> Option<&mut Channel> {
        self.socket.as_mut().map(|s| &mut s.channel)
    }

    /// The next text message of a WebSocket; `None` when there is none yet. A closed or broken one is marked closing.
    pub fn next_text(&mut self) -> Option<Utf8Bytes> {
        let socket = self.socket.as_mut()?;
        socket.pipe.input.extend(self.input.drain(..));
        loop {
            let message = socket.context.read(&mut socket.pipe);
            self.out.append(&mut socket.pipe.output);
            match message {
                Ok(Message::Text(text)) => return Some(text),
                Ok(_) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.closing = true;
                    return None;
                }
            }
        }
    }

    /// Queues a text message.
    pub fn send_text(&mut self, text: Utf8Bytes) {
        let Some(socket) = self.socket.as_mut() else { return };
        let sent = socket
            .context
            .write(&mut socket.pipe, Message::Text(text))
            .and_then(|()| socket.context.flush(&mut socket.pipe));
        self.out.append(&mut socket.pipe.output);
        self.closing |= sent.is_err();
    }

    /// Queues a text message in so many frames, with a ping between them.
    pub fn send_pieces(&mut self, text: Utf8Bytes, pieces: Option<usize>) {
        let Some(pieces) = pieces.filter(|n| *n > 1 && text.len() > 1) else { return self.send_text(text) };
        let Some(socket) = self.socket.as_mut() else { return };
        let bytes: Bytes = text.into();
        let size = bytes.len().div_ceil(pieces);
        let parts = bytes.len().div_ceil(size);
        let mut sent = Ok(());
        for n in 0..parts {
            let kind = OpCode::Data(if n == 0 { Data::Text } else { Data::Continue });
            let part = bytes.slice(n * size..bytes.len().min((n + 1) * size));
            let frame = Message::Frame(Frame::message(part, kind, n + 1 == parts));
            sent = sent.and_then(|()| socket.context.write(&mut socket.pipe, frame));
            if n == 0 {
                sent = sent.and_then(|()| socket.context.write(&mut socket.pipe, Message::Ping(Bytes::new())));
            }
        }
        sent = sent.and_then(|()| socket.context.flush(&mut socket.pipe));
        self.out.append(&mut socket.pipe.output);
        self.closing |= sent.is_err();
    }

    /// Cuts a WebSocket.
    pub fn cut(&mut self, how: Cut) {
        let close = |code: u16| CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::default() };
        match how {
            Cut::Clean => self.close_with(Some(close(1_000))),
            Cut::Internal => self.close_with(Some(close(1_011))),
            Cut::Abrupt => self.closing = true,
            Cut::MidFrame => {
                // A text frame of 1024 bytes of which few come.
                self.out.extend_from_slice(&[0x81, 0x7e, 4, 0]);
                self.out.extend_from_slice(b"[{\"event_type\":\"book\",\"mar");
                self.reset();
            }
            // The others are no cuts.
            Cut::Reset | Cut::Matched | Cut::Mined => self.reset(),
        }
    }

    /// Closes with a reset once everything queued is written.
    pub fn reset(&mut self) {
        let _ = reset_on_close(&self.stream);
        self.farewell = true;
        self.closing = true;
    }

    /// Queues the end of a WebSocket.
    pub fn send_close(&mut self) {
        self.close_with(None);
    }

    fn close_with(&mut self, frame: Option<CloseFrame>) {
        if let Some(socket) = self.socket.as_mut() {
            let _ = socket.context.close(&mut socket.pipe, frame);
            let _ = socket.context.flush(&mut socket.pipe);
            self.out.append(&mut socket.pipe.output);
        }
        self.closing = true;
    }

    /// Bytes that wait for the peer.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Writes as much as the socket takes. Errors: the connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.write_out();
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent > OUT_MAX / 8 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        match result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let mut stream = Narrow { stream: &mut self.stream, most: if self.one_byte { 1 } else { usize::MAX } };
        let Some(tls) = &mut self.tls else {
            while self.sent < self.out.len() {
                match stream.write(&self.out[self.sent..])? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => self.sent += n,
                }
            }
            return Ok(());
        };
        loop {
            while tls.wants_write() {
                tls.write_tls(&mut stream)?;
            }
            if tls.is_handshaking() {
                return Ok(());
            }
            if self.sent == self.out.len() {
                // Without this the peer cannot tell the end from a cut.
                if !self.closing || std::mem::replace(&mut self.farewell, true) {
                    return Ok(());
                }
                tls.send_close_notify();
                continue;
            }
            let end = self.out.len().min(self.sent + (64 << 10));
            self.sent += tls.writer().write(&self.out[self.sent..end])?;
        }
    }

    /// True when it is to be dropped now.
    pub fn is_over(&self) -> bool {
        self.closing && self.waiting() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_socket_takes_one_byte_at_a_time() {
        struct Counted(Vec<usize>);
        impl Write for Counted {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.0.push(buf.len());
                Ok(buf.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (most, wanted) in [(1, vec![1; 5]), (usize::MAX, vec![5])] {
            let mut under = Counted(Vec::new());
            Narrow { stream: &mut under, most }.write_all(b"bytes").unwrap();
            assert_eq!(under.0, wanted);
        }
    }
}
