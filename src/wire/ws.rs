//! Step 1 of 9: WebSocket frames from a slice, and frames for the venue into a buffer; the client's side of RFC 6455.
//!
//! Sans-IO: the handshake and the socket live elsewhere. A whole frame is decoded in place, where simd-json can
//! then parse it in place; only fragmented messages are copied.

/// Largest frame or message taken unless told otherwise. A full book of the venue is well below 1 MiB.
pub const MESSAGE_MAX: usize = 4 << 20;

/// What the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a mut [u8]),
    /// Any bytes.
    Binary(&'a mut [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// Says nothing about data: never count it as liveness.
    Pong(&'a [u8]),
    /// The peer closes; its code, if it gave one. Nothing follows.
    Close(Option<u16>),
}

/// One step of decoding.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Nothing more until the buffer holds this many bytes in all.
    NeedMore(usize),
    /// The first `usize` bytes of the buffer are done with and completed no message: a fragment.
    Fragment(usize),
    /// The first `usize` bytes of the buffer are done with and completed this.
    Message(usize, Message<'a>),
}

/// How the peer broke the protocol. The connection is closed with [`WsError::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsError {
    /// Reserved bits of the first byte; no extension was agreed.
    ReservedBits(u8),
    /// An opcode without meaning.
    ReservedOpcode(u8),
    /// A server must not mask.
    Masked,
    /// A control frame in pieces, or longer than 125 bytes.
    BadControl,
    /// A continuation of nothing.
    LoneContinuation,
    /// A new message before the last one ended.
    Interleaved,
    /// A close frame of one byte or with a code that may not be sent.
    BadClose,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A declared length, or the sum of the fragments, above the cap.
    TooBig(u64),
}

impl WsError {
    /// The close code that answers it (RFC 6455 section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::NotUtf8 => 1007,
            Self::TooBig(_) => 1009,
            _ => 1002,
        }
    }
}

impl core::fmt::Display for WsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self:?}, close code {}", self.close_code())
    }
}

impl std::error::Error for WsError {}

/// What a frame is. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that began before.
    Continuation = 0,
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// Close.
    Close = 8,
    /// Ping.
    Ping = 9,
    /// Pong.
    Pong = 10,
}

impl Opcode {
    const fn of(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// Decodes what a server sends. After an error or a close it is not to be used again.
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    /// Opcode of the fragmented message under way.
    partial: Option<Opcode>,
    /// Its payload so far.
    fragments: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MESSAGE_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses anything above `max` bytes, by its declared length, before any of it is stored.
    pub const fn new(max: usize) -> Self {
        Self { max, partial: None, fragments: Vec::new() }
    }

    /// Looks for one frame at the start of `buf`. Call again with the rest of the buffer until it needs more.
    /// Allocates only to hold fragments.
    pub fn decode<'a>(&'a mut self, buf: &'a mut [u8]) -> Result<Decoded<'a>, WsError> {
        if self.partial.is_none() {
            // The last message was lent out of here; its borrow has ended.
            self.fragments.clear();
        }
        let [first, second, ..] = *buf else {
            return Ok(Decoded::NeedMore(2));
        };
        if first & 0x70 != 0 {
            return Err(WsError::ReservedBits(first & 0x70));
        }
        let opcode = Opcode::of(first & 15).ok_or(WsError::ReservedOpcode(first & 15))?;
        let fin = first & 0x80 != 0;
        if second & 0x80 != 0 {
            return Err(WsError::Masked);
        }
        let control = opcode as u8 >= 8;
        let (head, len) = match second {
            126 | 127 if control => return Err(WsError::BadControl),
            126 => match buf.get(2..4) {
                Some(b) => (4, u64::from(u16::from_be_bytes([b[0], b[1]]))),
                None => return Ok(Decoded::NeedMore(4)),
            },
            127 => match buf[2..].first_chunk() {
                Some(b) => (10, u64::from_be_bytes(*b)),
                None => return Ok(Decoded::NeedMore(10)),
            },
            n => (2, u64::from(n)),
        };
        if control {
            if !fin {
                return Err(WsError::BadControl);
            }
        } else {
            match (opcode, self.partial) {
                (Opcode::Continuation, None) => return Err(WsError::LoneContinuation),
                (Opcode::Text | Opcode::Binary, Some(_)) => return Err(WsError::Interleaved),
                _ => {}
            }
            let total = len.saturating_add(self.fragments.len() as u64);
            if total > self.max as u64 {
                return Err(WsError::TooBig(total));
            }
        }
        let end = head + len as usize;
        if buf.len() < end {
            return Ok(Decoded::NeedMore(end));
        }
        let payload = &mut buf[head..end];
        let message = match opcode {
            Opcode::Ping => Message::Ping(payload),
            Opcode::Pong => Message::Pong(payload),
            Opcode::Close => Message::Close(close_code(payload)?),
            Opcode::Text | Opcode::Binary if fin => data(opcode, payload)?,
            Opcode::Text | Opcode::Binary => {
                self.partial = Some(opcode);
                self.fragments.extend_from_slice(payload);
                return Ok(Decoded::Fragment(end));
            }
            Opcode::Continuation => {
                self.fragments.extend_from_slice(payload);
                if !fin {
                    return Ok(Decoded::Fragment(end));
                }
                let opcode = self.partial.take().ok_or(WsError::LoneContinuation)?;
                data(opcode, &mut self.fragments)?
            }
        };
        Ok(Decoded::Message(end, message))
    }
}

fn data(opcode: Opcode, payload: &mut [u8]) -> Result<Message<'_>, WsError> {
    if opcode == Opcode::Binary {
        return Ok(Message::Binary(payload));
    }
    match simdutf8::basic::from_utf8(payload) {
        Ok(_) => Ok(Message::Text(payload)),
        Err(_) => Err(WsError::NotUtf8),
    }
}

/// Checks a close frame's payload and reads its code (RFC 6455 section 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, WsError> {
    match payload {
        [] => Ok(None),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => {}
                _ => return Err(WsError::BadClose),
            }
            match simdutf8::basic::from_utf8(reason) {
                Ok(_) => Ok(Some(code)),
                Err(_) => Err(WsError::NotUtf8),
            }
        }
        _ => Err(WsError::BadClose),
    }
}

/// Appends one whole masked frame. `mask` should be unpredictable to third parties; any value is correct.
/// Control payloads longer than 125 bytes are cut, as RFC 6455 section 5.5 demands.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    let payload = if opcode as u8 >= 8 { &payload[..payload.len().min(125)] } else { payload };
    out.push(0x80 | opcode as u8);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let at = out.len();
    out.extend_from_slice(payload);
    for (i, b) in out[at..].iter_mut().enumerate() {
        *b ^= mask[i % 4];
    }
}

/// Appends a close frame with `code`.
pub fn encode_close(out: &mut Vec<u8>, code: u16, mask: [u8; 4]) {
    encode(out, Opcode::Close, &code.to_be_bytes(), mask);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

    use super::*;

    /// A server frame: unmasked.
    fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![u8::from(fin) << 7 | opcode];
        match payload.len() {
            n @ 0..=125 => out.push(n as u8),
            n @ 126..=0xffff => {
                out.push(126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    /// A message as both decoders tell it; the code of a close is all that ours keeps.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Told {
        Text(Vec<u8>),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(Option<u16>),
        Refused,
    }

    fn ours(bytes: &[u8], segment: usize) -> Vec<Told> {
        let mut decoder = Decoder::default();
        let (mut buf, mut told) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(segment.max(1)) {
            buf.extend_from_slice(piece);
            loop {
                let used = match decoder.decode(&mut buf) {
                    Ok(Decoded::NeedMore(n)) => {
                        assert!(n > buf.len(), "asks for bytes that it has");
                        break;
                    }
                    Ok(Decoded::Fragment(used)) => used,
                    Ok(Decoded::Message(used, message)) => {
                        told.push(match message {
                            Message::Text(t) => Told::Text(t.to_vec()),
                            Message::Binary(b) => Told::Binary(b.to_vec()),
                            Message::Ping(p) => Told::Ping(p.to_vec()),
                            Message::Pong(p) => Told::Pong(p.to_vec()),
                            Message::Close(code) => {
                                told.push(Told::Close(code));
                                return told;
                            }
                        });
                        used
                    }
                    Err(_) => {
                        told.push(Told::Refused);
                        return told;
                    }
                };
                buf.drain(..used);
            }
        }
        told
    }

    /// Reads in segments, swallows writes.
    struct Pipe<'a>(&'a [u8], usize);

    impl std::io::Read for Pipe<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            let n = self.1.max(1).min(out.len()).min(self.0.len());
            let (head, tail) = self.0.split_at(n);
            out[..n].copy_from_slice(head);
            self.0 = tail;
            Ok(n)
        }
    }

    impl std::io::Write for Pipe<'_> {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            Ok(data.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn theirs(bytes: &[u8], segment: usize) -> Vec<Told> {
        use tungstenite::Message as M;
        let config = WebSocketConfig::default().max_frame_size(Some(MESSAGE_MAX)).max_message_size(Some(MESSAGE_MAX));
        let mut socket = WebSocket::from_raw_socket(Pipe(bytes, segment), Role::Client, Some(config));
        let mut told = Vec::new();
        loop {
            told.push(match socket.read() {
                Ok(M::Text(t)) => Told::Text(t.as_bytes().to_vec()),
                Ok(M::Binary(b)) => Told::Binary(b.to_vec()),
                Ok(M::Ping(p)) => Told::Ping(p.to_vec()),
                Ok(M::Pong(p)) => Told::Pong(p.to_vec()),
                Ok(M::Close(frame)) => {
                    told.push(Told::Close(frame.map(|f| f.code.into())));
                    return told;
                }
                Ok(M::Frame(_)) => unreachable!("only when writing"),
                Err(tungstenite::Error::Io(_)) => return told,
                Err(_) => {
                    told.push(Told::Refused);
                    return told;
                }
            });
        }
    }

    /// One data message in pieces, with control frames between them.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop_oneof![
            "\\PC{0,40}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..200),
            (0_usize..3).prop_map(|n| vec![b'x'; [125, 126, 70_000][n]]),
        ];
        let cuts = proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..5);
        (any::<bool>(), payload, cuts).prop_map(|(text, payload, cuts)| {
            // tungstenite refuses bad text at the first bad fragment, we at the last: the table below covers it.
            let text = text && std::str::from_utf8(&payload).is_ok();
            let mut at: Vec<_> = cuts.iter().map(|(i, ..)| i.index(payload.len() + 1)).collect();
            at.sort_unstable();
            at.push(payload.len());
            let (mut out, mut from) = (Vec::new(), 0);
            for (n, to) in at.iter().enumerate() {
                let opcode = if n > 0 { 0 } else { 2 - u8::from(text) };
                out.extend(frame(n + 1 == at.len(), opcode, &payload[from..*to]));
                if let Some((_, true, ping)) = cuts.get(n) {
                    out.extend(frame(true, if *ping { 9 } else { 10 }, &payload[from..*to.min(&(from + 125))]));
                }
                from = *to;
            }
            out
        })
    }

    proptest! {
        #[test]
        fn agrees_with_tungstenite(messages in proptest::collection::vec(message(), 1..4), segment in 1_usize..300) {
            let bytes = messages.concat();
            let expected = theirs(&bytes, segment);
            prop_assert_eq!(&ours(&bytes, segment), &expected);
            prop_assert_eq!(&ours(&bytes, bytes.len()), &expected);
        }

        #[test]
        fn agrees_with_tungstenite_byte_by_byte(message in message()) {
            prop_assert_eq!(ours(&message, 1), theirs(&message, 1));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), segment in 1_usize..40) {
            ours(&bytes, segment);
        }

        #[test]
        fn tungstenite_reads_what_we_write(payload in proptest::collection::vec(any::<u8>(), 0..70_000), mask: [u8; 4]) {
            let mut out = Vec::new();
            encode(&mut out, Opcode::Binary, &payload, mask);
            let mut server = WebSocket::from_raw_socket(Pipe(&out, 9_000), Role::Server, None);
            prop_assert_eq!(&server.read().unwrap().into_data()[..], &payload[..]);
        }
    }

    #[test]
    fn violations_and_their_close_codes() {
        let huge = [&[0x82, 127][..], &(MESSAGE_MAX as u64 + 1).to_be_bytes()].concat();
        let negative = [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat();
        let rows: [(&str, Vec<u8>, WsError, u16); 13] = [
            ("reserved bit", frame(true, 0x41, b""), WsError::ReservedBits(0x40), 1002),
            ("opcode 3", frame(true, 3, b""), WsError::ReservedOpcode(3), 1002),
            ("opcode 11", frame(true, 11, b""), WsError::ReservedOpcode(11), 1002),
            ("masked", vec![0x81, 0x80, 1, 2, 3, 4], WsError::Masked, 1002),
            ("ping in pieces", frame(false, 9, b""), WsError::BadControl, 1002),
            ("long ping", vec![0x89, 126, 0, 126], WsError::BadControl, 1002),
            ("lone continuation", frame(true, 0, b""), WsError::LoneContinuation, 1002),
            ("close of one byte", frame(true, 8, b"x"), WsError::BadClose, 1002),
            ("close 1005", frame(true, 8, &1005_u16.to_be_bytes()), WsError::BadClose, 1002),
            ("close reason", frame(true, 8, &[3, 0xe8, 0xff]), WsError::NotUtf8, 1007),
            ("text", frame(true, 1, &[0xff]), WsError::NotUtf8, 1007),
            ("declared length", huge, WsError::TooBig(MESSAGE_MAX as u64 + 1), 1009),
            ("length of 2^64 - 1", negative, WsError::TooBig(u64::MAX), 1009),
        ];
        for (what, mut bytes, error, code) in rows {
            assert_eq!(Decoder::default().decode(&mut bytes), Err(error), "{what}");
            assert_eq!(error.close_code(), code, "{what}");
        }
    }

    #[test]
    fn characters_may_be_cut_by_fragments_but_must_be_whole_in_the_end() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&mut frame(false, 1, &[0xc3])), Ok(Decoded::Fragment(3)));
        let mut rest = frame(true, 0, &[0xa9]);
        assert_eq!(decoder.decode(&mut rest), Ok(Decoded::Message(3, Message::Text(&mut "é".as_bytes().to_vec()))));
        assert_eq!(decoder.decode(&mut frame(false, 1, &[0xc3])), Ok(Decoded::Fragment(3)));
        assert_eq!(decoder.decode(&mut frame(true, 0, b"x")), Err(WsError::NotUtf8));
    }

    #[test]
    fn fragments_count_against_the_cap() {
        let mut decoder = Decoder::new(10);
        assert_eq!(decoder.decode(&mut frame(false, 1, b"123456")), Ok(Decoded::Fragment(8)));
        assert_eq!(decoder.decode(&mut frame(true, 9, b"12345678")).map(|_| ()), Ok(()), "control frames do not");
        assert_eq!(decoder.decode(&mut frame(true, 0, b"12345")), Err(WsError::TooBig(11)));
    }

    #[test]
    fn a_message_may_not_begin_inside_another() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&mut frame(false, 1, b"a")), Ok(Decoded::Fragment(3)));
        assert_eq!(decoder.decode(&mut frame(true, 1, b"b")), Err(WsError::Interleaved));
    }

    #[test]
    fn a_close_frame_of_ours() {
        let mut out = Vec::new();
        encode_close(&mut out, 1002, [0; 4]);
        assert_eq!(out, [0x88, 0x82, 0, 0, 0, 0, 3, 0xea]);
    }
}
