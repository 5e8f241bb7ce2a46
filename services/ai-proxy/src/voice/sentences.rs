//! A long text in parts that a service speaks in one go, cut where a sentence ends.
//!
//! Pure.

/// The most characters of one part; services take little more.
const MOST: usize = 4_000;

/// The parts together are the text, but for white space between them.
pub(super) fn parts(text: &str) -> Vec<&str> {
    let (mut rest, mut parts) = (text.trim(), Vec::new());
    while let Some((limit, _)) = rest.char_indices().nth(MOST) {
        let end = end_of_sentence(&rest[..limit]).unwrap_or(limit);
        parts.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Behind the last sentence, else behind the last word; `None` for one that never ends.
fn end_of_sentence(text: &str) -> Option<usize> {
    let ends = |(at, letter): &(usize, char)| {
        let is_end = matches!(letter, '.' | '!' | '?' | '\n' | '\u{3002}' | '\u{0964}');
        is_end && text[at + letter.len_utf8()..].chars().next().is_none_or(char::is_whitespace)
    };
    let sentence = text.char_indices().rev().find(ends);
    let word = || text.char_indices().rev().find(|(_, letter)| letter.is_whitespace());
    let (at, letter) = sentence.or_else(word)?;
    Some(at + letter.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_where_sentences_end() {
        let text = "It is a long story, 1.5 hours of it. ".repeat(300);
        let parts = parts(&text);
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|it| it.len() <= MOST && it.ends_with("of it.")), "{parts:?}");
        assert_eq!(parts.join(" "), text.trim());
    }

    #[test]
    fn what_has_no_sentences_is_cut_at_words_and_what_has_no_words_anywhere() {
        assert!(parts(&"word ".repeat(2_000)).iter().all(|it| it.ends_with("word")));
        let endless = "\u{e4}".repeat(10_000);
        assert_eq!(parts(&endless).concat(), endless);
        assert!(parts(&endless).iter().all(|it| it.chars().count() <= MOST));
    }

    #[test]
    fn a_short_text_is_one_part_and_nothing_is_none() {
        assert_eq!(parts(" Hello. You? "), ["Hello. You?"]);
        assert!(parts(" ").is_empty());
    }
}
