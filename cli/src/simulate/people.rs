//! Believable names, numbers and texts. Numbers come from ranges that are kept for fiction.

use rand::RngExt as _;
use rand::rngs::StdRng;

const NAMES: [&str; 10] = [
    "Asha Rao",
    "Ben Okafor",
    "Carla Jimenez",
    "Deniz Kaya",
    "Elif Arslan",
    "Farid Haddad",
    "Grace Lin",
    "Hugo Martin",
    "Ines Costa",
    "Jonas Weber",
];

const TEXTS: [&str; 10] = [
    "Hi, is my appointment tomorrow still on?",
    "Could you send me the invoice again please",
    "Thanks, that worked!",
    "What are your opening hours on Saturday?",
    "I would like to change my delivery address",
    "The link in the last message does not open",
    "Yes please",
    "Can somebody call me back this afternoon?",
    "How much is the yearly plan?",
    "Great, see you then",
];

pub(crate) fn pick<'a, T: ?Sized>(random: &mut StdRng, from: &[&'a T]) -> &'a T {
    from[random.random_range(0..from.len())]
}

pub(crate) fn name(random: &mut StdRng) -> &'static str {
    pick(random, &NAMES)
}

pub(crate) fn text(random: &mut StdRng) -> &'static str {
    pick(random, &TEXTS)
}

/// A number in North America's fictional range.
pub(crate) fn phone(random: &mut StdRng) -> String {
    let area = pick(random, &["212", "312", "415", "503", "617"]);
    format!("+1{area}5550{:03}", random.random_range(100..200))
}

pub(crate) fn hex(random: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(b"0123456789abcdef"[random.random_range(0..16)])).collect()
}
