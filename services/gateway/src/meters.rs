//! What the gateway counts.

use runtime::metrics::Metrics;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::family::Family;
use runtime::metrics::metrics::gauge::Gauge;

#[derive(Clone)]
pub(crate) struct Meters {
    pub websockets: Gauge,
    pub event_streams: Gauge,
    pub socketio: Gauge,
    /// By the reason in Socket.IO's words.
    pub disconnects: Family<[(&'static str, &'static str); 1], Counter>,
    pub frames: Counter,
    pub writes: Counter,
    pub gaps: Counter,
    pub lagging: Counter,
    pub takeovers: Counter,
    pub peers: Gauge,
    pub signals_dropped: Counter,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            websockets: metrics.gauge("gateway_websockets", "Open WebSockets."),
            event_streams: metrics.gauge("gateway_event_streams", "Open SSE responses."),
            socketio: metrics.gauge("gateway_socketio", "Open Socket.IO connections."),
            disconnects: metrics.counters(
                "gateway_socketio_disconnects",
                "Socket.IO clients that have left the namespace, by reason.",
            ),
            frames: metrics.counter("gateway_frames", "Event frames handed to sockets."),
            writes: metrics.counter("gateway_writes", "Writes that carried event frames."),
            gaps: metrics.counter("gateway_gaps", "Gaps that clients were told of."),
            lagging: metrics.counter(
                "gateway_lagging",
                "Sockets closed because they accepted nothing for too long.",
            ),
            takeovers: metrics
                .counter("gateway_takeovers", "Sessions taken over from another connection."),
            signals_dropped: metrics.counter(
                "gateway_signals_dropped",
                "Ephemeral events let go because more came than could be handed on.",
            ),
            peers: metrics.gauge("gateway_peers", "Other gateways that say that they live."),
        }
    }
}
