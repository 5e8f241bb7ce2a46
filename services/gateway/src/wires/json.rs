//! JSON as clients write it. Pure.
//!
//! A string of JavaScript may hold half of a character (a text that was cut in the middle of an emoji), and
//! `JSON.stringify` writes it as an escape that is no text to anybody else. Stock servers take it, so it is read as the
//! character that stands for what cannot be told; one message must not cost its sender the connection.

use serde::de::DeserializeOwned;

/// Escaped, as it was: a text holds it in no other way.
const REPLACEMENT: &str = "\\ufffd";
/// `\uXXXX`
const ESCAPE: usize = 6;

/// What can be read at once costs nothing more than reading it.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match mended(text) {
        Some(mended) => serde_json::from_str(&mended),
        None => Err(error),
    })
}

/// The text with a replacement for each half of a surrogate pair that stands alone; `None` where there is none.
fn mended(text: &str) -> Option<String> {
    let mut mended = String::new();
    // Up to `kept` everything is in `mended`; up to `at` everything has been looked at.
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = text.get(at..)?.find('\\') {
        at += found;
        match unit(text, at) {
            Some(0xD800..=0xDBFF) if matches!(unit(text, at + ESCAPE), Some(0xDC00..=0xDFFF)) => {
                at += 2 * ESCAPE;
            }
            Some(0xD800..=0xDFFF) => {
                mended.push_str(text.get(kept..at)?);
                mended.push_str(REPLACEMENT);
                at += ESCAPE;
                kept = at;
            }
            Some(_) => at += ESCAPE,
            // Whatever it escapes, the next character begins no escape of its own.
            None => at += 1 + text.get(at + 1..)?.chars().next().map_or(0, char::len_utf8),
        }
    }
    if kept == 0 {
        return None;
    }
    mended.push_str(text.get(kept..)?);
    Some(mended)
}

/// The UTF-16 unit that is escaped here.
fn unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(read::<String>(text).ok().as_deref(), Some(expected), "{text}");
    }

    #[test]
    fn half_of_a_character_is_read_as_one_that_cannot_be_told() {
        check(r#""a\ud800b""#, "a\u{fffd}b");
        check(r#""\uDC00""#, "\u{fffd}");
        check(r#""\ud800\ud83d\ude00\udc00""#, "\u{fffd}\u{1f600}\u{fffd}");
        check(r#""\ud800\n\\ud800""#, "\u{fffd}\n\\ud800");
        check(r#""\u00e4\ud83d""#, "\u{e4}\u{fffd}");
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in
            ["", "{", r#""\ud8""#, r#""\ud800"#, r#""\"#, r#"{"a":"\ud800",}"#, r#""\u+d80""#]
        {
            assert!(read::<Value>(text).is_err(), "{text}");
        }
        assert_eq!(mended(r#"{"a":"\ud83d\ude00 \\ud800 \u00e4"}"#), None);
    }
}
