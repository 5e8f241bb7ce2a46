//! Server-sent events, read as the standard says. It must not know what the events mean.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// The server sends a comment every 15 s; longer silence is a dead connection.
const SILENCE: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Puts events together from the bytes as they come.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    event: Event,
    data: bool,
}

impl Parser {
    fn take(&mut self, bytes: &[u8], found: &mut Vec<Event>) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_of_line(found),
                b'\r' => {}
                byte => self.line.push(*byte),
            }
        }
    }

    fn end_of_line(&mut self, found: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.data) {
                found.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.data = true;
            }
            _ => {}
        }
    }
}

/// The events of one connection.
pub(crate) struct Events {
    body: Incoming,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
}

impl Events {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default(), ready: std::collections::VecDeque::new() }
    }

    /// The next event; `None` once the connection is over, however it ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await.ok()??.ok()?;
            if let Some(bytes) = frame.data_ref() {
                let mut found = Vec::new();
                self.parser.take(bytes, &mut found);
                self.ready.extend(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let text = b": hi\r\n\r\nretry: 1000\nid: c1\nevent: calls\ndata: {\"a\":1}\n\nid: c2\ndata:x\ndata: y\n\n";
        for size in 1..text.len() {
            let (mut parser, mut found) = (Parser::default(), Vec::new());
            for piece in text.chunks(size) {
                parser.take(piece, &mut found);
            }
            let wanted = [("c1", "calls", "{\"a\":1}"), ("c2", "", "x\ny")];
            let wanted = wanted.map(|(id, name, data)| Event {
                id: Some(id.to_owned()),
                name: name.to_owned(),
                data: data.to_owned(),
            });
            assert_eq!(found, wanted, "cut every {size} bytes");
        }
    }
}
