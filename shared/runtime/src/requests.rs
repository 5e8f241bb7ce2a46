//! Questions and answers over core NATS: nothing of them is stored, and nobody there is known at once.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::messaging::header_map;
use crate::nats::{Headers, Nats};

const RESPOND_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("nobody answers this kind of request")]
    NoResponders,
    #[error("no answer in time")]
    Timeout,
    #[error("the request is larger than the server accepts")]
    TooLarge,
    #[error("the request could not be sent")]
    Unavailable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscription could not be made")]
pub struct ServeError;

impl Nats {
    pub async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        self.ask(subject, async_nats::Request::new().payload(payload), deadline).await
    }

    pub async fn request_with(
        &self,
        subject: &str,
        headers: &[(&'static str, String)],
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let headers = header_map(headers).map_err(|_| RequestError::Unavailable)?;
        let request = async_nats::Request::new().headers(headers).payload(payload);
        self.ask(subject, request, deadline).await
    }

    /// A request that passes a message on with the headers it came with.
    pub async fn request_with_headers(
        &self,
        subject: &str,
        headers: &Headers,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let request = async_nats::Request::new().headers(headers.map()).payload(payload);
        self.ask(subject, request, deadline).await
    }

    async fn ask(
        &self,
        subject: &str,
        request: async_nats::Request,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let request = request.timeout(Some(deadline));
        let sent = self.publishing().client().send_request(subject.to_owned(), request);
        // The client's own time-out begins only when the request has a place in its queue.
        let answer =
            tokio::time::timeout(deadline, sent).await.map_err(|_| RequestError::Timeout)?;
        answer.map(|message| message.payload).map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => RequestError::NoResponders,
            RequestErrorKind::TimedOut => RequestError::Timeout,
            RequestErrorKind::MaxPayloadExceeded => RequestError::TooLarge,
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => RequestError::Unavailable,
        })
    }

    /// Asks everybody who listens and takes their answers until `enough` have come or the deadline has passed.
    /// Who does not answer in time is not in the result; the caller knows who might have been.
    pub async fn gather(
        &self,
        subject: &str,
        payload: Bytes,
        enough: usize,
        deadline: Duration,
    ) -> Result<Vec<Bytes>, RequestError> {
        let until = tokio::time::Instant::now() + deadline;
        let client = self.publishing().client();
        let asking = async {
            let inbox = client.new_inbox();
            let answers = client.subscribe(inbox.clone()).await.ok()?;
            client.publish_with_reply(subject.to_owned(), inbox, payload).await.ok()?;
            Some(answers)
        };
        let asked = tokio::time::timeout_at(until, asking).await;
        let mut answers =
            asked.map_err(|_| RequestError::Timeout)?.ok_or(RequestError::Unavailable)?;
        let mut gathered = Vec::new();
        while gathered.len() < enough {
            match tokio::time::timeout_at(until, answers.next()).await {
                // Nobody listens: the server says so in place of an answer.
                Ok(Some(answer)) if answer.status.is_some() => break,
                Ok(Some(answer)) => gathered.push(answer.payload),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(gathered)
    }

    /// Answers requests together with the other members of the queue group.
    ///
    /// What is not taken off in time is bounded by the client's buffer; beyond it requests are dropped, and who
    /// asked asks again.
    pub async fn serve(&self, subject: &str, queue: &str) -> Result<Server, ServeError> {
        let client = self.tailing().client();
        let subscriber = client
            .queue_subscribe(subject.to_owned(), queue.to_owned())
            .await
            .map_err(|_| ServeError)?;
        Ok(Server { subscriber, client: client.clone() })
    }
}

pub struct Server {
    subscriber: Subscriber,
    client: Client,
}

/// One question.
#[derive(Debug)]
pub struct Request {
    pub subject: Subject,
    pub headers: Headers,
    pub payload: Bytes,
    reply: Option<Subject>,
    client: Client,
}

impl Server {
    /// `None` when the connection is closed for good. Safe to drop while waiting.
    pub async fn next(&mut self) -> Option<Request> {
        let Message { subject, headers, payload, reply, .. } = self.subscriber.next().await?;
        let client = self.client.clone();
        Some(Request { subject, headers: headers.into(), payload, reply, client })
    }

    /// Takes no new questions; those already here can still be answered.
    pub async fn stop(&mut self) {
        // Failing means that the connection is gone, and with it the subscription.
        let _ = tokio::time::timeout(RESPOND_WITHIN, self.subscriber.unsubscribe()).await;
    }
}

impl Request {
    /// Whoever asked may have given up: an answer that cannot be sent is no one's loss.
    pub async fn respond(self, answer: Bytes) -> Result<(), RequestError> {
        let Some(reply) = self.reply else { return Ok(()) };
        match tokio::time::timeout(RESPOND_WITHIN, self.client.publish(reply, answer)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                async_nats::client::PublishErrorKind::MaxPayloadExceeded => RequestError::TooLarge,
                async_nats::client::PublishErrorKind::InvalidSubject
                | async_nats::client::PublishErrorKind::Send => RequestError::Unavailable,
            }),
            Err(_) => Err(RequestError::Timeout),
        }
    }
}
