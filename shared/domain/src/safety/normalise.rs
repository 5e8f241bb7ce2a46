//! One spelling for what people write in many: case, accents, look-alike letters, digits for letters, stretched and
//! spaced-out words. What comes out is words between single spaces, ` . ` and ` , ` between clauses, ` " ` for quotes.

use icu_normalizer::DecomposingNormalizer;

/// Longer messages are read to here; a person's message is far shorter.
const MOST: usize = 16 * 1024;
/// This many single letters in a row are one word spelt out.
const SPELT_OUT: usize = 4;

/// The ways a message may be read, the plain one first; mostly there is no other.
pub(super) fn readings(message: &str) -> Vec<String> {
    let plain = plain(clip(message));
    let mut readings = vec![plain];
    for change in [unstretched, joined] {
        let other = change(&readings[0]);
        if !readings.contains(&other) {
            readings.push(other);
        }
    }
    readings
}

fn clip(message: &str) -> &str {
    let mut end = message.len().min(MOST);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

fn plain(message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 16);
    text.push(' ');
    let mut word = String::new();
    for c in DecomposingNormalizer::new_nfkd().normalize_iter(message.chars()) {
        match c {
            // Accents, and what is not seen: soft hyphens, zero-width characters, directions, variations.
            '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' => {}
            '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{fe0f}' | '\u{feff}' => {}
            '\'' | '’' | '‘' | '`' | '´' | 'ʼ' => {}
            '.' | '!' | '?' | ';' | ':' | '\n' | '…' | '।' | '¿' | '¡' => {
                mark(&mut text, &mut word, '.');
            }
            ',' | '،' | '(' | ')' => mark(&mut text, &mut word, ','),
            '"' | '“' | '”' | '„' | '«' | '»' => mark(&mut text, &mut word, '"'),
            // These stand for letters where they are inside of a word.
            '*' | '@' | '$' | '1' | '0' | '3' | '4' | '5' | '7' => word.push(c),
            _ if c.is_alphanumeric() || is_sign_of_a_script(c) => word.extend(c.to_lowercase()),
            _ => end_word(&mut text, &mut word),
        }
    }
    end_word(&mut text, &mut word);
    text
}

/// Vowel signs and the like, without which words of some scripts fall apart.
fn is_sign_of_a_script(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{97f}' | '\u{64b}'..='\u{65f}' | '\u{20e3}')
}

fn mark(text: &mut String, word: &mut String, mark: char) {
    end_word(text, word);
    text.push(mark);
    text.push(' ');
}

fn end_word(text: &mut String, word: &mut String) {
    if word.chars().filter(|c| c.is_ascii_lowercase()).count() >= 2 {
        text.extend(word.chars().map(letter));
    } else {
        text.push_str(word);
    }
    if !word.is_empty() {
        text.push(' ');
    }
    word.clear();
}

/// The Latin letter that a character in a Latin word stands for.
fn letter(c: char) -> char {
    match c {
        '0' | 'о' => 'o',
        '1' | 'і' => 'i',
        '3' | 'е' => 'e',
        '4' | '@' | 'а' => 'a',
        '5' | '$' | 'ѕ' => 's',
        '7' => 't',
        'р' => 'p',
        'с' => 'c',
        'у' => 'y',
        'х' => 'x',
        'к' => 'k',
        _ => c,
    }
}

/// `diiiie` as `die`: a letter that stands three times or more stands once.
fn unstretched(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut short = String::with_capacity(text.len());
    let mut rest = &characters[..];
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|c| **c == first).count();
        let kept = if run >= 3 && first.is_alphabetic() { 1 } else { run };
        short.extend(std::iter::repeat_n(first, kept));
        rest = &rest[run..];
    }
    short
}

/// `k i l l` as `kill`; dots and stars between the letters count as spaces.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut letters: Vec<&str> = Vec::new();
    let close = |letters: &mut Vec<&str>, joined: &mut String| {
        let between = if letters.len() >= SPELT_OUT { "" } else { " " };
        joined.push_str(&letters.join(between));
        if !letters.is_empty() {
            joined.push(' ');
        }
        letters.clear();
    };
    joined.push(' ');
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    for (at, word) in words.iter().enumerate() {
        let next_is_letter = words.get(at + 1).is_some_and(|next| is_letter(next));
        if is_letter(word) {
            letters.push(word);
        } else if !(is_filler(word) && !letters.is_empty() && next_is_letter) {
            close(&mut letters, &mut joined);
            joined.push_str(word);
            joined.push(' ');
        }
    }
    close(&mut letters, &mut joined);
    joined
}

fn is_letter(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(char::is_alphabetic) && characters.next().is_none()
}

fn is_filler(word: &str) -> bool {
    matches!(word, "." | "*" | ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(message: &str, expected: &str) {
        let readings = readings(message);
        assert!(readings.iter().any(|text| text.trim() == expected), "{readings:?}");
    }

    #[test]
    fn spelling_tricks_read_like_the_plain_word() {
        reads("I don’t want to LIVE", "i dont want to live");
        reads("k1ll my$elf", "kill myself");
        reads("su\u{200b}icide", "suicide");
        reads("kіll mуself", "kill myself");
        reads("I want to diiiieeee", "i want to die");
        reads("k i l l myself", "kill myself");
        reads("k.i.l.l myself", "kill myself");
        reads("ＫＩＬＬ", "kill");
        reads("Quiero morír", "quiero morir");
    }

    #[test]
    fn clauses_and_quotes_stay_apart() {
        reads("No. I \"quit\", ok", "no . i \" quit \" , ok");
    }

    #[test]
    fn numbers_stay_numbers_and_other_scripts_stay_themselves() {
        reads("call 911 in 45 min", "call 911 in 45 min");
        reads("я хочу спать", "я хочу спать");
        reads("मैं मरना चाहता हूँ", "मैं मरना चाहता हूँ");
    }

    #[test]
    fn a_very_long_message_is_clipped_at_a_character() {
        assert!(readings(&"ä".repeat(40_000))[0].len() <= MOST + 2);
    }
}
