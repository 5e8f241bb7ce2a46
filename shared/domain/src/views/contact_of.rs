//! Finds the person of a call among the contacts: by the last ten digits of the number, as CRMs do that know it with
//! another prefix. The two are views of different streams, so they meet when a call is read.

use super::View;
use super::doc::Doc;
use crate::providers::callerdesk::last_ten_digits;

/// What the contact of a shown call is found by; `None` for what is no call or has no number.
pub fn number_of(view: &View, shown: &str) -> Option<String> {
    if !matches!(view.name, "calls" | "active-calls") {
        return None;
    }
    let call = Doc::parse(shown.as_bytes())?;
    let is_inbound = call.text("direction").is_some_and(|direction| direction == "inbound");
    let other = if is_inbound { "from" } else { "to" };
    let phone = call.text("phoneNumber").or_else(|| call.text(other))?;
    last_ten_digits(&phone)
}

/// A shown call with its contact, of which only what names and reaches it is taken.
pub fn with_contact(shown: &str, contact: &str) -> Option<String> {
    let mut call = Doc::parse(shown.as_bytes())?;
    let whole = Doc::parse(contact.as_bytes())?;
    let mut contact = Doc::default();
    for name in ["id", "name", "phone", "email"] {
        contact.take(name, whole.get(name));
    }
    call.set("contact", contact.to_json());
    Some(call.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::find;

    #[test]
    fn a_call_meets_its_contact_by_the_last_ten_digits() {
        let calls = find("calls").unwrap();
        let found = |shown| number_of(calls, shown);
        let outbound =
            r#"{"direction":"outbound-api","from":"+15005550006","to":"+91 98765 43210"}"#;
        assert_eq!(found(outbound).as_deref(), Some("9876543210"));
        let inbound = r#"{"direction":"inbound","from":"09876543210","to":"+15005550006"}"#;
        assert_eq!(found(inbound).as_deref(), Some("9876543210"));
        assert_eq!(found(r#"{"phoneNumber":"9876543210"}"#).as_deref(), Some("9876543210"));
        assert_eq!(found(r#"{"to":"client:maya"}"#), None);
        assert_eq!(number_of(find("contacts").unwrap(), inbound), None);
        let with =
            with_contact(r#"{"callSid":"CA1"}"#, r#"{"id":"c","messages":[1],"name":"Maya"}"#);
        assert_eq!(
            with.as_deref(),
            Some(r#"{"callSid":"CA1","contact":{"id":"c","name":"Maya"}}"#)
        );
    }
}
