//! What an ID token must say before anything of it is believed
//! ([OpenID Connect Core, section 3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation)),
//! and what is read of it, and of the userinfo endpoint.

use subtle::ConstantTimeEq as _;

use crate::domain::json::{Node, Value};
use crate::domain::time::Timestamp;

use super::jws::{optional, text};
use super::person::Identity;

/// What an ID token must have been made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'e> {
    /// The provider, exactly as it names itself.
    pub issuer: &'e str,
    /// The provider's name for Placet (`client_id`).
    pub client_id: &'e str,
    /// The nonce of the attempt.
    pub nonce: &'e str,
    /// The instant of the check.
    pub now: Timestamp,
}

impl Expected<'_> {
    /// Checks an ID token whose signature was verified. The numbers are those of the list in
    /// section 3.1.3.7.
    ///
    /// # Errors
    /// Which check failed, as the end of a sentence about the token.
    pub(crate) fn check_id_token(&self, claims: &Node<'_>) -> Result<(), &'static str> {
        // 2 and 3
        self.check_origin(claims)?;
        // 4 and 5
        let party =
            optional(claims, "azp").map_err(|_| "says whom it was made for (azp) in no words")?;
        if party.is_some_and(|party| party != self.client_id) {
            return Err("was made for another client (azp)");
        }
        // 9
        let until = instant(claims, "exp").ok_or("does not say until when it counts (exp)")?;
        if self.now >= until {
            return Err("has run out (exp)");
        }
        // 10: when it was made is said; how long ago is bounded by the attempt's own time.
        instant(claims, "iat").ok_or("does not say when it was made (iat)")?;
        // 11
        let nonce = text(claims, "nonce").ok_or("has no nonce")?;
        if !bool::from(nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err("was made for another attempt (nonce)");
        }
        Ok(())
    }

    /// Checks that claims come from the provider and are for Placet alone: whoever else they are
    /// for could bring them here.
    ///
    /// # Errors
    /// Which check failed, as the end of such a sentence.
    pub(crate) fn check_origin(&self, claims: &Node<'_>) -> Result<(), &'static str> {
        if text(claims, "iss") != Some(self.issuer) {
            return Err("was not made by the configured issuer (iss)");
        }
        let mine = |audience: &Node<'_>| audience.as_str() == Some(self.client_id);
        let for_us = claims.get("aud").is_some_and(|audience| match audience.elements() {
            Some(all) => !all.is_empty() && all.iter().all(mine),
            None => mine(audience),
        });
        if for_us { Ok(()) } else { Err("was made for somebody else (aud)") }
    }
}

/// What claims say of a person.
///
/// # Errors
/// There is no `sub`, or a member is of the wrong type; as the end of such a sentence.
pub(crate) fn said(claims: &Node<'_>, groups_claim: &str) -> Result<Identity, &'static str> {
    let subject = text(claims, "sub").ok_or("does not say who it is (sub)")?;
    let email = optional(claims, "email").map_err(|_| "has an address that is no text (email)")?;
    let email_verified = match claims.get("email_verified").map(|node| &node.value) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(verified)) => *verified,
        Some(_) => return Err("says neither true nor false of the address (email_verified)"),
    };
    Ok(Identity {
        subject: subject.to_owned(),
        email: email.map(str::to_owned),
        email_verified,
        groups: claims.get(groups_claim).and_then(groups),
    })
}

fn groups(node: &Node<'_>) -> Option<Vec<String>> {
    if let Some(one) = node.as_str() {
        return Some(vec![one.to_owned()]);
    }
    Some(node.elements()?.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

/// A `NumericDate` ([RFC 7519 section 2](https://www.rfc-editor.org/rfc/rfc7519#section-2)):
/// seconds since 1970-01-01T00:00:00Z, which may have a fraction.
fn instant(claims: &Node<'_>, name: &str) -> Option<Timestamp> {
    /// Seconds that fit with room to spare: the year 31,688.
    const MOST: f64 = 1e12;
    let seconds: f64 = claims.get(name)?.as_number()?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    (seconds.abs() < MOST).then(|| Timestamp::from_micros((seconds * 1e6).floor() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json::{self, object, quote};

    const NOW: i64 = 1_795_377_600;

    const RIGHT: [(&str, &str); 7] = [
        ("iss", "\"https://login.example\""),
        ("aud", "\"placet\""),
        ("sub", "\"s1\""),
        ("nonce", "\"n1\""),
        ("iat", "1795377600"),
        ("exp", "1795377900"),
        ("email", "\"ana@example.org\""),
    ];

    fn expected() -> Expected<'static> {
        let now = Timestamp::from_micros(NOW * 1_000_000);
        Expected { issuer: "https://login.example", client_id: "placet", nonce: "n1", now }
    }

    fn check(source: &str) -> Result<(), &'static str> {
        expected().check_id_token(&json::parse(source).unwrap())
    }

    /// The right claims but for one, which is left out where `value` is empty.
    fn with(name: &str, value: &str) -> String {
        let others = RIGHT.into_iter().filter(|(known, _)| *known != name);
        object(others.chain((!value.is_empty()).then_some((name, value))))
    }

    #[test]
    fn the_right_claims_are_believed_in_the_forms_they_may_have() {
        assert_eq!(check(&object(RIGHT)), Ok(()));
        for (name, value) in [
            ("aud", "[\"placet\"]"),
            ("aud", "[\"placet\",\"placet\"]"),
            ("azp", "\"placet\""),
            ("azp", "null"),
            ("exp", "1795377600.5"),
            ("exp", "1.7953779e9"),
            ("iat", "0"),
            ("at_hash", "\"x\""),
        ] {
            assert_eq!(check(&with(name, value)), Ok(()), "{name} {value}");
        }
    }

    #[test]
    fn every_lie_of_an_id_token_is_refused() {
        let far = format!("{}", 10_u64.pow(15));
        for (name, lies) in [
            (
                "iss",
                &[
                    "",
                    "null",
                    "\"https://login.example/\"",
                    "\"https://LOGIN.example\"",
                    "\"http://login.example\"",
                    "\"https://login.example.evil.example\"",
                    "[\"https://login.example\"]",
                ][..],
            ),
            (
                "aud",
                &[
                    "",
                    "null",
                    "[]",
                    "\"\"",
                    "\"other\"",
                    "\"PLACET\"",
                    "[\"other\"]",
                    "[\"placet\",\"other\"]",
                    "[\"other\",\"placet\"]",
                    "[[\"placet\"]]",
                    "{\"placet\":true}",
                    "1",
                ],
            ),
            ("azp", &["\"other\"", "\"\"", "1", "[\"placet\"]"]),
            (
                "exp",
                &[
                    "",
                    "null",
                    "1795377600",
                    "1795377599.9",
                    "0",
                    "-1",
                    "\"1795377900\"",
                    "1e400",
                    &far,
                ],
            ),
            ("iat", &["", "null", "\"1795377600\"", "true", "[1795377600]", "1e400"]),
            ("nonce", &["", "null", "\"\"", "\"n2\"", "\"n1 \"", "\"N1\"", "1", "[\"n1\"]"]),
        ] {
            for lie in lies {
                let refusal = check(&with(name, lie)).expect_err(&format!("{name} {lie}"));
                let named = refusal.contains(&format!("({name})")) || refusal.contains(name);
                assert!(named, "{name} {lie}: {refusal}");
            }
        }
        for odd in ["[]", "\"x\"", "null", "{}"] {
            assert!(check(odd).is_err(), "{odd}");
        }
        // The same claim twice is refused before anything is checked.
        let twice = object(RIGHT.into_iter().chain([("nonce", "\"n1\"")]));
        assert!(json::parse(&twice).is_err());
    }

    #[test]
    fn what_is_said_of_a_person_is_read_as_it_is_said_or_not_at_all() {
        let read = |source: &str| said(&json::parse(source).unwrap(), "groups");
        let most = read(
            r#"{"sub":"s1","email":"a@b.example","email_verified":true,"groups":["x",1,"y"]}"#,
        );
        let least = read(r#"{"sub":"s1","email":null,"email_verified":null,"groups":7}"#);

        let groups = |all: &[&str]| Some(all.iter().map(|&g| g.to_owned()).collect::<Vec<_>>());
        assert_eq!(most.unwrap().groups, groups(&["x", "y"]));
        let nothing = Identity { subject: "s1".to_owned(), ..Identity::default() };
        assert_eq!(least, Ok(nothing));
        assert_eq!(read(r#"{"sub":"s1","groups":"x"}"#).unwrap().groups, groups(&["x"]));
        for odd in ["", "null", "1", "[\"s1\"]"] {
            assert!(said(&json::parse(&with("sub", odd)).unwrap(), "groups").is_err(), "{odd}");
        }
        for odd in ["\"true\"", "1", "\"false\"", "[true]"] {
            let claims = with("email_verified", odd);
            assert!(said(&json::parse(&claims).unwrap(), "groups").is_err(), "{odd}");
        }
        let claims = with("email", &format!("[{}]", quote("ana@example.org")));
        assert!(said(&json::parse(&claims).unwrap(), "groups").is_err());
    }
}
