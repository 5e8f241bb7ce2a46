//! Takes a row apart that was written by a fold: quicker than reading JSON from elsewhere, since it is known to be
//! well formed and in order. What looks otherwise is left to the careful way.

use std::borrow::Cow;

type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// `None` for what a fold does not write.
pub(super) fn fields(row: &[u8]) -> Option<Fields<'_>> {
    let text = std::str::from_utf8(row).ok()?;
    let mut fields: Fields<'_> = Vec::with_capacity(24);
    let mut at = 1;
    if row.first() != Some(&b'{') || row.last() != Some(&b'}') {
        return None;
    }
    while row.get(at) == Some(&b'"') {
        let name = at + 1..string_end(row, at)? - 1;
        // A name with escapes is not borrowed.
        let name = text.get(name).filter(|name| !name.contains('\\'))?;
        at += name.len() + 2;
        if row.get(at) != Some(&b':') {
            return None;
        }
        let end = value_end(row, at + 1)?;
        if fields.last().is_some_and(|(last, _)| &**last >= name) {
            return None;
        }
        fields.push((Cow::Borrowed(name), Cow::Borrowed(text.get(at + 1..end)?)));
        at = match row.get(end)? {
            b',' => end + 1,
            _ => end,
        };
    }
    (at + 1 == row.len()).then_some(fields)
}

/// Behind the string that begins here.
fn string_end(row: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match row.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Behind the value that begins here.
fn value_end(row: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match row.get(at)? {
            b'"' => at = string_end(row, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b',' | b'}' if depth == 0 => return (at > start).then_some(at),
            _ => at += 1,
        }
    }
}
