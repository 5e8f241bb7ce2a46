//! What the AI's own "crisis detected" sets off, before its answer is stored: help for the person and an alert.
//! Both have ids that follow from the message, so that a second attempt adds nothing.

use std::time::Duration;

use domain::command::Actor;
use domain::{Command, Role};
use runtime::{clock, ids};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tracing::{debug, error};

use super::attempt::Tools;
use super::claim::Claim;
use super::record::{Record, RecordError};

const ACTOR: &str = "ai";
/// Where this service may listen for decisions.
const REPLIES: &str = "reply.ai-proxy.";
/// What a severity that is missing or unknown counts as.
const HIGHEST: &str = "imminent";
const SEVERITIES: [&str; 4] = ["imminent", "high", "moderate", "low"];
const MAX_SIGNALS: usize = 64;
/// How long the answer waits for the alert to be decided; it is stored before in any case.
const DECIDED_WITHIN: Duration = Duration::from_millis(1000);

pub(super) async fn raise(
    claim: &Claim<'_>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
) -> Result<(), RecordError> {
    match tools.recorder.unguarded(help(claim, tools, told)).await {
        Ok(_) => {}
        // What the service offers cannot be stored as it is: the alert is still to come.
        Err(RecordError::Unfit) => error!("the help that an AI service offers could not be stored"),
        Err(error) => return Err(error),
    }
    let reply = format!("{REPLIES}{}", ids::unguessable());
    let mut decided = tools.recorder.nats().subscribe(&reply).await.ok();
    match tools.recorder.command(command(claim, tools, told, reply.clone())).await {
        // What was found matters less than that something was.
        Err(RecordError::Unfit) => {
            tools.recorder.command(command(claim, tools, &Map::new(), reply)).await?;
        }
        other => other?,
    }
    if let Some(decided) = &mut decided
        && timeout(DECIDED_WITHIN, decided.next()).await.is_err()
    {
        debug!("an alert is stored and will be decided after the answer");
    }
    Ok(())
}

fn command(
    claim: &Claim<'_>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
    reply: String,
) -> Command {
    let attempt = &claim.attempt;
    let severity = told.get("severity").and_then(Value::as_str).map(str::to_lowercase);
    let severity = severity.filter(|it| SEVERITIES.contains(&it.as_str()));
    let mut signals =
        told.get("detected_signals").and_then(Value::as_array).cloned().unwrap_or_default();
    signals.truncate(MAX_SIGNALS);
    let data = json!({
        "userId": tools.question.user,
        "conversationId": attempt.conversation,
        "severity": severity.as_deref().unwrap_or(HIGHEST),
        "signals": signals,
        "raisedBy": ACTOR,
    });
    Command {
        // The message's place in the log is short, unlike its id, and as much its own.
        id: format!("{ACTOR}-{}", attempt.message.sequence),
        kind: "crisis.raise".to_owned(),
        tenant: claim.tenant().clone(),
        entity: attempt.conversation.to_owned(),
        actor: Actor { user: ACTOR.to_owned(), role: Role::Service },
        connection: None,
        reply: Some(reply),
        time: clock::now(),
        data: data.as_object().cloned().unwrap_or_default(),
    }
}

fn help<'a>(claim: &Claim<'a>, tools: &Tools<'_>, told: &Map<String, Value>) -> Record<'a> {
    let state = told.get("safety_state").and_then(Value::as_str);
    let state = state.filter(|it| (1..=64).contains(&it.len()));
    let offered = told.get("resources").and_then(Value::as_array);
    let offered = offered.filter(|it| (1..=MAX_SIGNALS).contains(&it.len()));
    let data = json!({
        "userId": tools.question.user,
        "conversationId": claim.attempt.conversation,
        "state": state.unwrap_or("crisis"),
        "resources": offered.unwrap_or(&tools.prompt.resources),
    });
    Record {
        tenant: &claim.attempt.key.tenant,
        kind: "safety.state_change",
        key: format!("help:{}", claim.attempt.message.sequence),
        data,
        cause: claim.attempt.cause,
    }
}
