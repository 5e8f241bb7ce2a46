//! The AI of a platform that has none configured: believable answers from a script, the same every time,
//! without a network, at the pace of somebody who types.

use std::time::Duration;

use serde_json::{Map, json};
use tokio::time::sleep;

use super::{
    Answer, Failure, Heard, Pieces, Promise, Provider, Question, Sound, Speaker, Speech, estimate,
};

const THINKING: Duration = Duration::from_millis(350);
const WORD: Duration = Duration::from_millis(55);

/// The first words of a message that match decide; each topic has several answers.
const TOPICS: [(&[&str], &[&str]); 7] = [
    (
        &["hello", "hi", "hey", "good morning", "good evening", "hallo", "hola", "bonjour"],
        &[
            "Hello, it is good to hear from you. How has your day been so far?",
            "Hi there. I am glad you are here. What is on your mind today?",
        ],
    ),
    (
        &["sleep", "slept", "tired", "exhausted", "insomnia"],
        &[
            "Sleep touches everything else. What does the last hour before you go to bed look like?",
            "Being tired makes every load heavier. When did you last feel rested, and what was different then?",
        ],
    ),
    (
        &["work", "job", "boss", "deadline", "colleague", "exam", "school"],
        &[
            "That sounds like a lot to carry at once. Which part of it weighs the most right now?",
            "Work can take up all the room there is. What would a slightly better week look like?",
        ],
    ),
    (
        &["anxious", "anxiety", "worried", "worry", "panic", "nervous", "stress"],
        &[
            "Thank you for telling me. Let us slow down for a moment: where in your body do you notice it first?",
            "Worry likes to speak about everything at the same time. Can we look at just one of the things it says?",
        ],
    ),
    (
        &["sad", "lonely", "alone", "cry", "crying", "down", "miss"],
        &[
            "I am sorry it feels this heavy. Would you like to tell me when it began?",
            "That sounds painful, and it makes sense that it hurts. Who in your life knows how you are doing?",
        ],
    ),
    (
        &["thank", "thanks", "better", "good", "well", "great", "happy"],
        &[
            "That is good to hear. What helped, do you think?",
            "I am glad. It is worth remembering what made this possible.",
        ],
    ),
    (
        &["what", "how", "why", "when", "can", "could", "should"],
        &[
            "That is a fair question. Before I offer anything, what have you tried so far?",
            "I could suggest a few things, but you know your situation best. What feels possible today?",
        ],
    ),
];

const ANYTHING: [&str; 4] = [
    "I hear you. Could you tell me a little more about that?",
    "Thank you for sharing this with me. What matters most to you in it?",
    "Let me make sure I understand: what would you like to be different?",
    "That is worth a closer look. What happened just before?",
];

/// What the script hears; it has no ears.
const HEARD: [&str; 3] = [
    "I slept well and wanted to tell somebody.",
    "It has been a long week, but today is better.",
    "Could we talk about what happened at work?",
];

#[derive(Clone, Copy, Debug)]
pub struct Scripted {
    thinking: Duration,
    word: Duration,
}

impl Default for Scripted {
    fn default() -> Self {
        Self { thinking: THINKING, word: WORD }
    }
}

impl Scripted {
    async fn recite(&self, question: &Question, pieces: &Pieces) -> Result<Answer, Failure> {
        let text = reply(question);
        sleep(self.thinking).await;
        for (at, piece) in text.split_inclusive(' ').enumerate() {
            if at > 0 {
                sleep(self.word + self.word.mul_f64(pause_behind(&text, at))).await;
            }
            // Nobody listening means that the attempt is over.
            let _ = pieces.send(piece.to_owned()).await;
        }
        let mut object = Map::new();
        object.insert("response".to_owned(), json!(text));
        object.insert("crisis_detected".to_owned(), json!(false));
        let usage = estimate(question, &text);
        Ok(Answer { object, text, model: Some("scripted-1".to_owned()), usage })
    }
}

impl Provider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn answer<'a>(&'a self, question: &'a Question, pieces: &'a Pieces) -> Promise<'a, Answer> {
        Box::pin(self.recite(question, pieces))
    }

    fn hear<'a>(&'a self, speech: &'a Speech) -> Promise<'a, Heard> {
        Box::pin(async move {
            sleep(self.thinking).await;
            let text = choose(&HEARD, hash(&speech.sound)).to_owned();
            Ok(Heard { text, reply: None })
        })
    }

    fn speak<'a>(&'a self, text: &'a str) -> Promise<'a, Option<Sound>> {
        Box::pin(async move { Ok(Some(tune(text))) })
    }
}

fn reply(question: &Question) -> String {
    let text = question.text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let said = |keys: &[&str]| {
        keys.iter().any(|key| words.contains(key) || key.contains(' ') && text.contains(key))
    };
    let seed = hash(question.text.as_bytes());
    let topic = TOPICS.iter().find(|(keys, _)| said(keys));
    let answers: &[&str] = topic.map_or(&ANYTHING, |(_, answers)| answers);
    let answer = choose(answers, seed);
    // The same words twice in a row are not believable.
    let last = question.history.iter().rev().find(|turn| turn.speaker == Speaker::Ai);
    if last.is_some_and(|turn| turn.text == answer) {
        return choose(&ANYTHING, seed.wrapping_add(1)).to_owned();
    }
    answer.to_owned()
}

/// Longer behind a sentence than behind a word.
fn pause_behind(text: &str, word: usize) -> f64 {
    let before = text.split_inclusive(' ').nth(word.saturating_sub(1)).unwrap_or_default();
    if before.trim_end().ends_with(['.', '?', ':', ',']) { 3.0 } else { 0.2 }
}

fn choose<'a>(from: &[&'a str], seed: u64) -> &'a str {
    let at = usize::try_from(seed).unwrap_or(0) % from.len().max(1);
    from.get(at).copied().unwrap_or_default()
}

/// FNV-1a: the same on every machine and in every version.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A quiet tone as long as the text, in a WAV file: 8 kHz, 8 bits.
fn tune(text: &str) -> Sound {
    let samples = u32::try_from(text.len().clamp(10, 160)).unwrap_or(160) * 100;
    let mut wav = Vec::with_capacity(44 + samples as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16u32.to_le_bytes());
    for half in [1u16, 1] {
        wav.extend_from_slice(&half.to_le_bytes());
    }
    for rate in [8_000u32, 8_000] {
        wav.extend_from_slice(&rate.to_le_bytes());
    }
    for half in [1u16, 8] {
        wav.extend_from_slice(&half.to_le_bytes());
    }
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&samples.to_le_bytes());
    wav.extend((0..samples).map(|at| if at / 18 % 2 == 0 { 136 } else { 120 }));
    Sound { content_type: "audio/wav".to_owned(), data: wav.into() }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::providers::Turn;

    fn question(text: &str, history: Vec<Turn>) -> Question {
        Question {
            conversation: "c".into(),
            user: "7".into(),
            message: "m".into(),
            request_id: "r".into(),
            idempotency_key: "k".into(),
            text: text.into(),
            system: String::new(),
            history,
            crisis_text: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pieces_make_up_the_answer_and_every_run_says_the_same() {
        let asked = question("I slept badly", Vec::new());
        let mut runs = Vec::new();
        for _ in 0..2 {
            let (pieces, mut heard) = mpsc::channel(64);
            let answer = Scripted::default().answer(&asked, &pieces).await.unwrap();
            heard.close();
            let mut all = String::new();
            while let Some(piece) = heard.recv().await {
                all.push_str(&piece);
            }
            assert_eq!(all, answer.text);
            assert_eq!(answer.object["response"], answer.text);
            runs.push(all);
        }
        assert_eq!(runs[0], runs[1]);
        assert!(runs[0].contains("tired") || runs[0].contains("Sleep"), "{}", runs[0]);
    }

    #[test]
    fn it_does_not_repeat_itself_at_once() {
        let first = reply(&question("hello", Vec::new()));
        let said = Turn { speaker: Speaker::Ai, text: first.clone() };
        assert_ne!(reply(&question("hello", vec![said])), first);
    }

    #[test]
    fn its_voice_is_a_file_that_players_know() {
        let sound = tune("Hello");
        assert_eq!(&sound.data[..4], b"RIFF");
        let size = u32::from_le_bytes(sound.data[40..44].try_into().unwrap());
        assert_eq!(sound.data.len(), 44 + size as usize);
    }
}
