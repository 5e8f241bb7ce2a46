use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Made ready once for all tests.
fn rules() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| RuleSet::builtin().unwrap_or_else(|mistakes| panic!("{mistakes:#?}")));
    &RULES
}

#[track_caller]
fn finds(rules: &RuleSet, message: &str, expected: Option<Severity>) {
    let finding = rules.screen(message);
    assert_eq!(finding.as_ref().map(|f| f.severity), expected, "{message}: {finding:?}");
}

#[test]
fn intent_a_wish_and_hopelessness_are_told_apart() {
    let rules = rules();
    finds(rules, "I'm going to kill myself tonight", Some(Severity::Imminent));
    finds(rules, "i want to die", Some(Severity::High));
    finds(rules, "everyone would be better off without me", Some(Severity::Moderate));
    finds(rules, "I slept well and had a nice day.", None);
}

#[test]
fn spelling_tricks_do_not_hide_a_message() {
    let rules = rules();
    for message in [
        "k1ll myself",
        "K I L L  M Y S E L F",
        "kіll mуself",
        "I wanna diiiie",
        "killmyself",
        "su*cide thoughts",
    ] {
        assert!(rules.screen(message).is_some(), "{message}");
    }
}

#[test]
fn a_negation_takes_back_what_follows_it_in_its_clause_only() {
    let rules = rules();
    finds(rules, "I would never kill myself", None);
    finds(rules, "I don't want to die", None);
    finds(rules, "I'm not ok, I want to die", Some(Severity::High));
    finds(rules, "I can't promise I won't kill myself", Some(Severity::Imminent));
    finds(rules, "I don't want to live anymore", Some(Severity::High));
    finds(rules, "I didn't want to bother you but I want to die", Some(Severity::High));
}

#[test]
fn idioms_and_titles_mean_no_harm() {
    let rules = rules();
    for message in [
        "I'm dying to see that movie",
        "mom is gonna kill me when she sees this",
        "that cake is to die for",
        "we watched Suicide Squad",
        "just killing time until the bus comes",
    ] {
        finds(rules, message, None);
    }
}

#[test]
fn what_a_song_says_is_worth_a_look_and_no_more() {
    let rules = rules();
    finds(rules, "there is a song that goes \"I want to die\" and I like it", Some(Severity::Low));
}

#[test]
fn other_languages_are_heard_too() {
    let rules = rules();
    for message in [
        "Ich will mich umbringen",
        "me quiero morir",
        "je veux mourir",
        "quero me matar",
        "main marna chahta hu",
        "मैं मरना चाहता हूँ",
    ] {
        assert!(rules.screen(message) >= Some(finding_of(Severity::High)), "{message}");
    }
}

fn finding_of(severity: Severity) -> Finding {
    Finding { severity, signals: Vec::new() }
}

impl PartialOrd for Finding {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.severity.partial_cmp(&other.severity)
    }
}

#[test]
fn a_finding_names_what_was_told_and_never_holds_the_text() {
    let finding = rules().screen("I want to kill myself, I bought pills to die").unwrap();
    assert_eq!(finding.severity, Severity::Imminent);
    assert!(finding.signals.contains(&"suicidal_intent".to_owned()), "{finding:?}");
    assert!(!format!("{finding:?}").contains("pills"));
}

#[test]
fn an_operators_file_takes_the_place_of_the_one_with_its_name_and_mistakes_are_told_together() {
    let own = "language = \"en\"\nversion = 7\n[[rule]]\nsignal = \"code\"\nseverity = \"high\"\npatterns = [\"blue moon\"]";
    let rules = RuleSet::load(&[("en.toml".to_owned(), own.to_owned())]).ok().unwrap();
    finds(&rules, "it is a blue moon", Some(Severity::High));
    finds(&rules, "i want to kill myself", None);
    assert!(rules.version().contains("en-7"), "{}", rules.version());

    let broken = "language = \"x\"\nversion = 1\n[[rule]]\nsignal = \"a\"\nseverity = \"low\"\npatterns = [\"(\", \"{nowhere}\"]";
    let mistakes = RuleSet::load(&[("x.toml".to_owned(), broken.to_owned())]).err().unwrap();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

proptest! {
    #[test]
    fn any_text_is_screened(message in "\\PC{0,200}") {
        let _ = rules().screen(&message);
    }
}

#[test]
fn a_negation_that_governs_something_else_hides_nothing() {
    let rules = rules();
    for message in [
        "I'm not joking I'm going to kill myself",
        "my mom doesn't know I want to kill myself",
        "without you I'm going to kill myself",
        "ich lüge nicht ich will mich umbringen",
        "je ne plaisante pas je vais me tuer",
    ] {
        finds(rules, message, Some(Severity::Imminent));
    }
    finds(rules, "nobody knows I want to die", Some(Severity::High));
    finds(rules, "I never sleep and want to die", Some(Severity::High));
}

#[test]
fn a_negation_at_a_distance_lowers_by_a_step_and_never_takes_back() {
    let rules = rules();
    finds(rules, "do not laugh kill myself", Some(Severity::High));
    finds(rules, "no sleep want to die", Some(Severity::Moderate));
    finds(rules, "I have never really wanted to kill myself", None);
}

#[test]
fn a_word_for_a_source_is_no_quotation() {
    let rules = rules();
    for message in [
        "I will show them, I am going to kill myself tonight",
        "my work report is late and I want to kill myself",
        "the lyrics go: \"I will hang myself tonight\"",
    ] {
        finds(rules, message, Some(Severity::Imminent));
    }
    finds(rules, "\"I want to die\" is all I can think. He said \"stop\"", Some(Severity::High));
    finds(rules, "he wrote \"I want to die\" on his desk", Some(Severity::Moderate));
    finds(rules, "there is a song that says i want to die", Some(Severity::Low));
}

#[test]
fn an_idiom_excuses_only_what_it_covers_whole() {
    let rules = rules();
    finds(rules, "I want to die for real", Some(Severity::High));
    finds(rules, "I am going to end it with a gun", Some(Severity::Imminent));
    finds(rules, "I cut myself on the arms", Some(Severity::High));
    finds(rules, "my husband is going to kill me tonight", Some(Severity::High));
    finds(rules, "dead serious, I'm going to kill myself", Some(Severity::Imminent));
    finds(rules, "I cut myself on the can lid", None);
}

#[test]
fn what_stands_at_the_end_of_the_longest_message_is_heard() {
    let message = format!("{} I want to kill myself", "so it goes. ".repeat(10_000));
    finds(rules(), &message, Some(Severity::Imminent));
}

#[test]
fn no_message_takes_long_however_it_is_made() {
    let rules = rules();
    for piece in
        ["kms ", "I would never kms ", "not i want to die ", "\"kms\" ", "will want to need to "]
    {
        let message = piece.repeat(64 * 1024 / piece.len());
        let began = std::time::Instant::now();
        let _ = rules.screen(&message);
        // A thousand times what an optimised build takes on a quiet machine; work that grows with the square is slower.
        assert!(
            began.elapsed() < std::time::Duration::from_secs(20),
            "{piece}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn a_negation_takes_back_no_more_than_its_own_time_and_not_what_is_said_again() {
    let rules = rules();
    for message in [
        "I would not hang myself today but tomorrow I might",
        "I never said I would not hang myself",
        "Heute bringe ich mich nicht um, aber morgen bestimmt",
        "Hoy no me voy a matar, pero mañana sí",
    ] {
        finds(rules, message, Some(Severity::Imminent));
    }
    finds(rules, "I would not hang myself until my dog is dead", Some(Severity::High));
    finds(rules, "I would not hang myself, but I will ask for help", None);
    finds(rules, "No me voy a matar, mañana voy al médico", None);
}

#[test]
fn a_quotation_that_the_writer_means_is_their_own() {
    let rules = rules();
    finds(rules, "the film says I want to die and I mean it", Some(Severity::High));
    finds(rules, "the film says I want to die. Me too", Some(Severity::High));
    finds(rules, "my new poem says I want to die", Some(Severity::Moderate));
    finds(rules, "the film says I want to die, I mean it is a sad one", Some(Severity::Low));
}

#[test]
fn a_means_at_hand_with_an_end_in_sight_is_a_plan_and_one_without_is_none() {
    let rules = rules();
    for message in [
        "the pills are here and I am going to swallow all of them",
        "on the ledge now. forgive me",
        "Ich habe 40 Tabletten geschluckt",
        "J'ai avalé cinquante comprimés",
        "me tomé 60 pastillas",
        "tomei quarenta comprimidos",
        "maine 40 goliyan kha li",
    ] {
        finds(rules, message, Some(Severity::Imminent));
    }
    for message in [
        "I will take all of the pills with breakfast",
        "on the ledge sits a bird, forgive me the photo",
        "Ich habe 2 Tabletten geschluckt",
        "J'ai avalé deux comprimés",
    ] {
        finds(rules, message, None);
    }
}

const DOCUMENT: &str = include_str!("../../../../docs/SAFETY.md");

fn messages(sample: &str) -> Vec<Labelled> {
    sample.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rules were tuned on the sample: it shows that nothing got worse, not how well they do on messages that nobody
/// has seen.
#[test]
fn the_labelled_sample_is_judged_as_well_as_it_was() {
    let messages = messages(include_str!("../../../safety/labelled.jsonl"));
    assert!(messages.len() > 700);
    let evaluation = Evaluation::of(rules(), &messages);
    for severity in Severity::ALL {
        let recall = evaluation.recall(severity).unwrap();
        assert!(recall >= 0.995, "{}: {recall}; {:?}", severity.name(), evaluation.misses);
    }
    assert!(evaluation.specificity().unwrap() >= 0.995, "{:?}", evaluation.misses);
    let rows = Severity::ALL.map(|it| (it.name(), evaluation.recall(it).unwrap()));
    let alone = ("left alone where nothing is", evaluation.specificity().unwrap());
    for (name, share) in rows.into_iter().chain([alone]) {
        let share = format!("{:.1}", share * 100.0).replace(".0", "");
        let row = format!("| {name} | {share} % |");
        assert!(DOCUMENT.contains(&row), "docs/SAFETY.md does not say {row}");
    }
    let [.., imminent] = evaluation.matrix;
    assert_eq!(imminent[..3], [0; 3], "who is about to die is a crisis: {:?}", evaluation.misses);
}

/// Written before the rules as they are, and worked through since: what was found stays found.
#[test]
fn the_held_out_sample_is_judged_as_well_as_it_was() {
    let messages = messages(include_str!("../../../safety/held_out.jsonl"));
    let evaluation = Evaluation::of(rules(), &messages);
    for severity in Severity::ALL {
        let recall = evaluation.recall(severity).unwrap();
        assert!(recall >= 0.97, "{}: {recall}; {:?}", severity.name(), evaluation.misses);
    }
    assert!(evaluation.specificity().unwrap() >= 0.97, "{:?}", evaluation.misses);
}
