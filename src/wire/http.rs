//! Steps 7 and 8 of 9: HTTP/1.1 over slices, one request at a time on a connection.
//!
//! Sans-IO: a request is appended to the caller's buffer, an answer is looked for at the start of one. Parsing
//! starts over when more bytes arrive: a head is a few hundred bytes, and most answers come in one read.

use super::limits::{RateSaid, Tier};
use crate::types::eip712::decimal;

/// Largest head taken.
pub const HEAD_MAX: usize = 16 << 10;
/// Largest body taken unless told otherwise: a page of 100 open orders is below 100 KiB.
pub const BODY_MAX: usize = 4 << 20;
/// Most header lines taken.
const HEADERS_MAX: usize = 64;

/// Appends a request. `target`: path and query. `headers`: whole lines, each ended by CR LF, such as those of
/// `wire::auth`. A body is JSON; its length is always sent with it.
pub fn write_request(out: &mut Vec<u8>, method: &str, target: &str, host: &str, headers: &[u8], body: Option<&[u8]>) {
    for part in [method, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    // Without a name some of the venue's hosts answer 403.
    out.extend_from_slice(b"User-Agent: polyloly-fast\r\nAccept: application/json\r\n");
    out.extend_from_slice(headers);
    if let Some(body) = body {
        out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
        out.extend_from_slice(decimal(body.len() as u64, &mut [0; 20]));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or(b""));
}

/// Limits on an answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of head.
    pub head: usize,
    /// Bytes of body.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: HEAD_MAX, body: BODY_MAX }
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// True if the connection may be used again.
    pub keep_alive: bool,
    /// True if the body calls itself JSON and is not compressed. Anything else is never parsed.
    pub json: bool,
    /// `Retry-After`, in seconds; `None` if absent or not a number.
    pub retry_after_s: Option<u64>,
    /// What it says of the venue's limits.
    pub rate: RateSaid,
    /// The body, chunks joined.
    pub body: &'a mut [u8],
    /// Bytes of the buffer that this answer took.
    pub used: usize,
}

/// Why bytes are not an answer. The connection is to be closed, and whatever was asked is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// Not HTTP/1.x.
    Malformed,
    /// The head is larger than allowed.
    HeadTooBig,
    /// The body is, or says it is, larger than allowed.
    BodyTooBig,
    /// Lengths that contradict each other, or an encoding that we did not ask for.
    Framing,
    /// The connection ended inside the answer.
    Truncated,
}

impl core::fmt::Display for HttpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an HTTP answer",
            Self::HeadTooBig => "head larger than allowed",
            Self::BodyTooBig => "body larger than allowed",
            Self::Framing => "contradictory or unknown framing",
            Self::Truncated => "connection ended inside the answer",
        })
    }
}

impl std::error::Error for HttpError {}

/// Where a body ends.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// What a head says.
struct Head {
    status: u16,
    keep_alive: bool,
    json: bool,
    retry_after_s: Option<u64>,
    rate: RateSaid,
    framing: Framing,
    len: usize,
}

/// Looks for a whole answer at the start of `buf`, which holds everything received since the last one.
/// `closed`: nothing more will come. `Ok(None)`: more is needed. Interim (1xx) answers are passed over.
/// A chunked body is joined in place, but only when all of it is there. No allocation.
pub fn parse_response(buf: &mut [u8], closed: bool, limits: Limits) -> Result<Option<Response<'_>>, HttpError> {
    let more = |closed| if closed { Err(HttpError::Truncated) } else { Ok(None) };
    let mut at = 0;
    let head = loop {
        match read_head(&buf[at..], limits)? {
            None => return more(closed),
            // 101 would mean another protocol, which we never ask for here.
            Some(head) if head.status == 101 => return Err(HttpError::Framing),
            Some(head) if head.status < 200 => at += head.len,
            Some(head) => break head,
        }
    };
    let start = at + head.len;
    let (len, used) = match head.framing {
        Framing::Length(n) if buf.len() - start < n => return more(closed),
        Framing::Length(n) => (n, start + n),
        Framing::UntilClose if buf.len() - start > limits.body => return Err(HttpError::BodyTooBig),
        Framing::UntilClose if !closed => return Ok(None),
        Framing::UntilClose => (buf.len() - start, buf.len()),
        Framing::Chunked => match join_chunks(&mut buf[start..], limits)? {
            None => return more(closed),
            Some((len, used)) => (len, start + used),
        },
    };
    let Head { status, json, retry_after_s, rate, .. } = head;
    let keep_alive = head.keep_alive && !closed && !matches!(head.framing, Framing::UntilClose);
    Ok(Some(Response { status, keep_alive, json, retry_after_s, rate, body: &mut buf[start..start + len], used }))
}

fn read_head(buf: &[u8], limits: Limits) -> Result<Option<Head>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(buf) {
        Ok(httparse::Status::Complete(len)) if len <= limits.head => len,
        Ok(httparse::Status::Partial) if buf.len() < limits.head => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HttpError::HeadTooBig),
        Err(_) => return Err(HttpError::Malformed),
    };
    let status = response.code.ok_or(HttpError::Malformed)?;
    let mut keep_alive = response.version == Some(1);
    let (mut length, mut chunked, mut json, mut compressed, mut retry_after_s) = (None, false, false, false, None);
    let mut rate = RateSaid::default();
    for header in response.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = header.value.trim_ascii();
        if is("content-length") {
            let n = number(value).ok_or(HttpError::Framing)?;
            if length.is_some_and(|l| l != n) {
                return Err(HttpError::Framing);
            }
            length = Some(n);
        } else if is("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::Framing);
            }
            chunked = true;
        } else if is("connection") {
            for word in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                if word.eq_ignore_ascii_case(b"close") {
                    keep_alive = false;
                } else if word.eq_ignore_ascii_case(b"keep-alive") && response.version == Some(0) {
                    keep_alive = true;
                }
            }
        } else if is("content-type") {
            let kind = value.split(|b| *b == b';').next().unwrap_or(b"").trim_ascii();
            json = kind.eq_ignore_ascii_case(b"application/json");
        } else if is("content-encoding") {
            compressed = !value.eq_ignore_ascii_case(b"identity");
        } else if is("retry-after") {
            retry_after_s = number(value);
        } else if is("poly-ratelimit-remaining") {
            // A large cancel-all can leave less than nothing.
            rate.remaining = number(value).or_else(|| number(value.strip_prefix(b"-")?).map(|_| 0));
        } else if is("poly-ratelimit-reset") {
            rate.reset_s = number(value);
        } else if is("poly-ratelimit-tier") {
            rate.tier = Tier::parse(value);
        } else if is("poly-ratelimit-warning") {
            rate.warning = !value.is_empty() && !value.eq_ignore_ascii_case(b"false");
        }
    }
    let framing = match (status, chunked, length) {
        (100..=199 | 204 | 304, ..) => Framing::Length(0),
        // Both would let two readers disagree on where the answer ends.
        (_, true, Some(_)) => return Err(HttpError::Framing),
        (_, true, None) => Framing::Chunked,
        (_, false, Some(n)) if n > limits.body as u64 => return Err(HttpError::BodyTooBig),
        (_, false, Some(n)) => Framing::Length(n as usize),
        (_, false, None) => Framing::UntilClose,
    };
    Ok(Some(Head { status, keep_alive, json: json && !compressed, retry_after_s, rate, framing, len }))
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// One chunk's header: (length of the line, size of the chunk).
fn chunk(buf: &[u8], limits: Limits) -> Result<Option<(usize, usize)>, HttpError> {
    match httparse::parse_chunk_size(buf) {
        Ok(httparse::Status::Complete((_, size))) if size > limits.body as u64 => Err(HttpError::BodyTooBig),
        Ok(httparse::Status::Complete((line, size))) => Ok(Some((line, size as usize))),
        // A size line with extensions is short; without an end it is garbage.
        Ok(httparse::Status::Partial) if buf.len() > 1_024 => Err(HttpError::Malformed),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(HttpError::Malformed),
    }
}

/// Finds the end of a chunked body and only then moves its chunks together.
/// Gives (length of the body, bytes that it took).
fn join_chunks(buf: &mut [u8], limits: Limits) -> Result<Option<(usize, usize)>, HttpError> {
    let (mut at, mut total) = (0, 0);
    let used = loop {
        let Some((line, size)) = chunk(&buf[at..], limits)? else {
            return Ok(None);
        };
        at += line;
        if size == 0 {
            match trailer(&buf[at..], limits)? {
                Some(len) => break at + len,
                None => return Ok(None),
            }
        }
        total += size;
        if total > limits.body {
            return Err(HttpError::BodyTooBig);
        }
        match buf.get(at + size..at + size + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Err(HttpError::Malformed),
        }
    };
    let (mut from, mut to) = (0, 0);
    while let Some((line, size)) = chunk(&buf[from..], limits)?
        && size > 0
    {
        buf.copy_within(from + line..from + line + size, to);
        to += size;
        from += line + size + 2;
    }
    Ok(Some((to, used)))
}

/// The length of what follows the last chunk: lines up to an empty one.
fn trailer(buf: &[u8], limits: Limits) -> Result<Option<usize>, HttpError> {
    if buf.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    match buf.windows(4).position(|w| w == b"\r\n\r\n") {
        Some(at) => Ok(Some(at + 4)),
        None if buf.len() > limits.head => Err(HttpError::HeadTooBig),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Status, body, used, keep-alive, JSON.
    type Told = (u16, Vec<u8>, usize, bool, bool);

    fn parse(bytes: &[u8], closed: bool) -> Result<Option<Told>, HttpError> {
        let mut buf = bytes.to_vec();
        let limits = Limits { head: 300, body: 100 };
        let response = parse_response(&mut buf, closed, limits)?;
        Ok(response.map(|r| (r.status, r.body.to_vec(), r.used, r.keep_alive, r.json)))
    }

    const PLAIN: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n";

    #[test]
    fn answers_are_whole_only_at_their_last_byte() {
        for (bytes, status, body, json) in [(PLAIN, 200, &b"{}"[..], true), (CHUNKED, 400, b"abc0123456789", false)] {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut], false), Ok(None), "cut at {cut}");
                assert_eq!(parse(&bytes[..cut], true), Err(HttpError::Truncated), "closed at {cut}");
            }
            let followed = [bytes, b"HTTP/1.1"].concat();
            assert_eq!(parse(&followed, false), Ok(Some((status, body.to_vec(), bytes.len(), true, json))));
        }
    }

    #[test]
    fn framing_rules() {
        let told = |status, body: &[u8], used, keep| Ok(Some((status, body.to_vec(), used, keep, false)));
        for (bytes, closed, expected) in [
            ("HTTP/1.1 204 No\r\n\r\nx", false, told(204, b"", 19, true)),
            ("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 304 N\r\n\r\n", false, told(304, b"", 37, true)),
            ("HTTP/1.1 200 OK\r\n\r\nabc", false, Ok(None)),
            ("HTTP/1.1 200 OK\r\n\r\nabc", true, told(200, b"abc", 22, false)),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", false, told(200, b"", 57, false)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false, told(200, b"a", 39, false)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", false, told(200, b"a", 58, true)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", false, Err(HttpError::Framing)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
                false,
                Err(HttpError::Framing),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, Err(HttpError::Framing)),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, Err(HttpError::Framing)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", false, Err(HttpError::BodyTooBig)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", false, Err(HttpError::Framing)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                false,
                Err(HttpError::BodyTooBig),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", false, Err(HttpError::Malformed)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, Err(HttpError::Malformed)),
            ("HTTP/1.1 101 Switching\r\n\r\n", false, Err(HttpError::Framing)),
            ("<html>", false, Err(HttpError::Malformed)),
            ("", true, Err(HttpError::Truncated)),
        ] {
            assert_eq!(parse(bytes.as_bytes(), closed), expected, "{bytes:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(300));
        assert_eq!(parse(long.as_bytes(), false), Err(HttpError::HeadTooBig));
    }

    #[test]
    fn compressed_json_is_not_json() {
        let head = "HTTP/1.1 429 T\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nRetry-After: 7\r\n";
        let mut bytes = format!("{head}Content-Length: 0\r\n\r\n").into_bytes();
        let response = parse_response(&mut bytes, false, Limits::default()).unwrap().unwrap();
        assert_eq!((response.json, response.retry_after_s), (false, Some(7)));
    }

    #[test]
    fn limits_are_read_and_nonsense_is_not_there() {
        let read = |lines: &str| {
            let mut bytes = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n").into_bytes();
            parse_response(&mut bytes, false, Limits::default()).unwrap().unwrap().rate
        };
        let said = read(
            "poly-ratelimit-remaining: 17\r\nPoly-RateLimit-Reset: 1790000000\r\nPoly-RateLimit-Tier: Gold\r\n\
             Poly-RateLimit-Warning: exceeded\r\n",
        );
        assert_eq!(
            said,
            RateSaid { remaining: Some(17), reset_s: Some(1_790_000_000), tier: Some(Tier::Gold), warning: true }
        );
        assert_eq!(read("Poly-RateLimit-Remaining: -7\r\n").remaining, Some(0), "a large cancel-all overdraws");
        let nonsense = "Poly-RateLimit-Remaining: --1\r\nPoly-RateLimit-Reset: soon\r\nPoly-RateLimit-Tier: tin\r\n";
        assert_eq!(read(nonsense), RateSaid::default());
    }

    #[test]
    fn a_request_as_written() {
        let mut out = Vec::new();
        write_request(&mut out, "POST", "/order", "h", b"A: b\r\n", Some(b"{}"));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "POST /order HTTP/1.1\r\nHost: h\r\nUser-Agent: polyloly-fast\r\nAccept: application/json\r\nA: b\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        out.clear();
        write_request(&mut out, "GET", "/time?x=1", "h", b"", None);
        assert!(out.starts_with(b"GET /time?x=1 HTTP/1.1\r\nHost: h\r\n") && out.ends_with(b"json\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_body(body in proptest::collection::vec(any::<u8>(), 0..90), cuts in any::<[u8; 6]>()) {
            let mut at: Vec<usize> = cuts.iter().map(|c| usize::from(*c) % (body.len() + 1)).collect();
            at.push(body.len());
            at.sort_unstable();
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let mut from = 0;
            for to in at.into_iter().filter(|to| *to > 0) {
                if to > from {
                    bytes.extend(format!("{:x}\r\n", to - from).bytes());
                    bytes.extend(&body[from..to]);
                    bytes.extend(b"\r\n");
                }
                from = to;
            }
            bytes.extend(b"0\r\n\r\n");
            prop_assert_eq!(parse(&bytes, false), Ok(Some((200, body, bytes.len(), true, false))));
        }

        #[test]
        fn never_panics(mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
            let mut bytes = CHUNKED.to_vec();
            for (at, to) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let _ = parse(&bytes, false);
            let _ = parse(&bytes, true);
        }
    }
}
