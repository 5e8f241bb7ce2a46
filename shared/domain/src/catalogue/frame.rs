//! Frames of a session itself: what a server sends about the connection rather than about the world.
//! They are declared so that they are documented and their names stay free of events.

use serde_json::Value;

use super::schema::Schema;

pub struct Frame {
    pub name: String,
    pub summary: String,
    /// The wires that know it: `socketio`, `websocket`, `sse`, `trpc`.
    pub wires: Vec<String>,
    pub example: Value,
    pub(super) schema: Schema,
}

impl Frame {
    pub fn schema(&self) -> &Value {
        self.schema.document()
    }
}
