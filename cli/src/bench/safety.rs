//! Messages that tell of danger, each timed until its author has the resources and an admin the alert, while the AI
//! side answers as well. Every message has a conversation of its own, so that each opens an alert.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::Role;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::bench::commands::conversation_of;
use crate::bench::platform::{Platform, SERVICES};
use crate::bench::report::{Goal, Report, percentile};
use crate::bench::socket::Socket;
use crate::bench::{float, told};
use crate::failure::Failure;

const BUFFER: usize = 16 * 1024;
/// What is not seen this long after the last message is lost.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const START: &str = r#"{"type":"conversation:start","payload":{"avatarId":"maya"},"id":"start"}"#;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Messages, each in a conversation of its own
    #[arg(long, default_value_t = 300)]
    messages: u32,
    /// Messages a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let messages = options.messages as usize;
    let platform = Platform::start_only(&SERVICES).await?;
    let watching = format!("/ws?token={}", platform.token(Role::Admin)?);
    let admin = Socket::open(platform.gateway, &watching, BUFFER).await.map_err(told)?;
    let speaking = format!("/ws?token={}", platform.token(Role::User)?);
    let mut speakers = Vec::with_capacity(messages);
    for _ in 0..messages {
        let mut socket = Socket::open(platform.gateway, &speaking, BUFFER).await.map_err(told)?;
        socket.send(START).await.map_err(told)?;
        let conversation = conversation_of(&mut socket).await?;
        speakers.push((socket, conversation));
    }
    let pace = Duration::from_secs(1) / options.rate;
    let first = Instant::now() + Duration::from_secs(1);
    let until = first + pace * options.messages + SEEN_WITHIN;
    let moments: HashMap<String, Instant> = (0..)
        .zip(&speakers)
        .map(|(number, (_, conversation))| (conversation.clone(), first + pace * number))
        .collect();
    let mut helped = JoinSet::new();
    for (socket, conversation) in speakers {
        let at = moments.get(&conversation).copied().unwrap_or(first);
        helped.spawn(speak(socket, conversation, at, until));
    }
    let alerts = watch(admin, moments, until).await?;
    let mut resources = Vec::with_capacity(messages);
    while let Some(told_after) = helped.join_next().await {
        let told_after = told_after.map_err(|error| Failure::failed("a client", error))?;
        resources.extend(told_after.map_err(told)?);
    }
    platform.stop().await;
    resources.sort_by(f64::total_cmp);
    let mut report = Report::new("safety");
    report.add("messages", float(messages), "");
    for (what, found) in [("resources", &resources), ("alert", &alerts)] {
        let lost = float(messages - found.len());
        report.goal(format!("{what}: not seen"), lost, "", Goal::AtMost(0.0));
        report.add(format!("{what}: p50"), percentile(found, 50), "ms");
        report.goal(format!("{what}: p99"), percentile(found, 99), "ms", Goal::AtMost(100.0));
    }
    Ok(report)
}

/// Says it at its moment; how many milliseconds later the author has the resources.
async fn speak(
    mut socket: Socket,
    conversation: String,
    at: Instant,
    until: Instant,
) -> std::io::Result<Option<f64>> {
    tokio::time::sleep_until(at.into()).await;
    let payload = format!(r#"{{"conversationId":"{conversation}","message":"I want to die"}}"#);
    let text = format!(r#"{{"type":"conversation:message","payload":{payload},"id":"said"}}"#);
    socket.send(&text).await?;
    let mut after = None;
    // All speakers are one user, who is told of every conversation on each connection.
    while after.is_none() {
        let read = socket.read(|frame| {
            if frame.payload.starts_with(br#"{"type":"safety:state_change""#)
                && frame.holds(&conversation)
            {
                after = Some(at.elapsed().as_secs_f64() * 1e3);
            }
        });
        let Ok(true) = timeout_at(until.into(), read).await.unwrap_or(Ok(false)) else { break };
    }
    Ok(after)
}

/// Milliseconds from each message to its alert, sorted.
async fn watch(
    mut socket: Socket,
    mut moments: HashMap<String, Instant>,
    until: Instant,
) -> Result<Vec<f64>, Failure> {
    let mut latencies = Vec::with_capacity(moments.len());
    while !moments.is_empty() {
        let read = socket.read(|frame| {
            if !frame.payload.starts_with(br#"{"type":"crisis:alert""#) {
                return;
            }
            let said = frame.text_of("conversationId").and_then(|it| moments.remove(&it));
            latencies.extend(said.map(|said| said.elapsed().as_secs_f64() * 1e3));
        });
        let Ok(true) = timeout_at(until.into(), read).await.unwrap_or(Ok(false)) else { break };
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}
