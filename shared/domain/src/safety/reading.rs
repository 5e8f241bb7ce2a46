//! The ways a message may be read: as it is written, and with stretched, spelt-out or disguised words made plain.
//!
//! Every way is the whole message: what stands at its end counts as much as what stands at its beginning.

use super::look_alikes::letter;
use super::normalise::{
    Spelling, may_be_breathless, may_be_broken, may_be_masked, may_be_tall, plain,
};

/// This many single letters in a row are one word spelt out.
const SPELT_OUT: usize = 3;
/// So many marks between two of them part nothing: `(d)(i)(e)`.
const FILLERS: usize = 2;

/// A text of words between single spaces, and where in it quotation marks stood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    pub(super) text: String,
    /// Where the word behind each mark begins. The marks themselves are out of the way: they may not tear a
    /// statement apart.
    pub(super) quotes: Vec<usize>,
}

/// The plain one first; mostly there is no other.
pub(super) fn readings(message: &str) -> Vec<Reading> {
    let mut texts = vec![plain(message, Spelling::default())];
    if may_be_tall(message) {
        add(&mut texts, plain(message, Spelling { tall: true, ..Spelling::default() }));
    }
    if may_be_masked(message) {
        add(&mut texts, plain(message, Spelling { masked: true, ..Spelling::default() }));
    }
    if may_be_broken(message) {
        add(&mut texts, plain(message, Spelling { unbroken: true, ..Spelling::default() }));
    }
    if is_spelt_out(&texts[0]) {
        let (whole, apart) = (joined(&texts[0], false), joined(&texts[0], true));
        add(&mut texts, whole);
        add(&mut texts, apart);
    }
    for at in 0..texts.len() {
        if is_stretched(&texts[at]) {
            for kept in [once, spoken, doubled] {
                let short = shortened(&texts[at], kept);
                add(&mut texts, short);
            }
        }
    }
    if may_be_breathless(message) {
        add(&mut texts, plain(message, Spelling { breathless: true, ..Spelling::default() }));
    }
    texts.into_iter().map(Reading::of).collect()
}

fn add(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

impl Reading {
    fn of(marked: String) -> Self {
        if !marked.contains('"') {
            return Self { text: marked, quotes: Vec::new() };
        }
        let mut reading = Self { text: String::with_capacity(marked.len()), quotes: Vec::new() };
        for (number, piece) in marked.split("\" ").enumerate() {
            if number > 0 {
                reading.quotes.push(reading.text.len());
            }
            reading.text.push_str(piece);
        }
        reading
    }
}

fn is_stretched(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pair = |it: &[u8]| it[0] == it[1] && matches!(it[0], b'i' | b'u');
    !text.is_ascii()
        || bytes.windows(2).any(pair)
        || bytes
            .windows(3)
            .any(|it| it[0] == it[1] && it[1] == it[2] && it[0].is_ascii_alphabetic())
        || bytes
            .windows(6)
            .any(|it| it[0] == it[1] && it[2] == it[3] && it[4] == it[5] && it[1] != it[2])
}

/// A text with its runs of one letter cut to what `kept` says of the letter and the run.
fn shortened(text: &str, kept: impl Fn(char, usize) -> usize) -> String {
    let mut short = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        let mut run = 1;
        while characters.next_if_eq(&first).is_some() {
            run += 1;
        }
        let kept = if run > 1 && first.is_alphabetic() { kept(first, run) } else { run };
        short.extend(std::iter::repeat_n(first, kept));
    }
    short
}

/// `diiiie` and `diie` as `die`.
fn once(letter: char, run: usize) -> usize {
    if run > 2 || matches!(letter, 'i' | 'u') { 1 } else { run }
}

/// `kiiilllll` as `kill` and `feeeeel` as `feel`: letters that are written twice stay so.
fn spoken(letter: char, run: usize) -> usize {
    if matches!(letter, 'i' | 'u' | 'y') { 1 } else { run.min(2) }
}

/// `ddiiee` as `die`.
const fn doubled(_: char, _: usize) -> usize {
    1
}

/// Whether single letters stand in a row, with nothing but marks between.
fn is_spelt_out(text: &str) -> bool {
    let (mut run, mut fillers) = (0, 0);
    text.split_ascii_whitespace().any(|word| {
        if is_letter(word) {
            (run, fillers) = (run + 1, 0);
        } else {
            fillers += 1;
            if !is_filler(word) || fillers > FILLERS {
                run = 0;
            }
        }
        run >= SPELT_OUT
    })
}

/// `k i l l` as `kill`; dots and stars between the letters count as spaces. With `apart`, a letter that is a word of
/// its own at either end stays one: `i d i e`.
fn joined(text: &str, apart: bool) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mut joined = String::with_capacity(text.len());
    let mut letters = String::new();
    joined.push(' ');
    for (at, word) in words.iter().enumerate() {
        if is_letter(word) {
            letters.push_str(word);
        } else if letters.is_empty() || !is_filler(word) || !goes_on(&words[at..]) {
            close(&mut letters, apart, &mut joined);
            joined.push_str(word);
            joined.push(' ');
        }
    }
    close(&mut letters, apart, &mut joined);
    joined
}

/// Whether a letter follows the fillers with which these words begin.
fn goes_on(words: &[&str]) -> bool {
    let next = words.iter().take(FILLERS + 1).find(|word| !is_filler(word));
    next.is_some_and(|next| is_letter(next))
}

fn close(letters: &mut String, apart: bool, joined: &mut String) {
    let own = |c: &char| apart && matches!(c, 'i' | 'a' | 'y' | 'o');
    let mut inner: Vec<char> = letters.chars().collect();
    let first = inner.first().copied().filter(own).map(|_| inner.remove(0));
    let last = inner.last().copied().filter(own).and_then(|_| inner.pop());
    let is_word =
        inner.len() >= SPELT_OUT && inner.iter().filter(|c| c.is_alphabetic()).count() > 1;
    let pieces: Vec<String> = if is_word {
        let word = inner.into_iter().map(letter).collect();
        first.map(String::from).into_iter().chain([word]).chain(last.map(String::from)).collect()
    } else {
        letters.chars().map(String::from).collect()
    };
    for piece in pieces {
        joined.push_str(&piece);
        joined.push(' ');
    }
    letters.clear();
}

/// A letter, or a digit that may be one.
fn is_letter(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(|c| letter(c).is_alphabetic()) && characters.next().is_none()
}

fn is_filler(word: &str) -> bool {
    matches!(word, "." | "*" | "," | ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(message: &str, expected: &str) {
        let readings = readings(message);
        assert!(readings.iter().any(|it| it.text == format!(" {expected} . ")), "{readings:?}");
    }

    #[test]
    fn spelling_tricks_read_like_the_plain_word() {
        reads("I don’t want to LIVE", "i dont want to live");
        reads("k1ll my$elf", "kill myself");
        reads("k!ll, su!cide", "kill , suicide");
        reads("ki11 and k!11 and k1l1", "kill and kill and kill");
        reads("su\u{200b}icide", "suicide");
        reads("kіll mуself", "kill myself");
        reads("I want to diiiieeee", "i want to die");
        reads("diie", "die");
        reads("kiiiillll", "kill");
        reads("k i l l myself", "kill myself");
        reads("k.i.l.l myself", "kill myself");
        reads("ＫＩＬＬ", "kill");
        reads("Quiero morír", "quiero morir");
        reads("I don´t, I can´t", "i dont , i cant");
    }

    #[test]
    fn letters_in_any_dress_are_read() {
        for dressed in [
            "ɪ ᴡᴀɴᴛ ᴛᴏ ᴅɪᴇ",
            "ｉ ｗａｎｔ ｔｏ ｄｉｅ",
            "𝕀 𝕨𝕒𝕟𝕥 𝕥𝕠 𝕕𝕚𝕖",
            "Ⓘ ⓦⓐⓝⓣ ⓣⓞ ⓓⓘⓔ",
            "i want to 🅓🅘🅔",
            "i want to 🅳🅸🅴",
            "i want to ⒟⒤⒠",
            "i want to 🇩 🇮 🇪",
            "I want to ᵈⁱᵉ",
            "І wаnt tо dіе",
            "ι ωαηт тσ ∂ιє",
            "I want to d̶i̶e̶",
            "i want to d\u{2060}i\u{fe0e}e",
            "1 w4n7 70 d13",
            "i want to ddiiee",
        ] {
            reads(dressed, "i want to die");
        }
    }

    #[test]
    fn marks_and_spaces_within_a_word_do_not_hide_it() {
        for broken in ["d i e", "d.i.e", "d-i-e", "d_i_e", "d*i*e", "d / i / e", "d,i,e", "d-ie"] {
            reads(&format!("i want to {broken}"), "i want to die");
        }
        reads("i d i e", "i die");
        reads("su-icide", "suicide");
        reads("s u 1 c 1 d e", "suicide");
    }

    #[test]
    fn letters_that_are_no_word_stay_apart() {
        reads("plan b or c", "plan b or c");
        reads("a well-known band", "a well known band");
        assert_eq!(readings("a well-known band, plan b or c").len(), 1);
    }

    #[test]
    fn clauses_stay_apart_and_quotes_are_remembered() {
        reads("No. I quit, ok: fine", "no . i quit , ok : fine");
        let quoted = &readings("I \"quit\" now")[0];
        assert_eq!((quoted.text.as_str(), &quoted.quotes[..]), (" i quit now . ", &[3, 8][..]));
    }

    #[test]
    fn numbers_stay_numbers_and_other_scripts_stay_themselves() {
        reads("call 911 in 45 min", "call 911 in 45 min");
        reads("я хочу спать", "я хочу спать");
        reads("मैं मरना चाहता हूँ", "मैं मरना चाहता हूँ");
    }

    #[test]
    fn a_pause_is_not_always_an_end() {
        reads("I want to... die", "i want to die");
        reads("I want\nto die", "i want to die");
    }

    #[test]
    fn a_very_long_message_is_read_to_its_end() {
        let message = format!("{} end", "ä".repeat(40_000));
        assert!(readings(&message).iter().all(|it| it.text.ends_with(" end . ")));
    }

    #[test]
    fn an_ordinary_message_is_read_once() {
        assert_eq!(readings("I feel so much better today! See you at 10:30.").len(), 1);
    }
}
