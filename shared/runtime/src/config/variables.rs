//! Every environment variable of every service, declared once: name, default, meaning.
//! Reading goes through these constants, so nothing undeclared can be read; `docs/CONFIG.md` is compared with the list.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fallback {
    /// Nothing works without it.
    Required { example: &'static str },
    /// Not set means the feature is off.
    None,
    /// This very text is what is read when nothing is set.
    Is(&'static str),
    /// Each service brings its own; the text is for the document.
    Varies(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub default: Fallback,
    pub meaning: &'static str,
    /// May also be given as `NAME_FILE`, and is never shown.
    pub secret: bool,
}

impl Variable {
    /// The default as the document shows it.
    pub fn shown_default(&self) -> &'static str {
        match self.default {
            Fallback::Required { .. } => "required",
            Fallback::None => "-",
            Fallback::Is(value) | Fallback::Varies(value) => value,
        }
    }
}

macro_rules! variables {
    ($($name:ident: $default:expr, $secret:literal, $meaning:literal;)*) => {
        $(pub const $name: Variable = Variable {
            name: stringify!($name), default: $default, meaning: $meaning, secret: $secret,
        };)*
        /// In the order of the document.
        pub const VARIABLES: &[Variable] = &[$($name),*];
    };
}

variables! {
    NATS_URL: Fallback::Required { example: "nats://localhost:4222" }, false,
        "Where NATS is; several servers comma-separated. May hold user and password.";
    NATS_CREDS: Fallback::None, false,
        "File with what the service presents to NATS: `user:password`, an nkey seed or a .creds file.";
    LISTEN: Fallback::Varies("gateway 0.0.0.0:8080, ingest 0.0.0.0:8090"), false,
        "Addresses to serve on, comma-separated.";
    OPS_LISTEN: Fallback::Varies("0.0.0.0, gateway :9080, ingest :9081, ai-proxy :9082, replay :9083"), false,
        "Address of /livez, /readyz and /metrics.";
    TLS_CERT_FILE: Fallback::None, false, "PEM certificate chain; with TLS_KEY_FILE the listeners speak TLS.";
    TLS_KEY_FILE: Fallback::None, false, "PEM private key of that certificate.";
    RUST_LOG: Fallback::Is("info"), false, "What is logged, in the form of tracing's EnvFilter.";
    LOG_FORMAT: Fallback::Is("text"), false, "text, or json with one object a line.";
    OTEL_EXPORTER_OTLP_ENDPOINT: Fallback::None, false, "Base address of a collector that takes spans of requests, commands, publications and connections (OTLP over HTTP, JSON); for example http://localhost:4318.";
    PLATFORM_KEY: Fallback::None, true, "Key that authenticates cursors and connection ids and wraps data keys; at least 32 characters.";
    PLATFORM_KEY_PREVIOUS: Fallback::None, true, "The key before, still accepted while rotating.";
    JWT_SECRET: Fallback::None, true, "HS256 key of the one application configured by the environment.";
    JWT_PUBLIC_KEY_FILE: Fallback::None, false, "PEM public key instead: RS256, ES256, ES384 or EdDSA by its kind.";
    JWT_JWKS_URL: Fallback::None, false, "Address of a key set instead, asked every 60 s.";
    JWT_ISSUER: Fallback::None, false, "Issuer that tokens must name.";
    JWT_AUDIENCE: Fallback::None, false, "Audience that tokens must name.";
    DEFAULT_TENANT: Fallback::Is("default"), false, "Tenant of that application, or from-token.";
    ALLOWED_ORIGINS: Fallback::None, false, "Browser origins that may connect, comma-separated; none when empty.";
    FRONTEND_URL: Fallback::None, false, "Alias of ALLOWED_ORIGINS.";
    APPLICATIONS_FILE: Fallback::None, false, "TOML file of all applications that may connect, instead of JWT_*.";
    SOURCES_FILE: Fallback::None, false, "TOML file of the webhook sources.";
    ESCALATION_FILE: Fallback::None, false, "TOML file of the crisis escalation chains.";
    CATALOGUE_DIR: Fallback::None, false, "Folder of event descriptions to add to the built-in ones.";
    SAFETY_DIR: Fallback::None, false, "Folder of screening rules and resources in addition to the built-in ones, or in place of those of the same name.";
    AI_PROVIDER: Fallback::Is("scripted"), false, "scripted, ezri or openai.";
    AI_SERVICE_URL: Fallback::None, false, "Base address of the AI service.";
    AI_API_KEY: Fallback::None, true, "Key for the AI service.";
    AI_MODEL: Fallback::None, false, "Model to ask for.";
    AI_TIMEOUT_MS: Fallback::Is("8000"), false, "How long the AI service may take to its first word, or to its whole answer where it does not stream.";
    AI_CONNECT_TIMEOUT_MS: Fallback::Is("2000"), false, "How long connecting to the AI service may take.";
    AI_IDLE_TIMEOUT_MS: Fallback::Is("8000"), false, "How long a streamed answer may pause.";
    AI_TOTAL_TIMEOUT_MS: Fallback::Is("60000"), false, "How long a streamed answer may take as a whole.";
    AI_CONCURRENCY: Fallback::Is("256"), false, "Answers of one tenant that an instance writes at one time; more wait.";
    AI_TOKENS_PER_HOUR: Fallback::Is("0"), false, "Tokens that one tenant may use in an hour, over all instances; 0 for no limit.";
    AI_FILE: Fallback::None, false, "TOML file of the AI settings of single tenants.";
    AI_TEMPLATES_DIR: Fallback::None, false, "Folder of prompt templates instead of the built-in ones.";
    TWILIO_ACCOUNT_SID: Fallback::None, false, "Account whose calls can be ended.";
    TWILIO_AUTH_TOKEN: Fallback::None, true, "Token of that account.";
    TWILIO_API_URL: Fallback::Is("https://api.twilio.com"), false, "Twilio's address.";
    STRICT_DURABILITY: Fallback::Is("0"), false, "1 refuses a NATS server that does not sync every write.";
    CONNECTIONS_PER_ADDRESS: Fallback::Is("16384"), false, "Connections of one address that have not authenticated yet; more are closed.";
    SEND_LOWAT_BYTES: Fallback::Is("16384"), false, "Unsent bytes the kernel may hold for a connection (TCP_NOTSENT_LOWAT).";
    TAIL_BYTES: Fallback::Is("67108864"), false, "Memory for the newest events of a gateway, from which returning clients are served.";
    TAIL_WARM_EVENTS: Fallback::Is("20000"), false, "Events of each stream that a starting gateway reads before it is ready.";
    PAGE_CACHE_BYTES: Fallback::Is("67108864"), false, "Memory for older events that returning clients have asked for.";
    HEARTBEAT_MS: Fallback::Is("25000"), false, "How often an idle WebSocket is pinged.";
    LAG_TIMEOUT_MS: Fallback::Is("60000"), false, "How long a socket may accept nothing before it is closed with the advice to resume.";
    SOCKETIO_REPLAY_DELAY_MS: Fallback::Is("250"), false, "How long a Socket.IO client that says nothing has to put its listeners on before events follow.";
    SOCKETIO_POSITION_MS: Fallback::Is("300000"), false, "How often a Socket.IO client that is sent nothing is told where it stands.";
    AUTH_TIMEOUT_MS: Fallback::Is("10000"), false, "How long a WebSocket may take to say who it is.";
    PRESENCE_GRACE_MS: Fallback::Is("10000"), false, "How long a client may be away before it counts as gone.";
    TYPING_TIMEOUT_MS: Fallback::Is("6000"), false, "How long a client that says nothing more counts as typing.";
    MAX_MESSAGE_BYTES: Fallback::Is("65536"), false, "The longest message of a client.";
    MAX_HISTORY_EVENTS: Fallback::Is("1000"), false, "The most events of a page of history.";
    MAX_WEBHOOK_BYTES: Fallback::Is("1048576"), false, "The longest body of a webhook or publication.";
    MAX_AUDIO_BYTES: Fallback::Is("67108864"), false, "The longest body of a webhook that carries audio.";
    MAX_CHANNELS: Fallback::Is("200"), false, "Channels that a connection may be in.";
    MESSAGES_PER_SECOND: Fallback::Is("50"), false, "Messages that a connection may send, with bursts of twice as many.";
    DECISION_WAIT_MS: Fallback::Is("2000"), false, "How long a command's answer waits for the decision; after that it says that the command is stored and will be decided.";
    INGEST_IN_FLIGHT: Fallback::Is("2048"), false, "Requests of ingest that wait for the log at one time; more are answered 503.";
    IDEMPOTENCY_MEMORY_BYTES: Fallback::Is("268435456"), false, "Memory for recognising repeats over 72 hours, 9 bytes per event; when it is full the oldest are forgotten.";
    SHUTDOWN_GRACE_MS: Fallback::Is("10000"), false, "How long work in flight may take to finish on stop.";
}
