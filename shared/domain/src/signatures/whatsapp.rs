//! `X-Hub-Signature-256`: HMAC-SHA256 of the raw body with the application's secret.

use super::{Reason, any_match, hex, hmac_sha256, present};

pub const HEADER: &str = "x-hub-signature-256";

pub fn verify<S: AsRef<[u8]>>(
    secrets: &[S],
    signature: Option<&str>,
    body: &[u8],
) -> Result<(), Reason> {
    let given = present(signature)?.strip_prefix("sha256=").ok_or(Reason::Malformed)?;
    if given.len() != 64 || !given.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Reason::Malformed);
    }
    let given = given.to_ascii_lowercase();
    any_match(secrets, &[given], |secret| hex(&hmac_sha256(secret, &[body])).into_bytes())
}

/// The header's value for a body.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    format!("sha256={}", hex(&hmac_sha256(secret, &[body])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The documented example of this header's scheme.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_documented_example_is_believed() {
        assert_eq!(sign(SECRET.as_bytes(), BODY), SIGNATURE);
        assert_eq!(verify(&[SECRET], Some(SIGNATURE), BODY), Ok(()));
        assert_eq!(verify(&["newest", SECRET], Some(SIGNATURE), BODY), Ok(()));
    }

    #[test]
    fn every_reason_is_told_apart() {
        let none: [&str; 0] = [];
        assert_eq!(verify(&none, Some(SIGNATURE), BODY), Err(Reason::Mismatch));
        assert_eq!(verify(&[SECRET], None, BODY), Err(Reason::Missing));
        assert_eq!(verify(&[SECRET], Some("sha1=00"), BODY), Err(Reason::Malformed));
        assert_eq!(verify(&[SECRET], Some("sha256=00"), BODY), Err(Reason::Malformed));
        assert_eq!(verify(&[SECRET], Some(SIGNATURE), b"Hello"), Err(Reason::Mismatch));
    }

    proptest! {
        #[test]
        fn any_header_is_answered(header in ".{0,100}", body: Vec<u8>) {
            prop_assert!(verify(&[SECRET], Some(&header), &body).is_err());
        }
    }
}
