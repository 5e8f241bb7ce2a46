//! Taking tokens and users out of service.

use domain::token::Tenant;

use super::*;

fn revocation(tenant: &str, what: Revoked) -> Revocation {
    Revocation { tenant: Tenant::parse(tenant).unwrap(), what, until: NOW + 3_600 }
}

#[test]
fn a_revoked_token_or_user_is_refused_at_once_and_only_in_its_tenant() {
    for what in [Revoked::Token("t-1".into()), Revoked::User("7".into())] {
        let acme = acme("");
        let identity = check(&acme, &with("jti", json!("t-1"))).unwrap();
        acme.revocations().revoke(revocation("other", what.clone()), NOW).unwrap();
        assert_eq!(acme.still_valid_at(&identity, NOW), Ok(()), "another tenant's");

        acme.revocations().revoke(revocation("acme", what), NOW).unwrap();
        assert_eq!(acme.still_valid_at(&identity, NOW), Err(AuthError::Revoked));
        assert_eq!(check(&acme, &with("jti", json!("t-1"))), Err(AuthError::Revoked));
        let someone_else = check(&acme, &with("sub", json!("8"))).unwrap();
        assert_eq!(acme.still_valid_at(&someone_else, NOW), Ok(()));
    }
}

#[test]
fn live_connections_are_told_whom_it_concerns() {
    let acme = acme("");
    let identity = check(&acme, &with("jti", json!("t-1"))).unwrap();
    let mut news = acme.revocations().subscribe();
    let told = revocation("acme", Revoked::Token("t-1".into()));
    acme.revocations().revoke(told.clone(), NOW).unwrap();
    let heard = news.try_recv().unwrap();
    assert_eq!(heard, told);
    assert!(heard.concerns(&identity));
    assert!(!revocation("acme", Revoked::User("8".into())).concerns(&identity));
}

#[test]
fn a_revocation_that_is_over_holds_no_longer_and_is_never_shortened() {
    let acme = acme("");
    let identity = check(&acme, &claims()).unwrap();
    let revocations = acme.revocations();
    let what = Revoked::User("7".into());
    let over = Revocation { until: NOW, ..revocation("acme", what.clone()) };
    revocations.revoke(over, NOW).unwrap();
    assert!(!revocations.is_revoked(&identity, NOW));

    revocations.revoke(revocation("acme", what.clone()), NOW).unwrap();
    let shorter = Revocation { until: NOW + 1, ..revocation("acme", what) };
    revocations.revoke(shorter, NOW).unwrap();
    assert!(revocations.is_revoked(&identity, NOW + 3_599));
    assert!(!revocations.is_revoked(&identity, NOW + 3_600));
}
