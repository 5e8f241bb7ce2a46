//! What the log says of every alert: whether somebody was called in time, and whose it was.
//! Shares no code with the services.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::Admin;

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Unix milliseconds, by the log's clock.
    pub(crate) at: i64,
    pub(crate) kind: String,
    pub(crate) data: Json,
}

/// All events of alerts, in the log's order, by alert.
pub(crate) async fn stories(admin: &Admin) -> BTreeMap<String, Vec<Step>> {
    let stream = admin.stream("CRISIS").await;
    let last = admin.state("CRISIS").await.last_sequence;
    let mut stories: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for sequence in 1..=last {
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        let kind = message.headers.get("ce-type").map(ToString::to_string).unwrap_or_default();
        let data: Json = serde_json::from_slice(&message.payload).unwrap();
        let told = ["crisis.rejected", "crisis.unchanged"].contains(&&*kind);
        let Some(alert) = data["alertId"].as_str().map(str::to_owned) else { continue };
        if !told {
            let at = (message.time.unix_timestamp_nanos() / 1_000_000) as i64;
            stories.entry(alert).or_default().push(Step { at, kind, data });
        }
    }
    stories
}

/// How long beyond its deadline each step was waited for.
#[derive(Default, Debug)]
pub(crate) struct Verdict {
    pub(crate) late: Vec<Duration>,
    pub(crate) answered: usize,
    pub(crate) escalated: usize,
    pub(crate) reopened: usize,
}

impl Verdict {
    /// Fails for an alert that had two owners, or was closed by nobody.
    pub(crate) fn take(&mut self, alert: &str, story: &[Step], within: [Duration; 2]) {
        let mut owner: Option<String> = None;
        let mut due: Option<i64> = None;
        let mut step = 0;
        let text = |story: &Step, name: &str| story.data[name].as_str().map(str::to_owned);
        assert_eq!(story[0].kind, "crisis.alert", "{alert}: {story:?}");
        for event in story {
            let is_step = !event.kind.starts_with("crisis.page.");
            if let (true, Some(due)) = (is_step, due) {
                let late = u64::try_from(event.at - due).unwrap_or(0);
                self.late.push(Duration::from_millis(late));
            }
            match &*event.kind {
                "crisis.alert" => assert_eq!(step, 0, "{alert} was raised twice"),
                "crisis.escalated" => {
                    let next = event.data["step"].as_u64().unwrap();
                    assert!(next > step, "{alert}: step {next} was called again");
                    step = next;
                    self.escalated += 1;
                }
                "crisis.assigned" => {
                    let before = text(event, "previous");
                    assert_eq!(owner, before, "{alert} had an owner already: {story:?}");
                    owner = text(event, "assignedTo");
                    self.answered += 1;
                }
                "crisis.reopened" => {
                    owner = None;
                    self.reopened += 1;
                }
                "crisis.resolved" => assert!(text(event, "resolvedBy").is_some(), "{alert}"),
                _ => {}
            }
            due = match &*event.kind {
                "crisis.alert" | "crisis.escalated" => Some(event.at + millis(within[0])),
                "crisis.acknowledged" => Some(event.at + millis(within[1])),
                "crisis.assigned" if text(event, "previous").is_none() => {
                    Some(event.at + millis(within[1]))
                }
                "crisis.reopened" => Some(event.at),
                "crisis.resolved" => None,
                _ => due,
            };
        }
        assert!(due.is_none(), "{alert} is not answered at the end: {story:?}");
    }

    pub(crate) fn worst(&self) -> Duration {
        self.late.iter().max().copied().unwrap_or_default()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}
