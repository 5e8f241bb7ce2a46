//! What the screen costs: messages in a second on one core over the labelled samples, the slowest of them, and texts
//! that are made to be slow.
//!
//! `cargo run --release -p domain --example screen_bench` (seconds, if not five).
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use domain::safety::{Labelled, RuleSet};

const SAMPLES: [&str; 2] =
    [include_str!("../../safety/labelled.jsonl"), include_str!("../../safety/held_out.jsonl")];
/// As long as a message may be.
const LONGEST: usize = 64 * 1024;
/// Pieces that repeat what is looked for, take it back, or nearly say it.
const HOSTILE: [&str; 8] = [
    "kms ",
    "I would never kms ",
    "\"kms\" ",
    "not i want to die ",
    "going to want to need to will ",
    "kiiill!!11 ",
    "nooose my my my a lot of pills ",
    "a b c d e ",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |it| it.parse())?;
    let began = Instant::now();
    let rules = RuleSet::builtin().map_err(|mistakes| format!("{mistakes:?}"))?;
    println!("{} patterns, ready after {:?}", rules.len(), began.elapsed());
    let lines = SAMPLES.iter().flat_map(|sample| sample.lines());
    let messages: Vec<Labelled> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let innocent: Vec<_> = messages.iter().filter(|it| it.severity.is_none()).collect();
    rate(&rules, "labelled messages", &messages.iter().collect::<Vec<_>>(), seconds);
    rate(&rules, "of them, those that tell of nothing", &innocent, seconds);
    slowest(&rules, &messages);
    for piece in HOSTILE {
        let text = piece.repeat(LONGEST / piece.len());
        println!("{:>8.1?}  64 KiB of {piece:?}", best(&rules, &text));
    }
    Ok(())
}

fn rate(rules: &RuleSet, what: &str, messages: &[&Labelled], seconds: u64) {
    let (began, mut screened) = (Instant::now(), 0_usize);
    while began.elapsed() < Duration::from_secs(seconds) {
        for message in messages {
            black_box(rules.screen(&message.text));
        }
        screened += messages.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let rate = screened as f64 / began.elapsed().as_secs_f64();
    println!("{rate:>8.0} messages/s on one core: {} {what}", messages.len());
}

fn slowest(rules: &RuleSet, messages: &[Labelled]) {
    let timed = messages.iter().map(|message| (best(rules, &message.text), message.text.len()));
    let slowest = timed.max().unwrap_or_default();
    println!("{:>8.1?}  the slowest labelled message, of {} bytes", slowest.0, slowest.1);
}

/// The best of some tries, so that what else the machine does is left out.
fn best(rules: &RuleSet, text: &str) -> Duration {
    let tries = (0..5).map(|_| {
        let began = Instant::now();
        black_box(rules.screen(text));
        began.elapsed()
    });
    tries.min().unwrap_or_default()
}
