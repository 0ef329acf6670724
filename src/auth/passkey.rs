//! The two ceremonies of Web Authentication (WebAuthn Level 3, sections 7.1 and 7.2): a passkey is
//! made, and a passkey confirms one decision.
//!
//! Both always ask for user verification (a PIN, a finger, a face), so that a passkey proves a
//! person and not just a device. What the verifier has to remember between the two halves of a
//! ceremony is handed back as text and kept by the store.

use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::AuthenticationVerificationOptions;
use webauthn_rp::request::register::{
    CredProtect, PublicKeyCredentialUserEntity, RegistrationVerificationOptions, UserHandle16,
    Username,
};
use webauthn_rp::request::{AsciiDomain, PublicKeyCredentialDescriptor, RpId};
use webauthn_rp::response::register::{DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, CredentialId};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthentication16, DiscoverableAuthenticationServerState,
    DiscoverableCredentialRequestOptions, PublicKeyCredentialCreationOptions, Registration,
    RegistrationServerState,
};

use crate::config::reach::passkey_domain;
use crate::store::passkeys::Passkey;

/// Why a ceremony failed. The words are for the log; people are told to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub String);

fn refused(why: impl std::fmt::Display) -> Refused {
    Refused(why.to_string())
}

/// The first half of a ceremony: what the browser is asked, and what is kept until it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The challenge, 32 hexadecimal digits.
    pub challenge: String,
    /// What the verifier must be given back, base64url.
    pub state: String,
    /// For the browser: `PublicKeyCredentialCreationOptionsJSON` or
    /// `PublicKeyCredentialRequestOptionsJSON`.
    pub options: String,
}

/// A credential that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The credential's id, base64url without padding, as all of these.
    pub id: String,
    /// The user handle it was made with, the same in all of a person's passkeys.
    pub handle: String,
    /// The credential's public key, as the library encodes it.
    pub public_key: String,
    /// What changes with each use, the signature counter for one.
    pub state: String,
}

/// For whom passkeys are made and asked: this server under its public address.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    id: RpId,
    origin: String,
}

impl Party {
    /// The party of a public URL; none where browsers have no passkeys for it.
    pub(crate) fn of(public_url: &Url) -> Option<Self> {
        let domain = passkey_domain(public_url)?;
        let id = RpId::Domain(AsciiDomain::try_from(domain.to_owned()).ok()?);
        Some(Self { id, origin: public_url.origin().ascii_serialization() })
    }

    /// Begins to make a passkey; `existing` are the person's others, whose handle it shares.
    ///
    /// # Errors
    /// [`Refused`]: a passkey can't have this name, or what is stored can't be read.
    pub(crate) fn begin_adding(
        &self,
        reviewer: &str,
        handle: &str,
        existing: &[Passkey],
        wait: Duration,
    ) -> Result<Begun, Refused> {
        let handle = handle_of(handle)?;
        let others = existing
            .iter()
            .map(|key| {
                let id = CredentialId::decode(bytes(&key.id)?).map_err(refused)?;
                Ok(PublicKeyCredentialDescriptor {
                    id,
                    transports: AuthTransports::decode(0).map_err(refused)?,
                })
            })
            .collect::<Result<Vec<_>, Refused>>()?;
        let user = PublicKeyCredentialUserEntity {
            name: Username::try_from(reviewer).map_err(refused)?,
            id: &handle,
            display_name: None,
        };
        let mut options = PublicKeyCredentialCreationOptions::passkey(&self.id, user, others);
        options.timeout = millis(wait);
        // The person is verified at every use; authenticators that can't promise it are welcome.
        options.extensions.cred_protect = CredProtect::None;
        let challenge = hex(options.challenge.as_data());
        let (server, client) = options.start_ceremony().map_err(refused)?;
        Ok(Begun {
            challenge,
            state: text(&server.encode().map_err(refused)?),
            options: serde_json::to_string(&client).map_err(refused)?,
        })
    }

    /// Ends it with what the browser answered, a `RegistrationResponseJSON` (section 7.1).
    ///
    /// # Errors
    /// [`Refused`]: a check of the specification failed, or the answer or state can't be read.
    pub(crate) fn end_adding(&self, state: &str, answer: &str) -> Result<Made, Refused> {
        let server = RegistrationServerState::<16>::decode(&bytes(state)?).map_err(refused)?;
        let answer = Registration::from_json_relaxed(answer.as_bytes()).map_err(refused)?;
        let options = RegistrationVerificationOptions::<&str, &str> {
            allowed_origins: &[self.origin.as_str()],
            // Password managers answer more than they were asked.
            error_on_unsolicited_extensions: false,
            ..RegistrationVerificationOptions::default()
        };
        let made = server.verify(&self.id, &answer, &options).map_err(refused)?;
        Ok(Made {
            id: text(made.id().inner()),
            handle: text(AsRef::<[u8]>::as_ref(made.user_id())),
            public_key: text(&made.static_state().encode().map_err(refused)?),
            state: text(&made.dynamic_state().encode().map_err(refused)?),
        })
    }

    /// Begins to ask for a passkey of any kind that was made here.
    ///
    /// # Errors
    /// [`Refused`]: the library can't encode the ceremony, which is not expected.
    pub(crate) fn begin_using(&self, wait: Duration) -> Result<Begun, Refused> {
        let mut options = DiscoverableCredentialRequestOptions::passkey(&self.id);
        options.0.timeout = millis(wait);
        let challenge = hex(options.0.challenge.as_data());
        let (server, client) = options.start_ceremony().map_err(refused)?;
        Ok(Begun {
            challenge,
            state: text(&server.encode().map_err(refused)?),
            options: serde_json::to_string(&client).map_err(refused)?,
        })
    }

    /// Ends it with what the browser answered, an `AuthenticationResponseJSON` (section 7.2).
    /// Returns the passkey's new state.
    ///
    /// # Errors
    /// [`Refused`]: a check of the specification failed. A signature counter that did not go up is
    /// one of them: it means a copy of the passkey.
    pub(crate) fn end_using(
        &self,
        state: &str,
        answer: &Used,
        key: &Passkey,
    ) -> Result<String, Refused> {
        let server =
            DiscoverableAuthenticationServerState::decode(&bytes(state)?).map_err(refused)?;
        let (id, handle) = (bytes(&key.id)?, handle_of(&key.handle)?);
        let before = <[u8; 7]>::try_from(bytes(&key.state)?)
            .map_err(|_| Refused("the stored state can't be read".to_owned()))?;
        let mut credential = AuthenticatedCredential::new(
            CredentialId::decode(id.as_slice()).map_err(refused)?,
            &handle,
            StaticState::decode(&bytes(&key.public_key)?).map_err(refused)?,
            DynamicState::decode(before).map_err(refused)?,
        )
        .map_err(refused)?;
        let options = AuthenticationVerificationOptions::<&str, &str> {
            allowed_origins: &[self.origin.as_str()],
            error_on_unsolicited_extensions: false,
            ..AuthenticationVerificationOptions::default()
        };
        server.verify(&self.id, &answer.0, &mut credential, &options).map_err(refused)?;
        Ok(text(&credential.dynamic_state().encode().map_err(refused)?))
    }
}

/// What a browser answers when a passkey was used.
#[derive(Debug)]
pub(crate) struct Used(DiscoverableAuthentication16);

impl Used {
    /// Reads an `AuthenticationResponseJSON`.
    ///
    /// # Errors
    /// [`Refused`]: the text is not such an answer.
    pub(crate) fn read(answer: &str) -> Result<Self, Refused> {
        DiscoverableAuthentication16::from_json_relaxed(answer.as_bytes())
            .map(Self)
            .map_err(refused)
    }

    /// The id of the credential it claims.
    pub(crate) fn credential(&self) -> String {
        text(self.0.raw_id().inner())
    }

    /// The challenge it answers, 32 hexadecimal digits.
    ///
    /// # Errors
    /// [`Refused`]: its client data has no challenge of 16 bytes.
    pub(crate) fn challenge(&self) -> Result<String, Refused> {
        Ok(hex(self.0.challenge_relaxed().map_err(refused)?.0))
    }
}

/// The challenge that a `RegistrationResponseJSON` answers, 32 hexadecimal digits.
///
/// # Errors
/// [`Refused`]: the text is not such an answer, or has no challenge of 16 bytes.
pub(crate) fn challenge_of_added(answer: &str) -> Result<String, Refused> {
    let answer = Registration::from_json_relaxed(answer.as_bytes()).map_err(refused)?;
    Ok(hex(answer.challenge_relaxed().map_err(refused)?.0))
}

/// A user handle for somebody's first passkey: 16 random bytes, base64url.
pub(crate) fn new_handle() -> String {
    let handle = UserHandle16::new();
    text(AsRef::<[u8]>::as_ref(&handle))
}

fn handle_of(handle: &str) -> Result<UserHandle16, Refused> {
    let bytes = <[u8; 16]>::try_from(bytes(handle)?)
        .map_err(|_| Refused("the stored handle can't be read".to_owned()))?;
    UserHandle16::decode(bytes).map_err(refused)
}

fn hex(challenge: u128) -> String {
    format!("{challenge:032x}")
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(text: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(text).map_err(refused)
}

fn millis(wait: Duration) -> NonZeroU32 {
    u32::try_from(wait.as_millis()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_have_passkeys_for_names_with_tls_and_for_localhost() {
        let party = |url: &str| Party::of(&url.parse().unwrap());

        for url in ["https://placet.example.org", "http://localhost:8420", "https://a.localhost/x"]
        {
            assert!(party(url).is_some(), "{url}");
        }
        for url in ["http://placet.example.org", "http://127.0.0.1:8420", "https://[::1]/"] {
            assert!(party(url).is_none(), "{url}");
        }
        assert_eq!(
            party("https://placet.example.org/x").unwrap().origin,
            "https://placet.example.org"
        );
    }

    #[test]
    fn every_ceremony_has_a_challenge_of_its_own_and_asks_to_verify_the_user() {
        let party = Party::of(&"http://localhost:8420".parse().unwrap()).unwrap();
        let wait = Duration::from_secs(120);

        let adding = party.begin_adding("ana", &new_handle(), &[], wait).unwrap();
        let using = [party.begin_using(wait).unwrap(), party.begin_using(wait).unwrap()];

        assert_ne!(using[0].challenge, using[1].challenge);
        assert!(adding.options.contains("\"userVerification\":\"required\""), "{}", adding.options);
        assert!(using[0].options.contains("\"userVerification\":\"required\""));
        assert!(using[0].options.contains("\"timeout\":120000"), "{}", using[0].options);
        assert!(Used::read("{}").is_err() && challenge_of_added("[").is_err());
    }
}
