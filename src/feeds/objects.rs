//! Step 1 of 9: the objects of a message: a message is one object, or an array of them.
//!
//! Sockets may be given the same objects in other batches, so each object is compared, read and given out by itself.

/// Calls `each` with every object of a message, in order. A message that is no array is one object, whatever it is.
/// Errors: the brackets of an array do not close, or something that is no object stands in it: nothing is given out.
pub fn for_each(message: &mut [u8], each: &mut impl FnMut(&mut [u8])) -> Result<(), NotAList> {
    let start = message.len() - message.trim_ascii_start().len();
    if message.get(start) != Some(&b'[') {
        each(message);
        return Ok(());
    }
    // Twice over the bytes: an array is rare, and half of one must never be given out.
    walk(message, start + 1, &mut |_, _, _| ())?;
    walk(message, start + 1, &mut |message, from, to| each(&mut message[from..to]))
}

/// An array whose parts cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAList;

fn walk(message: &mut [u8], from: usize, each: &mut impl FnMut(&mut [u8], usize, usize)) -> Result<(), NotAList> {
    let (mut at, mut wants_object) = (from, false);
    loop {
        match message.get(at).ok_or(NotAList)? {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'{' => {
                let end = object_end(message, at).ok_or(NotAList)?;
                // Reading an object may rewrite its bytes, but none outside of it.
                each(message, at, end);
                at = end;
                let rest = &message[at..];
                at += rest.len() - rest.trim_ascii_start().len();
                match message.get(at) {
                    Some(b',') => (at, wants_object) = (at + 1, true),
                    Some(b']') => wants_object = false,
                    _ => return Err(NotAList),
                }
            }
            b']' if !wants_object && message[at + 1..].trim_ascii().is_empty() => return Ok(()),
            _ => return Err(NotAList),
        }
    }
}

/// One past the brace that closes the object at `at`.
fn object_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (n, byte) in bytes[at..].iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + n + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_apart_and_everything_else_stays_whole() {
        let table: [(&str, Option<&[&str]>); 14] = [
            (r#"{"a":1}"#, Some(&[r#"{"a":1}"#])),
            ("PONG", Some(&["PONG"])),
            ("", Some(&[""])),
            ("[]", Some(&[])),
            (" [ ] ", Some(&[])),
            (r#"[{"a":[1,{}]} , {"b":"]}\"{"}]"#, Some(&[r#"{"a":[1,{}]}"#, r#"{"b":"]}\"{"}"#])),
            ("[{},{}", None),
            ("[{},]", None),
            ("[{}{}]", None),
            ("[7]", None),
            ("[[{}]]", None),
            ("[{]", None),
            ("[{}] x", None),
            ("[", None),
        ];
        for (message, parts) in table {
            let mut found = Vec::new();
            let mut bytes = message.as_bytes().to_vec();
            let read = for_each(&mut bytes, &mut |o| found.push(String::from_utf8(o.to_vec()).unwrap()));
            match parts {
                Some(parts) => {
                    assert_eq!((read, found.iter().map(String::as_str).collect::<Vec<_>>()), (Ok(()), parts.to_vec()))
                }
                None => assert_eq!((read, found.len()), (Err(NotAList), 0), "{message}"),
            }
        }
    }
}
