//! Events that tell how far something is: one of each step is worth keeping, and the last. It knows numbers and names,
//! not what they are of.

use serde_json::Value;

use super::file::StepsEntry;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Steps {
    /// JSON Pointers to how far it is and how far it goes.
    at: String,
    upto: String,
    size: u64,
}

impl Steps {
    pub(super) fn of(entry: StepsEntry) -> Result<Self, String> {
        let StepsEntry { at, upto, size } = entry;
        if size == 0 {
            return Err("steps.size: begins at 1".to_owned());
        }
        Ok(Self { at, upto, size })
    }

    pub(super) fn pointers(&self) -> [&str; 2] {
        [&self.at, &self.upto]
    }

    /// What all events of one step have in common; nothing for the last, which is always kept.
    pub(super) fn key(&self, entity: &str, data: &Value) -> Option<String> {
        let number = |pointer: &str| data.pointer(pointer)?.as_u64();
        let (at, upto) = (number(&self.at)?, number(&self.upto)?);
        (at < upto).then(|| format!("{entity}:{}/{upto}", at / self.size))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_of_one_step_are_one_and_the_last_is_its_own() {
        let entry = StepsEntry { at: "/sent".into(), upto: "/total".into(), size: 100 };
        let steps = Steps::of(entry).unwrap();
        let key = |sent: u64| steps.key("spring", &json!({ "sent": sent, "total": 1_000 }));
        assert_eq!(key(0), key(99));
        assert_ne!(key(99), key(100));
        assert_eq!(key(1_000), None);
        assert_eq!(steps.key("spring", &json!({ "sent": "many" })), None);
    }
}
