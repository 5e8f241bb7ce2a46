//! Characters that are read as a Latin letter because they look like one. It must not know of words.

/// The letter that a character always stands for: small capitals, phonetic and crossed letters, letters in black
/// circles and boxes, those of which flags are made. No language of the rules writes anything else with them.
pub(super) fn dressed(c: char) -> Option<char> {
    let boxed = |first: u32| char::from_u32(u32::from('a') + u32::from(c) - first);
    match c {
        '\u{1f150}'..='\u{1f169}' => boxed(0x1f150),
        '\u{1f170}'..='\u{1f189}' => boxed(0x1f170),
        '\u{1f1e6}'..='\u{1f1ff}' => boxed(0x1f1e6),
        '\u{180}'..='\u{2af}' | '\u{f8}' | '\u{111}'..='\u{167}' => crossed(c),
        '\u{1d00}'..='\u{1d22}' | '\u{a730}' | '\u{a731}' => small_capital(c),
        _ => None,
    }
}

const fn small_capital(c: char) -> Option<char> {
    Some(match c {
        'ᴀ' => 'a',
        'ᴄ' => 'c',
        'ᴅ' => 'd',
        'ᴇ' => 'e',
        'ꜰ' => 'f',
        'ᴊ' => 'j',
        'ᴋ' => 'k',
        'ᴍ' => 'm',
        'ᴏ' => 'o',
        'ᴘ' => 'p',
        'ꜱ' => 's',
        'ᴛ' => 't',
        'ᴜ' => 'u',
        'ᴠ' => 'v',
        'ᴡ' => 'w',
        'ᴢ' => 'z',
        _ => return None,
    })
}

const fn crossed(c: char) -> Option<char> {
    Some(match c {
        'ɑ' | 'ɐ' => 'a',
        'ʙ' | 'ɓ' | 'ƀ' => 'b',
        'ɕ' | 'ƈ' => 'c',
        'đ' | 'ɖ' | 'ɗ' => 'd',
        'ǝ' | 'ə' | 'ɘ' | 'ɛ' => 'e',
        'ƒ' => 'f',
        'ɡ' | 'ɠ' | 'ɢ' => 'g',
        'ħ' | 'ɥ' | 'ɦ' | 'ʜ' => 'h',
        'ı' | 'ɨ' | 'ɩ' | 'ɪ' => 'i',
        'ɟ' | 'ʝ' => 'j',
        'ƙ' | 'ʞ' => 'k',
        'ł' | 'ƚ' | 'ɫ' | 'ɭ' | 'ʟ' => 'l',
        'ɯ' | 'ɱ' => 'm',
        'ŋ' | 'ƞ' | 'ɲ' | 'ɳ' | 'ɴ' => 'n',
        'ø' | 'ɔ' | 'ɵ' => 'o',
        'ƥ' => 'p',
        'ɹ' | 'ɼ' | 'ɽ' | 'ɾ' | 'ʀ' => 'r',
        'ʂ' | 'ʃ' => 's',
        'ŧ' | 'ƭ' | 'ʇ' | 'ʈ' => 't',
        'ʉ' | 'ʊ' => 'u',
        'ʋ' | 'ʌ' => 'v',
        'ʍ' => 'w',
        'ƴ' | 'ʎ' | 'ʏ' => 'y',
        'ƶ' | 'ʐ' => 'z',
        _ => return None,
    })
}

/// The Latin letter that a character in a Latin word stands for: digits, marks, and letters of other scripts.
pub(super) const fn letter(c: char) -> char {
    match c {
        '0' | 'о' | 'ο' | 'σ' | 'օ' => 'o',
        '1' | 'і' | 'ι' | 'เ' => 'i',
        '3' | 'е' | '€' | 'ε' | 'є' | 'э' | '∈' | '℮' => 'e',
        '4' | '@' | 'а' | 'α' | 'ค' => 'a',
        '5' | '$' | 'ѕ' | 'ร' => 's',
        '7' | 'т' | 'τ' => 't',
        'в' | 'β' | 'ь' => 'b',
        'с' | 'ϲ' | 'ς' | '⊂' => 'c',
        'ԁ' | '∂' | 'δ' | '๔' => 'd',
        'ғ' => 'f',
        'ց' => 'g',
        'н' | 'һ' | 'հ' => 'h',
        'ј' => 'j',
        'к' | 'κ' | 'қ' => 'k',
        'ӏ' => 'l',
        'м' | 'μ' => 'm',
        'п' | 'η' | 'ո' | 'ภ' => 'n',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' | 'я' => 'r',
        'υ' | 'ц' | 'ս' | 'ย' => 'u',
        'ν' | 'ѵ' => 'v',
        'ω' | 'ԝ' | 'ш' | 'щ' | 'ฬ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' | 'ү' => 'y',
        'ζ' => 'z',
        _ => c,
    }
}

/// Letters of which no word of the languages of the rules is written, and which look like those that are.
pub(super) const fn is_foreign(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{58f}' | '\u{e00}'..='\u{e7f}' | '∂' | '∈' | '⊂' | '℮')
}

/// What is not seen: accents and strokes through letters, zero-width characters, directions, variations, fillers.
pub(super) const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}
