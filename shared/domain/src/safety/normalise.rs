//! One spelling for what people write in many: case, accents, look-alike letters, digits for letters. What comes out is
//! words between single spaces, with ` . `, ` , ` and ` : ` between clauses and ` " ` for quotes. It must not know what
//! is looked for.

use icu_normalizer::DecomposingNormalizer;

/// How a message is spelt, where that can be seen in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Spelling {
    /// A one or a bar may be an `l`, and a mark inside of a word a letter: `ki11`, `k!ll`.
    pub(super) tall: bool,
    /// A line's end and three dots are a pause and end nothing.
    pub(super) breathless: bool,
}

pub(super) fn plain(message: &str, spelling: Spelling) -> String {
    let text = String::with_capacity(message.len() + 16);
    let mut writing = Writing { text, word: String::new(), letters: 0, odd: false, spelling };
    writing.text.push(' ');
    if message.is_ascii() {
        writing.write(message.chars());
    } else {
        // Some apostrophes fall apart into a space and an accent where they are decomposed.
        let whole = message.chars().filter(|c| !is_apostrophe(*c));
        writing.write(DecomposingNormalizer::new_nfkd().normalize_iter(whole));
    }
    writing.text
}

/// Whether a one, a bar or an exclamation mark stands inside of a word.
pub(super) fn may_be_tall(message: &str) -> bool {
    let stroke = |byte: u8| matches!(byte, b'1' | b'!' | b'|');
    message.contains('¡')
        || message.as_bytes().windows(3).any(|it| {
            stroke(it[1])
                && (it[0].is_ascii_alphabetic() || stroke(it[0]))
                && (it[2].is_ascii_alphabetic() || stroke(it[2]))
        })
}

pub(super) fn may_be_breathless(message: &str) -> bool {
    message.contains("..") || message.contains(['\n', '…'])
}

const fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | '`' | '´' | 'ʼ' | 'ʹ' | '′' | '‛' | '＇')
}

/// Vowel signs and the like, without which words of some scripts fall apart.
const fn is_sign_of_a_script(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{97f}' | '\u{64b}'..='\u{65f}' | '\u{20e3}')
}

struct Writing {
    text: String,
    word: String,
    /// Latin letters in the word.
    letters: usize,
    /// Whether anything else stands in the word.
    odd: bool,
    spelling: Spelling,
}

impl Writing {
    fn write(&mut self, characters: impl Iterator<Item = char>) {
        let mut characters = characters.peekable();
        while let Some(c) = characters.next() {
            match c {
                'a'..='z' | 'A'..='Z' => {
                    self.word.push(c.to_ascii_lowercase());
                    self.letters += 1;
                }
                ' ' => self.end_word(),
                '!' | '|' | '¡' if self.is_inside(characters.peek()) => self.push_odd(c),
                '.' if self.spelling.breathless && characters.peek() == Some(&'.') => {
                    while characters.next_if_eq(&'.').is_some() {}
                    self.end_word();
                }
                '\n' | '…' if self.spelling.breathless => self.end_word(),
                _ => self.other(c),
            }
        }
        // The end ends a clause as well, so that a pattern can ask for it.
        self.mark('.');
    }

    fn other(&mut self, c: char) {
        match c {
            // Accents, and what is not seen: soft hyphens, zero-width characters, directions, variations.
            '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' => {}
            '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{fe0f}' | '\u{feff}' => {}
            _ if is_apostrophe(c) => {}
            '.' | '!' | '?' | ';' | '\n' | '…' | '।' | '¿' | '¡' => self.mark('.'),
            ',' | '،' | '(' | ')' => self.mark(','),
            ':' => self.mark(':'),
            '"' | '“' | '”' | '„' | '«' | '»' => self.mark('"'),
            // These stand for letters where they are inside of a word.
            '*' | '@' | '$' | '€' => self.push_odd(c),
            _ if c.is_alphanumeric() || is_sign_of_a_script(c) => {
                c.to_lowercase().for_each(|c| self.push_odd(c));
            }
            _ => self.end_word(),
        }
    }

    fn push_odd(&mut self, c: char) {
        self.word.push(c);
        self.odd = true;
    }

    fn is_inside(&self, next: Option<&char>) -> bool {
        let goes_on =
            next.is_some_and(|next| next.is_alphanumeric() || matches!(next, '!' | '|' | '¡'));
        self.spelling.tall && self.letters > 0 && goes_on
    }

    fn mark(&mut self, mark: char) {
        self.end_word();
        self.text.push(mark);
        self.text.push(' ');
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let tall = self.spelling.tall;
        if self.odd && self.letters + usize::from(tall) >= 2 {
            let mut before = ' ';
            for c in self.word.chars() {
                before = if tall { stroke(c, before) } else { letter(c) };
                self.text.push(before);
            }
        } else {
            self.text.push_str(&self.word);
        }
        self.text.push(' ');
        self.word.clear();
        (self.letters, self.odd) = (0, false);
    }
}

/// A stroke as the letter that it can be behind another: `k1l1` and `k!11` are both `kill`.
fn stroke(c: char, before: char) -> char {
    match c {
        '!' | '¡' => 'i',
        '1' | '|' if matches!(before, 'a' | 'e' | 'i' | 'l' | 'o') => 'l',
        '|' => 'i',
        _ => letter(c),
    }
}

/// The Latin letter that a character in a Latin word stands for.
const fn letter(c: char) -> char {
    match c {
        '0' | 'о' | 'ο' => 'o',
        '1' | 'і' | 'ι' | 'ı' | 'ɪ' => 'i',
        '3' | 'е' | '€' | 'ε' | 'ᴇ' => 'e',
        '4' | '@' | 'а' | 'α' | 'ᴀ' => 'a',
        '5' | '$' | 'ѕ' => 's',
        '7' => 't',
        'р' | 'ρ' => 'p',
        'с' => 'c',
        'у' => 'y',
        'х' => 'x',
        'к' | 'κ' | 'ᴋ' => 'k',
        'ʟ' | 'ӏ' => 'l',
        'ԁ' | 'ᴅ' => 'd',
        'м' | 'ᴍ' => 'm',
        _ => c,
    }
}
