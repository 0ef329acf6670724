//! An authenticator in memory (WebAuthn Level 3, section 6): makes one ES256 credential and uses it,
//! truly or with one thing wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What may be wrong with an answer.
#[derive(Debug, Clone)]
pub(super) struct Lie {
    pub(super) origin: &'static str,
    pub(super) party: &'static str,
    /// 1 present, 4 verified.
    pub(super) flags: u8,
    pub(super) counter: Option<u32>,
    pub(super) sign_with: Option<u8>,
    pub(super) id: Option<[u8; 32]>,
}

/// Nothing is wrong.
pub(super) const TRUE: Lie = Lie {
    origin: "http://localhost:8420",
    party: "localhost",
    flags: 5,
    counter: None,
    sign_with: None,
    id: None,
};

pub(super) struct Authenticator {
    seed: u8,
    id: [u8; 32],
    handle: String,
    counter: u32,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn client_data(kind: &str, options: &Value, origin: &str) -> String {
    let challenge = options["challenge"].as_str().unwrap();
    format!(
        "{{\"type\":\"webauthn.{kind}\",\"challenge\":\"{challenge}\",\"origin\":\"{origin}\",\
         \"crossOrigin\":false}}"
    )
}

fn data(party: &str, flags: u8, counter: u32) -> Vec<u8> {
    let mut data = Sha256::digest(party).to_vec();
    data.push(flags);
    data.extend(counter.to_be_bytes());
    data
}

impl Authenticator {
    /// One with a key of its own for each seed.
    pub(super) fn new(seed: u8) -> Self {
        Self { seed, id: [seed; 32], handle: String::new(), counter: 0 }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_slice(&[seed; 32]).unwrap()
    }

    /// Makes the credential: a `RegistrationResponseJSON`.
    pub(super) fn make(&mut self, options: &str, lie: &Lie) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        options["user"]["id"].as_str().unwrap().clone_into(&mut self.handle);
        let point = Self::key(self.seed).verifying_key().to_encoded_point(false);
        let mut auth = data(lie.party, lie.flags | 0x40, self.counter);
        auth.extend([0; 16]);
        auth.extend([0, 32]);
        auth.extend(self.id);
        // COSE: EC2, ES256, P-256.
        auth.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        auth.extend(point.x().unwrap());
        auth.extend([0x22, 0x58, 0x20]);
        auth.extend(point.y().unwrap());
        // CBOR: no attestation.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(auth.len()).unwrap());
        object.extend(auth);
        json!({
            "id": text(&self.id), "rawId": text(&self.id), "type": "public-key",
            "authenticatorAttachment": "platform", "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {
                "clientDataJSON": text(client_data("create", &options, lie.origin).as_bytes()),
                "attestationObject": text(&object), "transports": ["internal"],
            },
        })
        .to_string()
    }

    /// Uses it: an `AuthenticationResponseJSON`.
    pub(super) fn give(&mut self, options: &str, lie: &Lie) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        self.counter += 1;
        let client = client_data("get", &options, lie.origin);
        let auth = data(lie.party, lie.flags, lie.counter.unwrap_or(self.counter));
        let mut signed = auth.clone();
        signed.extend(Sha256::digest(&client));
        let signature: Signature = Self::key(lie.sign_with.unwrap_or(self.seed)).sign(&signed);
        let id = lie.id.unwrap_or(self.id);
        json!({
            "id": text(&id), "rawId": text(&id), "type": "public-key",
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": text(client.as_bytes()), "authenticatorData": text(&auth),
                "signature": text(signature.to_der().as_bytes()), "userHandle": self.handle,
            },
        })
        .to_string()
    }
}
