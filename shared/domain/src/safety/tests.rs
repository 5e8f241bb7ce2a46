use proptest::prelude::*;

use super::*;

fn rules() -> RuleSet {
    RuleSet::builtin().unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

#[track_caller]
fn finds(rules: &RuleSet, message: &str, expected: Option<Severity>) {
    let finding = rules.screen(message);
    assert_eq!(finding.as_ref().map(|f| f.severity), expected, "{message}: {finding:?}");
}

#[test]
fn intent_a_wish_and_hopelessness_are_told_apart() {
    let rules = rules();
    finds(&rules, "I'm going to kill myself tonight", Some(Severity::Imminent));
    finds(&rules, "i want to die", Some(Severity::High));
    finds(&rules, "everyone would be better off without me", Some(Severity::Moderate));
    finds(&rules, "I slept well and had a nice day.", None);
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
    finds(&rules, "I would never kill myself", None);
    finds(&rules, "I don't want to die", None);
    finds(&rules, "I'm not ok, I want to die", Some(Severity::High));
    finds(&rules, "I can't promise I won't kill myself", Some(Severity::Imminent));
    finds(&rules, "I don't want to live anymore", Some(Severity::High));
    finds(&rules, "I didn't want to bother you but I want to die", Some(Severity::High));
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
        finds(&rules, message, None);
    }
}

#[test]
fn what_a_song_says_is_worth_a_look_and_no_more() {
    let rules = rules();
    finds(&rules, "there is a song that goes \"I want to die\" and I like it", Some(Severity::Low));
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
        static RULES: std::sync::LazyLock<RuleSet> = std::sync::LazyLock::new(rules);
        let _ = RULES.screen(&message);
    }
}

/// The sample was written before the rules were tuned on it: it shows that nothing got worse, not how well the rules
/// do on messages that nobody has seen.
#[test]
fn the_labelled_sample_is_judged_as_well_as_it_was() {
    let sample = include_str!("../../../safety/labelled.jsonl");
    let messages: Vec<Labelled> =
        sample.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(messages.len() > 300);
    let evaluation = Evaluation::of(&rules(), &messages);
    for severity in Severity::ALL {
        let recall = evaluation.recall(severity).unwrap();
        assert!(recall >= 0.98, "{}: {recall}; {:?}", severity.name(), evaluation.misses);
    }
    assert!(evaluation.specificity().unwrap() >= 0.99, "{:?}", evaluation.misses);
}
