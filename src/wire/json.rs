//! JSON read in place into a reused tape, and the few questions that the parsers ask of it. No allocation once warm.

use simd_json::{Buffers, Node, StaticNode, Tape};

/// Deepest nesting taken. The venue's messages have four levels.
const DEPTH_MAX: usize = 32;

/// A reusable parser.
pub struct Reader {
    buffers: Buffers,
    tape: Tape<'static>,
}

impl core::fmt::Debug for Reader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Reader(tape of {} nodes)", self.tape.0.capacity())
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A parser with room for ordinary messages; larger ones grow it once.
    pub fn new() -> Self {
        Self { buffers: Buffers::with_max_depth(64 << 10, DEPTH_MAX), tape: Tape(Vec::with_capacity(16 << 10)) }
    }

    /// Parses `bytes`, which are rewritten where strings have escapes, and gives the value to `read`.
    /// `None` if they are not one JSON value of bounded depth.
    pub fn read<R>(&mut self, bytes: &mut [u8], read: impl FnOnce(Json<'_>) -> R) -> Option<R> {
        let mut tape = core::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = simd_json::fill_tape(bytes, &mut self.buffers, &mut tape);
        let result = parsed.ok().map(|()| read(Json(&tape.0)));
        self.tape = tape.reset();
        result
    }
}

/// One value on the tape.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a [Node<'a>]);

impl<'a> Json<'a> {
    /// A string's text.
    pub fn str(self) -> Option<&'a [u8]> {
        match self.0.first() {
            Some(Node::String(s)) => Some(s.as_bytes()),
            _ => None,
        }
    }

    /// True for `null` and for the empty string, which the venue uses for it.
    pub fn is_void(self) -> bool {
        matches!(self.0.first(), None | Some(Node::Static(StaticNode::Null)) | Some(Node::String("")))
    }

    /// A boolean.
    pub fn bool(self) -> Option<bool> {
        match self.0.first() {
            Some(Node::Static(StaticNode::Bool(b))) => Some(*b),
            _ => None,
        }
    }

    /// A whole number that is not negative, as a number or as decimal text.
    pub fn u64(self) -> Option<u64> {
        match self.0.first()? {
            Node::Static(StaticNode::U64(n)) => Some(*n),
            Node::Static(StaticNode::I64(n)) => u64::try_from(*n).ok(),
            Node::String(s) if s.len() <= 20 && s.bytes().all(|b| b.is_ascii_digit()) => s.parse().ok(),
            _ => None,
        }
    }

    /// The fields of an object, in order.
    pub fn fields(self) -> Option<Fields<'a>> {
        match self.0.split_first() {
            Some((Node::Object { .. }, rest)) => Some(Fields(rest)),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn items(self) -> Option<Items<'a>> {
        match self.0.split_first() {
            Some((Node::Array { .. }, rest)) => Some(Items(rest)),
            _ => None,
        }
    }

    /// One field of an object. For objects that are asked for a field or two.
    pub fn get(self, key: &str) -> Option<Self> {
        self.fields()?.find_map(|(k, v)| (k == key).then_some(v))
    }
}

/// Splits the value that `nodes` begin with from what follows.
fn split_value<'a>(nodes: &'a [Node<'a>]) -> Option<(Json<'a>, &'a [Node<'a>])> {
    let count = match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        _ => 1,
    };
    let (value, rest) = nodes.split_at_checked(count)?;
    Some((Json(value), rest))
}

/// Iterates over an object.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [Node<'a>]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (Node::String(key), rest) = self.0.split_first()? else {
            return None;
        };
        let (value, rest) = split_value(rest)?;
        self.0 = rest;
        Some((key, value))
    }
}

/// Iterates over an array.
#[derive(Clone, Debug)]
pub struct Items<'a>(&'a [Node<'a>]);

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = split_value(self.0)?;
        self.0 = rest;
        Some(value)
    }
}

/// Gives each object of a message to `each`: the message itself, or those of the array that it is.
/// `None` if it is neither; the first error of `each` ends it.
pub fn for_each_object<'a, E>(
    message: Json<'a>,
    mut each: impl FnMut(Fields<'a>) -> Result<(), E>,
) -> Option<Result<(), E>> {
    if let Some(fields) = message.fields() {
        return Some(each(fields));
    }
    for item in message.items()? {
        if let Err(error) = each(item.fields()?) {
            return Some(Err(error));
        }
    }
    Some(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<R>(text: &str, f: impl FnOnce(Json<'_>) -> R) -> Option<R> {
        Reader::new().read(&mut text.as_bytes().to_vec(), f)
    }

    #[test]
    fn fields_and_items_are_walked_across_nested_values() {
        let keys = read(r#"{"a":[1,[2,{"x":3}]],"b":{},"c":"d","e":null}"#, |v| {
            let a: Vec<bool> = v.get("a").unwrap().items().unwrap().map(|i| i.items().is_some()).collect();
            assert_eq!(a, [false, true]);
            assert_eq!(v.get("c").unwrap().str(), Some(&b"d"[..]));
            assert!(v.get("e").unwrap().is_void());
            v.fields().unwrap().map(|(k, _)| k.to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(keys.unwrap(), ["a", "b", "c", "e"]);
    }

    #[test]
    fn whole_numbers_come_as_numbers_or_text() {
        for (text, number) in [
            ("12", Some(12)),
            (r#""12""#, Some(12)),
            ("18446744073709551615", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            (r#""""#, None),
            (r#""+1""#, None),
            (r#""99999999999999999999""#, None),
            ("true", None),
        ] {
            assert_eq!(read(text, |v| v.u64()), Some(number), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "PONG", "{", "[1,]", "{\"a\":1}}", "\"\u{1}\""] {
            assert!(read(text, |_| ()).is_none(), "{text}");
        }
        assert!(Reader::new().read(&mut [b'"', 0xff, b'"'], |_| ()).is_none(), "not UTF-8");
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(read(&deep, |_| ()).is_none(), "nested without end");
    }

    #[test]
    fn a_reader_recovers_from_bad_input() {
        let mut reader = Reader::new();
        assert!(reader.read(&mut b"{\"a\":".to_vec(), |_| ()).is_none());
        assert_eq!(reader.read(&mut b"[7]".to_vec(), |v| v.items().unwrap().next().unwrap().u64()), Some(Some(7)));
    }
}
