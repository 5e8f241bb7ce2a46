//! What is set off before an answer is stored where somebody may be in danger: help for the person and an alert, for
//! what the AI itself reports and for what the screen finds. All of it has ids that follow from the message, so that
//! a second attempt, or the screen's own turn at the message, adds nothing.

use std::time::Duration;

use domain::command::Actor;
use domain::{Command, Role};
use runtime::messaging::Subscription;
use runtime::telemetry::chain;
use runtime::{clock, ids};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};
use tracing::{debug, error};

use super::attempt::Tools;
use super::claim::Claim;
use super::fact::Key;
use super::question::Asked;
use super::record::{Record, RecordError, Recorder};
use super::signals::{self, Said as WhatWasSaid};
use crate::screen::{Alarm, Said, key_of};

const ACTOR: &str = "ai";
/// Where this service may listen for decisions.
const REPLIES: &str = "reply.ai-proxy.";
/// What a severity that is missing or unknown counts as.
const HIGHEST: &str = "imminent";
const SEVERITIES: [&str; 4] = ["imminent", "high", "moderate", "low"];
const MAX_RESOURCES: usize = 64;
/// How long the answer waits for the alert to be decided; it is stored before in any case.
const DECIDED_WITHIN: Duration = Duration::from_millis(1000);
/// The pause behind a round of tries that stored nothing, each of which has taken its time already.
const AGAIN: Duration = Duration::from_millis(500);

/// Raises what the AI reports: help and alert side by side, for where either cannot be stored the other may be. It is
/// tried for as long as this instance runs, with the claim or without it: the report is nowhere but here, and another
/// attempt may be answered without one.
pub(super) async fn raise(
    claim: &mut Claim<'_>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
) -> Result<(), RecordError> {
    let (mut helped, mut raised) = (false, false);
    loop {
        let help = async { helped || is_settled(&offer_help(claim, tools, told).await) };
        let alert = async { raised || is_settled(&raise_alert(claim, tools, told).await) };
        (helped, raised) = tokio::join!(help, alert);
        if helped && raised {
            return Ok(());
        }
        error!(helped, raised, "what an AI reports of a person in danger waits for the log");
        if timeout(AGAIN, tools.abandon.cancelled()).await.is_ok() {
            return Err(RecordError::Unavailable);
        }
        if claim.extend_at() <= Instant::now()
            && let Err(error) = claim.extend().await
        {
            debug!(error = %chain(&error), "a claim is not kept while an alert waits");
        }
    }
}

/// Whether another try would be for nothing.
fn is_settled(stored: &Result<(), RecordError>) -> bool {
    !matches!(stored, Err(RecordError::Unavailable))
}

async fn raise_alert(
    claim: &Claim<'_>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
) -> Result<(), RecordError> {
    let said = WhatWasSaid::in_question(tools.question);
    let found = signals::named(told.get("detected_signals"), &said);
    let command = command(claim, tools, told, found);
    let refused = match asked(tools.recorder, command.clone()).await {
        Ok(decision) => decision == Decision::Refused,
        Err(RecordError::Unfit) => true,
        Err(error) => return Err(error),
    };
    if refused {
        // What was found matters less than that something was.
        error!("an alert that an AI raised was refused; it is raised again without what was found");
        let mut bare = command;
        bare.id.push_str("-bare");
        bare.data.insert("signals".to_owned(), json!([]));
        match asked(tools.recorder, bare).await {
            Ok(Decision::Refused) | Err(RecordError::Unfit) => {
                error!("an alert that an AI raised was refused for good");
            }
            other => drop(other?),
        }
    }
    Ok(())
}

/// Raises what the screen finds, and waits a moment until it is decided: no answer, however fast, overtakes it. The
/// screen's own turn at the message follows whatever becomes of this.
pub(super) async fn screen_first(recorder: &Recorder, alarm: &Alarm, key: &Key, asked: &Asked) {
    let Some(event) = asked.event_id.as_deref() else { return };
    let question = &asked.question;
    let Some(finding) = alarm.find(&question.text) else { return };
    let said = Said {
        tenant: &key.tenant,
        key: key_of(&question.message, event),
        cause: event,
        conversation: &question.conversation,
        user: &question.user,
    };
    let raised = async {
        let command = alarm.command(&said, &finding);
        let (helped, decided) =
            tokio::join!(alarm.offer_help(&said, finding.severity), self::asked(recorder, command));
        if helped.is_err() || !matches!(decided, Ok(Decision::Accepted)) {
            debug!("what the screen found is left to the screen");
        }
    };
    if timeout(DECIDED_WITHIN, raised).await.is_err() {
        debug!("an answer begins before what the screen found is decided");
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Decision {
    Accepted,
    Refused,
    /// It is stored and will be decided.
    Awaited,
}

/// Hands a command in and waits a moment for its decision.
async fn asked(recorder: &Recorder, mut command: Command) -> Result<Decision, RecordError> {
    let reply = format!("{REPLIES}{}", ids::unguessable());
    let mut replies = recorder.nats().subscribe(&reply).await.ok();
    command.reply = Some(reply);
    recorder.command(command).await?;
    let Some(replies) = &mut replies else { return Ok(Decision::Awaited) };
    Ok(timeout(DECIDED_WITHIN, decision(replies)).await.unwrap_or(Decision::Awaited))
}

async fn decision(replies: &mut Subscription) -> Decision {
    let Some(signal) = replies.next().await else { return Decision::Awaited };
    let told: Option<Value> = serde_json::from_slice(&signal.payload).ok();
    match told.as_ref().and_then(|told| told["ok"].as_bool()) {
        Some(true) => Decision::Accepted,
        Some(false) => Decision::Refused,
        None => Decision::Awaited,
    }
}

fn command(
    claim: &Claim<'_>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
    signals: Vec<String>,
) -> Command {
    let attempt = &claim.attempt;
    let severity = told.get("severity").and_then(Value::as_str).map(str::to_lowercase);
    let severity = severity.filter(|it| SEVERITIES.contains(&it.as_str()));
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
        reply: None,
        time: clock::now(),
        data: data.as_object().cloned().unwrap_or_default(),
    }
}

/// What the service offers, and the tenant's own list where that cannot be stored.
async fn offer_help(
    claim: &Claim<'_>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
) -> Result<(), RecordError> {
    let offered = told.get("resources").and_then(Value::as_array);
    let offered = offered.filter(|it| (1..=MAX_RESOURCES).contains(&it.len()));
    let own = &tools.prompt.resources;
    let mut stored =
        tools.recorder.unguarded(help(claim, tools, told, offered.unwrap_or(own))).await;
    if offered.is_some() && matches!(stored, Err(RecordError::Unfit)) {
        stored = tools.recorder.unguarded(help(claim, tools, told, own)).await;
    }
    match stored {
        Ok(_) => Ok(()),
        // The alert is still to come.
        Err(RecordError::Unfit) => {
            error!("help could not be offered; see the resources of the tenant");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn help<'a>(
    claim: &Claim<'a>,
    tools: &Tools<'_>,
    told: &Map<String, Value>,
    resources: &[Value],
) -> Record<'a> {
    let state = told.get("safety_state").and_then(Value::as_str);
    let state = state.filter(|it| signals::is_name(it, &WhatWasSaid::in_question(tools.question)));
    let data = json!({
        "userId": tools.question.user,
        "conversationId": claim.attempt.conversation,
        "state": state.unwrap_or("crisis"),
        "resources": resources,
    });
    Record {
        tenant: &claim.attempt.key.tenant,
        kind: "safety.state_change",
        key: format!("help:{}", claim.attempt.message.sequence),
        data,
        cause: claim.attempt.cause,
    }
}
