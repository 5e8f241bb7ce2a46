//! `throughline safety evaluate`: how well the screen's rules do on labelled messages, so that a tenant can judge and
//! tune them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use domain::safety::{Evaluation, Labelled, Miss, RuleSet, Severity};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::table::{aligned, line, write_out};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the confusion matrix, the recall per severity and the misses of labelled messages
    #[command(
        after_help = "Each line of the file is a JSON object: {\"text\":\"…\",\"severity\":\"none|low|moderate|high|imminent\"}, \
                      with `case` and `language` if you like.\n\
                      The screen is a safety net. No figure here claims clinical accuracy."
    )]
    Evaluate(Evaluate),
}

#[derive(Debug, clap::Args)]
struct Evaluate {
    /// Labelled messages, one JSON object a line
    labelled: PathBuf,
    /// Folder of rule files that add to the built-in ones or take their place
    #[arg(long, env = "SAFETY_DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    rules: Option<PathBuf>,
    /// Show the texts of the misses, which may be sensitive
    #[arg(long)]
    texts: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Command::Evaluate(arguments) = arguments.command;
    let rules = rules(arguments.rules.as_deref().filter(|it| !it.as_os_str().is_empty()))?;
    let messages = messages(&arguments.labelled)?;
    let evaluation = Evaluation::of(&rules, &messages);
    if arguments.json {
        return line(&as_json(&evaluation, &messages, &rules, arguments.texts).to_string());
    }
    write_out(as_text(&evaluation, &messages, &rules, arguments.texts).as_bytes())
}

fn rules(folder: Option<&Path>) -> Result<RuleSet, Failure> {
    let files = folder.map(runtime::config::toml_files).transpose();
    let files = files.map_err(|error| Failure::failed("reading the folder of rules", error))?;
    let files: Vec<_> = files
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| name != domain::safety::RESOURCES_FILE)
        .collect();
    RuleSet::load(&files).map_err(|mistakes| {
        Failure::Configuration(runtime::config::Mistakes(
            mistakes.iter().map(ToString::to_string).collect(),
        ))
    })
}

fn messages(path: &Path) -> Result<Vec<Labelled>, Failure> {
    let what = format!("reading {}", path.display());
    let file = std::fs::File::open(path).map_err(|error| Failure::failed(&what, error))?;
    let mut messages = Vec::new();
    for (number, text) in BufReader::new(file).lines().enumerate() {
        let text = text.map_err(|error| Failure::failed(&what, error))?;
        if text.trim().is_empty() {
            continue;
        }
        let message = serde_json::from_str(&text).map_err(|error| {
            Failure::Usage(format!("{}, line {}: {error}", path.display(), number + 1))
        })?;
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(Failure::Usage(format!("{} holds no messages", path.display())));
    }
    Ok(messages)
}

fn as_text(evaluation: &Evaluation, messages: &[Labelled], rules: &RuleSet, texts: bool) -> String {
    let mut rows = vec![
        ["labelled \\ found", "none", "low", "moderate", "high", "imminent"].map(str::to_owned),
    ];
    for (label, row) in classes().into_iter().zip(evaluation.matrix) {
        let [none, low, moderate, high, imminent] = row.map(|count| count.to_string());
        rows.push([name(label).to_owned(), none, low, moderate, high, imminent]);
    }
    let mut text = format!("{} messages, rules {}\n\n", messages.len(), rules.version());
    text.push_str(&aligned(&rows));
    text.push('\n');
    let mut figures: Vec<[String; 2]> = Severity::ALL
        .into_iter()
        .rev()
        .map(|severity| {
            [format!("recall, {}", severity.name()), percent(evaluation.recall(severity))]
        })
        .collect();
    figures.push(["left alone where nothing is".to_owned(), percent(evaluation.specificity())]);
    figures.push(["right where something is found".to_owned(), percent(evaluation.precision())]);
    text.push_str(&aligned(&figures));
    if !evaluation.misses.is_empty() {
        text.push_str(&format!("\n{} judged otherwise than labelled:\n", evaluation.misses.len()));
        let rows: Vec<_> =
            evaluation.misses.iter().map(|miss| row(miss, messages, texts)).collect();
        text.push_str(&aligned(&rows));
    }
    text.push_str(
        "\nA safety net, to be judged on your own messages; no claim of clinical accuracy.\n",
    );
    text
}

fn row(miss: &Miss, messages: &[Labelled], texts: bool) -> [String; 4] {
    let message = &messages[miss.index];
    [
        format!("  message {}", miss.index + 1),
        format!("{} -> {}", name(miss.expected), name(miss.found)),
        message.case.clone(),
        if texts { message.text.clone() } else { String::new() },
    ]
}

fn as_json(evaluation: &Evaluation, messages: &[Labelled], rules: &RuleSet, texts: bool) -> Value {
    let recall: serde_json::Map<_, _> = Severity::ALL
        .into_iter()
        .map(|severity| (severity.name().to_owned(), json!(evaluation.recall(severity))))
        .collect();
    let miss = |miss: &Miss| {
        let message = &messages[miss.index];
        json!({
            "message": miss.index + 1,
            "labelled": name(miss.expected),
            "found": name(miss.found),
            "case": message.case,
            "text": texts.then_some(&message.text),
        })
    };
    json!({
        "messages": messages.len(),
        "rules": rules.version(),
        "classes": classes().map(name),
        "matrix": evaluation.matrix,
        "recall": recall,
        "specificity": evaluation.specificity(),
        "precision": evaluation.precision(),
        "misses": evaluation.misses.iter().map(miss).collect::<Vec<_>>(),
    })
}

fn classes() -> [Option<Severity>; 5] {
    let [low, moderate, high, imminent] = Severity::ALL;
    [None, Some(low), Some(moderate), Some(high), Some(imminent)]
}

fn name(severity: Option<Severity>) -> &'static str {
    severity.map_or("none", Severity::name)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(text: &str, severity: &str) -> Labelled {
        serde_json::from_value(json!({ "text": text, "severity": severity })).unwrap()
    }

    #[test]
    fn texts_are_shown_only_on_request() {
        let messages = [labelled("i want to die", "none"), labelled("hello", "high")];
        let rules = rules(None).unwrap();
        let evaluation = Evaluation::of(&rules, &messages);
        let quiet = as_text(&evaluation, &messages, &rules, false);
        assert!(quiet.contains("none -> high") && quiet.contains("high -> none"), "{quiet}");
        assert!(!quiet.contains("want to die"), "{quiet}");
        assert!(as_text(&evaluation, &messages, &rules, true).contains("want to die"));
        assert_eq!(as_json(&evaluation, &messages, &rules, false)["matrix"][0][3], 1);
    }
}
