//! The settings of every tenant that no file names.

use runtime::config::{
    AI_API_KEY, AI_CONCURRENCY, AI_CONNECT_TIMEOUT_MS, AI_IDLE_TIMEOUT_MS, AI_MODEL, AI_PROVIDER,
    AI_SERVICE_URL, AI_TIMEOUT_MS, AI_TOKENS_PER_HOUR, AI_TOTAL_TIMEOUT_MS, Reader,
};

use super::{Kind, Settings};
use crate::providers::{Deadlines, Endpoint, Models};

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let kind = reader.choice(&AI_PROVIDER, &Kind::NAMES).unwrap_or(Kind::Scripted);
        let url = reader.optional(&AI_SERVICE_URL).unwrap_or_default();
        if kind != Kind::Scripted && url.is_empty() {
            reader.mistake(&AI_SERVICE_URL, "missing, for example http://localhost:8000");
        } else if !url.is_empty() && !Endpoint::is_base(&url) {
            reader.mistake(&AI_SERVICE_URL, format_args!("{url:?} is no http or https address"));
        }
        let chat = reader.optional(&AI_MODEL);
        if kind == Kind::OpenAi && chat.is_none() {
            reader.mistake(&AI_MODEL, "missing; openai needs the name of a model");
        }
        Self {
            kind,
            url,
            key: reader.secret(&AI_API_KEY),
            models: Models { chat, ..Models::default() },
            deadlines: Deadlines {
                connect: reader.positive_milliseconds(&AI_CONNECT_TIMEOUT_MS),
                first: reader.positive_milliseconds(&AI_TIMEOUT_MS),
                idle: reader.positive_milliseconds(&AI_IDLE_TIMEOUT_MS),
                total: reader.positive_milliseconds(&AI_TOTAL_TIMEOUT_MS),
            },
            concurrency: reader.positive(&AI_CONCURRENCY),
            tokens_per_hour: reader.number(&AI_TOKENS_PER_HOUR),
            price: None,
            keep_audio: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::config::{Mistakes, Strings};

    use super::*;

    const NOTHING: [(&str, &str); 0] = [];

    fn read(given: &dyn Strings) -> Result<Settings, Mistakes> {
        let mut reader = Reader::new(given);
        let settings = Settings::read(&mut reader);
        reader.finish(settings)
    }

    #[test]
    fn nothing_set_means_the_script() {
        let settings = read(&NOTHING).unwrap();
        assert_eq!((settings.kind, settings.concurrency), (Kind::Scripted, 256));
        assert_eq!(settings.deadlines, Deadlines::default());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let given = [
            ("AI_PROVIDER", "openai"),
            ("AI_SERVICE_URL", "ftp://x"),
            ("AI_TIMEOUT_MS", "8s"),
            ("AI_IDLE_TIMEOUT_MS", "0"),
            ("AI_CONCURRENCY", "0"),
        ];
        let Mistakes(told) = read(&given).unwrap_err();
        for name in
            ["AI_SERVICE_URL", "AI_MODEL", "AI_TIMEOUT_MS", "AI_IDLE_TIMEOUT_MS", "AI_CONCURRENCY"]
        {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
        assert!(read(&[("AI_PROVIDER", "ezri")]).is_err(), "an address is needed");
    }
}
