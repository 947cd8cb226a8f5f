//! HTTP/1.1 for the server's side, sans-IO: requests out of a buffer, answers into one.
//!
//! Keep-alive and pipelining; a head is at most 16 KiB and a body 1 MiB. Anything else is answered 400 and closed.

use serde_json::Value;

use super::auth::Headers;

/// Longest request head, bytes.
pub const HEAD_MAX: usize = 16 << 10;
/// Longest request body, bytes.
pub const BODY_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 64;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Without query string, as it was sent: this is what a client signs.
    pub path: String,
    /// Decoded query parameters.
    pub query: Vec<(String, String)>,
    /// In the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Exactly the bytes sent.
    pub body: Vec<u8>,
    /// False if the connection ends with the answer.
    pub keep_alive: bool,
}

impl Request {
    /// A query parameter that is not empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }
}

impl Headers for Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Why bytes are not a request; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads the first request of a buffer and says how many bytes it took; `None` while it is not whole.
pub fn parse(buffer: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let head_len = match head.parse(buffer) {
        Ok(httparse::Status::Complete(n)) if n <= HEAD_MAX => n,
        Ok(httparse::Status::Partial) if buffer.len() <= HEAD_MAX => return Ok(None),
        Ok(_) => return Err(Malformed("request head too large")),
        Err(_) => return Err(Malformed("malformed request")),
    };
    let target = head.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.split('&').filter(|p| !p.is_empty()).map(pair).collect(),
        headers: Vec::with_capacity(head.headers.len()),
        body: Vec::new(),
        keep_alive: head.version == Some(1),
    };
    for h in head.headers.iter() {
        let value = str::from_utf8(h.value).map_err(|_| Malformed("header is not text"))?;
        request.headers.push((h.name.to_owned(), value.to_owned()));
    }
    if request.header("transfer-encoding").is_some() {
        return Err(Malformed("transfer encodings are not supported"));
    }
    let length = match request.header("content-length") {
        Some(text) => text.parse::<usize>().map_err(|_| Malformed("bad content length"))?,
        None => 0,
    };
    if length > BODY_MAX {
        return Err(Malformed("Payload exceeds the limit"));
    }
    let Some(body) = buffer.get(head_len..head_len + length) else { return Ok(None) };
    request.body = body.to_vec();
    match request.header("connection") {
        Some(c) if c.eq_ignore_ascii_case("close") => request.keep_alive = false,
        Some(c) if c.eq_ignore_ascii_case("keep-alive") => request.keep_alive = true,
        _ => {}
    }
    Ok(Some((request, head_len + length)))
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decoded(name), decoded(value))
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn decoded(text: &str) -> String {
    let digit = |b: &u8| (*b as char).to_digit(16).map(|d| d as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [b, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(high).zip(digit(low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        out.push(escaped.unwrap_or(if *b == b'+' { b' ' } else { *b }));
        rest = if escaped.is_some() { &rest[3..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A body that is not JSON of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// `Content-Type`.
    pub mime: String,
    /// As it is.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// JSON.
    pub body: Value,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Sent in place of the JSON.
    pub raw: Option<Raw>,
}

impl Response {
    /// 200.
    pub fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    /// Any status with a JSON body.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new(), raw: None }
    }

    /// `{"error": text}`.
    pub fn error(status: u16, text: impl ToString) -> Self {
        Self::json(status, serde_json::json!({"error": text.to_string()}))
    }

    /// With a `Retry-After`, if there is one.
    pub fn retry_after(mut self, value: Option<String>) -> Self {
        self.headers.extend(value.map(|v| ("Retry-After", v)));
        self
    }

    /// Writes it.
    pub fn write(&self, keep_alive: bool, out: &mut Vec<u8>) {
        let (mime, body) = match &self.raw {
            Some(raw) => (raw.mime.as_str(), std::borrow::Cow::Borrowed(raw.body.as_slice())),
            None => ("application/json", std::borrow::Cow::Owned(self.body.to_string().into_bytes())),
        };
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            425 => "Too Early",
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "Error",
        };
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {mime}\r\nContent-Length: {}\r\nConnection: {connection}\r\n",
            self.status,
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_one_after_the_other_and_in_pieces() {
        let bytes = b"POST /order?a=1&next_cursor=MA%3D%3D HTTP/1.1\r\nContent-Length: 2\r\nPoly_Key: x\r\n\r\n{}GET /ok HTTP/1.1\r\nConnection: close\r\n\r\n";
        let first_len = bytes.windows(4).position(|w| w == b"GET ").unwrap();
        for cut in 0..bytes.len() {
            let whole = parse(&bytes[..cut]).unwrap();
            assert_eq!(whole.is_some(), cut >= first_len, "cut at {cut}");
        }
        let (first, used) = parse(bytes).unwrap().unwrap();
        assert_eq!((first.path.as_str(), first.body.as_slice()), ("/order", b"{}".as_slice()));
        assert_eq!(first.param("next_cursor"), Some("MA=="));
        assert_eq!(first.header("POLY_KEY"), Some("x"));
        let (second, _) = parse(&bytes[used..]).unwrap().unwrap();
        assert_eq!((second.path.as_str(), second.keep_alive), ("/ok", false));
    }

    #[test]
    fn what_is_not_a_request() {
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; HEAD_MAX]].concat();
        let cases: [&[u8]; 5] = [
            b"\x16\x03\x01\x00\xff hello",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            &long,
        ];
        for case in cases {
            assert!(parse(case).is_err(), "{:?}", String::from_utf8_lossy(&case[..case.len().min(60)]));
        }
    }
}
