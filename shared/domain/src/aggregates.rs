//! The kinds of entities that decide commands.

use crate::aggregate::{Aggregate, Entity, Folded};

pub mod call;
pub mod campaign;
#[cfg(test)]
mod checks;
pub mod conversation;
pub mod crisis;
pub mod notification;
mod rules;

use call::Call;
use campaign::Campaign;
use conversation::Conversation;
use crisis::Crisis;
use notification::Notification;

/// The categories whose commands are decided.
pub const CATEGORIES: [&str; 5] = [
    Call::CATEGORY,
    Campaign::CATEGORY,
    Conversation::CATEGORY,
    Crisis::CATEGORY,
    Notification::CATEGORY,
];

/// An entity of which nothing has been seen yet; `None` for a category without behaviour.
pub fn blank(category: &str) -> Option<Box<dyn Entity>> {
    Some(match category {
        Call::CATEGORY => Box::new(Folded::<Call>::default()),
        Campaign::CATEGORY => Box::new(Folded::<Campaign>::default()),
        Conversation::CATEGORY => Box::new(Folded::<Conversation>::default()),
        Crisis::CATEGORY => Box::new(Folded::<Crisis>::default()),
        Notification::CATEGORY => Box::new(Folded::<Notification>::default()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_has_an_entity_and_others_have_none() {
        assert!(CATEGORIES.into_iter().all(|category| blank(category).is_some()));
        assert!(blank("metric").is_none());
    }
}
