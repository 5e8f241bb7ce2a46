//! One spelling for what people write in many: case, accents, look-alike letters, digits for letters. What comes out is
//! words between single spaces, with ` . `, ` , ` and ` : ` between clauses and ` " ` for quotes. It must not know what
//! is looked for.

use icu_normalizer::DecomposingNormalizer;

use super::look_alikes::{dressed, is_foreign, is_unseen, letter};

/// A piece of a broken word has at most so many letters.
const SHORT: usize = 3;

/// How a message is spelt, where that can be seen in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Spelling {
    /// A one or a bar may be an `l`, and a mark inside of a word a letter: `ki11`, `k!ll`.
    pub(super) tall: bool,
    /// A line's end and three dots are a pause and end nothing.
    pub(super) breathless: bool,
    /// Digits and letters of other scripts are Latin letters, however few of those stand beside them: `d13`, `dіе`.
    pub(super) masked: bool,
    /// A mark between two letters is in the way and parts nothing: `su-icide`.
    pub(super) unbroken: bool,
}

/// A letter in brackets without them: it would fall apart into three characters.
fn bare(c: char) -> char {
    match c {
        '⒜'..='⒵' => char::from_u32(u32::from(c) - 0x249c + 0x61).unwrap_or(c),
        _ => c,
    }
}

pub(super) fn plain(message: &str, spelling: Spelling) -> String {
    let text = String::with_capacity(message.len() + 16);
    let mut writing =
        Writing { text, word: String::new(), letters: 0, foreign: 0, odd: false, spelling };
    writing.text.push(' ');
    if message.is_ascii() {
        writing.write(message.chars());
    } else {
        // Some apostrophes fall apart into a space and an accent where they are decomposed.
        let whole = message.chars().filter(|c| !is_apostrophe(*c)).map(bare);
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

/// Whether letters of another script stand in it, or a digit behind a letter that may be one.
pub(super) fn may_be_masked(message: &str) -> bool {
    let masks = |byte: u8| matches!(byte, b'0' | b'1' | b'3' | b'4' | b'5' | b'7' | b'@' | b'$');
    message.as_bytes().windows(2).any(|it| it[0].is_ascii_alphabetic() && masks(it[1]))
        || (!message.is_ascii() && message.chars().any(is_foreign))
}

/// Whether a mark stands inside of a word, and a piece beside it is too short for a word of its own.
pub(super) fn may_be_broken(message: &str) -> bool {
    let bytes = message.as_bytes();
    let is_short = |letters: usize| (1..=SHORT).contains(&letters);
    (1..bytes.len().saturating_sub(1)).any(|at| {
        is_break(char::from(bytes[at])) && {
            let before = letters(bytes[..at].iter().rev());
            let after = letters(bytes[at + 1..].iter());
            before > 0 && after > 0 && (is_short(before) || is_short(after))
        }
    })
}

/// The letters with which these begin, as far as they matter.
fn letters<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take(SHORT + 1).take_while(|byte| byte.is_ascii_alphabetic()).count()
}

/// Marks that people put into a word to hide it.
const fn is_break(c: char) -> bool {
    matches!(c, '-' | '*' | '.' | '_' | '/' | '~' | '+' | '=' | '^' | '#' | '\\' | '·' | '•')
}

const fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | '`' | '´' | 'ʼ' | 'ʹ' | '′' | '‛' | '＇')
}

/// Vowel signs and the like, without which words of some scripts fall apart.
const fn is_sign_of_a_script(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{97f}' | '\u{64b}'..='\u{65f}')
}

struct Writing {
    text: String,
    word: String,
    /// Latin letters in the word.
    letters: usize,
    /// Letters of other scripts in it that look like Latin ones.
    foreign: usize,
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
                _ if self.is_in_the_way(c, characters.peek()) => {}
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
            _ if is_unseen(c) || is_apostrophe(c) => {}
            '.' | '!' | '?' | ';' | '\n' | '\u{2028}' | '\u{2029}' | '…' | '।' | '¿' | '¡' => {
                self.mark('.')
            }
            ',' | '،' | '(' | ')' => self.mark(','),
            ':' => self.mark(':'),
            '"' | '“' | '”' | '„' | '«' | '»' => self.mark('"'),
            // These stand for letters where they are inside of a word.
            '*' | '@' | '$' | '€' => self.push_odd(c),
            'æ' | 'Æ' => self.push_letters("ae"),
            'œ' | 'Œ' => self.push_letters("oe"),
            _ => self.sign(c),
        }
    }

    fn sign(&mut self, c: char) {
        if let Some(letter) = c.to_lowercase().next().and_then(dressed) {
            self.word.push(letter);
            self.letters += 1;
        } else if c.is_alphanumeric() || is_sign_of_a_script(c) || is_foreign(c) {
            c.to_lowercase().for_each(|c| {
                self.foreign += usize::from(is_foreign(c) && letter(c) != c);
                self.push_odd(c);
            });
        } else {
            self.end_word();
        }
    }

    fn push_letters(&mut self, letters: &str) {
        self.word.push_str(letters);
        self.letters += letters.len();
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

    fn is_in_the_way(&self, c: char, next: Option<&char>) -> bool {
        self.spelling.unbroken
            && is_break(c)
            && !self.word.is_empty()
            && next.is_some_and(|next| next.is_alphabetic())
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
        if self.odd && self.is_latin() {
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
        (self.letters, self.foreign, self.odd) = (0, 0, false);
    }

    /// Whether what stands beside Latin letters in the word is there in the place of some.
    fn is_latin(&self) -> bool {
        let Spelling { tall, masked, .. } = self.spelling;
        match self.letters {
            0 => masked && (self.foreign > 0 || self.word.len() <= 2),
            1 => tall || masked || self.foreign > 0,
            _ => true,
        }
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
