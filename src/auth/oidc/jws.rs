//! Signatures of a provider: JSON Web Signature in its compact form
//! ([RFC 7515](https://www.rfc-editor.org/rfc/rfc7515)), keys as a JSON Web Key Set
//! ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)), the algorithms of
//! [RFC 7518](https://www.rfc-editor.org/rfc/rfc7518) and
//! [RFC 8037](https://www.rfc-editor.org/rfc/rfc8037). The arithmetic is ring's.
//!
//! Nothing of a payload is read before its signature was verified, and the header chooses among
//! what is allowed here, never how it is verified: an algorithm belongs to one kind of key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use thiserror::Error;

use crate::domain::json::{self, Node};

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum JwsError {
    /// It is not a token in the compact form, or a kind that is not read here.
    #[error("the token {0}")]
    Malformed(&'static str),
    /// It is not signed, or signed with a shared secret or an algorithm that is not known here.
    #[error("the token is not signed with an algorithm that is taken")]
    Algorithm,
    /// None of the keys can have made it. The provider may have changed its keys.
    #[error("the token is signed with none of the provider's keys")]
    NoKey,
    /// Several of the keys may have made it, and it does not say which.
    #[error("the token does not say which of the provider's keys it is signed with")]
    Ambiguous,
    /// The signature is not the key's.
    #[error("the signature of the token is wrong")]
    Signature,
}

/// How one algorithm verifies, and with what kind of key.
enum Scheme {
    Rsa(&'static RsaParameters),
    Curve(&'static str, &'static dyn VerificationAlgorithm),
}

/// What a token may be signed with: the provider's private key. Never a shared secret, which
/// everybody who may read the configuration has, and never nothing
/// ([RFC 8725 section 3.1](https://www.rfc-editor.org/rfc/rfc8725#section-3.1)). RSA keys have 2048
/// bits at least ([RFC 7518 section 3.3](https://www.rfc-editor.org/rfc/rfc7518#section-3.3)).
fn scheme(alg: &str) -> Option<Scheme> {
    Some(match alg {
        "RS256" => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Scheme::Rsa(&RSA_PSS_2048_8192_SHA256),
        "PS384" => Scheme::Rsa(&RSA_PSS_2048_8192_SHA384),
        "PS512" => Scheme::Rsa(&RSA_PSS_2048_8192_SHA512),
        "ES256" => Scheme::Curve("P-256", &ECDSA_P256_SHA256_FIXED),
        "ES384" => Scheme::Curve("P-384", &ECDSA_P384_SHA384_FIXED),
        "EdDSA" => Scheme::Curve("Ed25519", &ED25519),
        _ => return None,
    })
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Curve { name: &'static str, point: Vec<u8> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm it is for; none: any of its kind.
    alg: Option<String>,
    material: Material,
}

impl Key {
    /// A key that signatures can be verified with; none if this is another, or can't be read.
    fn read(node: &Node<'_>) -> Option<Self> {
        // A key for encryption signs nothing (https://www.rfc-editor.org/rfc/rfc7517#section-4.2).
        if optional(node, "use").ok()?.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let material = match text(node, "kty")? {
            "RSA" => Material::Rsa { n: number(node, "n")?, e: number(node, "e")? },
            "EC" => {
                let (name, size) = match text(node, "crv")? {
                    "P-256" => ("P-256", 32),
                    "P-384" => ("P-384", 48),
                    _ => return None,
                };
                // Uncompressed: section 2.3.3 of SEC 1.
                let point = [vec![4], octets(node, "x", size)?, octets(node, "y", size)?].concat();
                Material::Curve { name, point }
            }
            "OKP" if text(node, "crv")? == "Ed25519" => {
                Material::Curve { name: "Ed25519", point: octets(node, "x", 32)? }
            }
            _ => return None,
        };
        Some(Self {
            id: optional(node, "kid").ok()?.map(str::to_owned),
            alg: optional(node, "alg").ok()?.map(str::to_owned),
            material,
        })
    }

    fn fits(&self, id: Option<&str>, alg: &str, scheme: &Scheme) -> bool {
        let kind = match (&self.material, scheme) {
            (Material::Rsa { .. }, Scheme::Rsa(_)) => true,
            (Material::Curve { name, .. }, Scheme::Curve(wanted, _)) => name == wanted,
            _ => false,
        };
        let named = id.is_none() || id == self.id.as_deref();
        kind && named && self.alg.as_ref().is_none_or(|own| own == alg)
    }

    fn verify(&self, scheme: &Scheme, signed: &[u8], signature: &[u8]) -> Result<(), JwsError> {
        let verified = match (&self.material, scheme) {
            (Material::Rsa { n, e }, Scheme::Rsa(how)) => {
                RsaPublicKeyComponents { n, e }.verify(how, signed, signature).is_ok()
            }
            (Material::Curve { name, point }, Scheme::Curve(wanted, how)) if name == wanted => {
                UnparsedPublicKey::new(*how, point).verify(signed, signature).is_ok()
            }
            _ => false,
        };
        if verified { Ok(()) } else { Err(JwsError::Signature) }
    }
}

/// The public keys of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a JSON Web Key Set. Keys that can't be used here are passed over
    /// ([RFC 7517 section 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
    ///
    /// # Errors
    /// The text is not JSON, or has no list `keys`; in words.
    pub(crate) fn read(source: &str) -> Result<Self, String> {
        let set = json::parse(source).map_err(|error| error.to_string())?;
        let keys = set.get("keys").and_then(Node::elements).ok_or("it has no list of keys")?;
        Ok(Self(keys.iter().filter_map(Key::read).collect()))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The payload of a token in the compact form, if one of these keys signed it.
    ///
    /// # Errors
    /// [`JwsError`] says why not; the payload stays unread.
    pub(crate) fn payload(&self, token: &str) -> Result<String, JwsError> {
        // The compact form has three parts (https://www.rfc-editor.org/rfc/rfc7515#section-7.1); an
        // encrypted token has five and is not taken.
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsError::Malformed("does not have three parts"));
        };
        let signature =
            decoded(signature).ok_or(JwsError::Malformed("has a signature that can't be read"))?;
        let (alg, id) = read_header(header)?;
        let scheme = scheme(&alg).ok_or(JwsError::Algorithm)?;
        let mut fitting = self.0.iter().filter(|key| key.fits(id.as_deref(), &alg, &scheme));
        let key = fitting.next().ok_or(JwsError::NoKey)?;
        // OpenID Connect Core, section 10.1: where there are several, the token names its key.
        if fitting.next().is_some() {
            return Err(JwsError::Ambiguous);
        }
        let signed = &token[..header.len() + 1 + payload.len()];
        key.verify(&scheme, signed.as_bytes(), &signature)?;
        decoded(payload)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(JwsError::Malformed("has a payload that can't be read"))
    }
}

/// The algorithm and the key's id of a header that holds nothing which would have to be understood.
fn read_header(part: &str) -> Result<(String, Option<String>), JwsError> {
    let malformed = JwsError::Malformed("has a header that can't be read");
    let source = decoded(part).and_then(|b| String::from_utf8(b).ok()).ok_or(malformed)?;
    let header = json::parse(&source).map_err(|_| malformed)?;
    // A critical header that is not understood is refused, and none is understood here
    // (https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11).
    if header.get("crit").is_some() {
        return Err(JwsError::Malformed("has critical headers"));
    }
    // `cty` says that the payload is something else than claims
    // (https://www.rfc-editor.org/rfc/rfc7519#section-5.2).
    if header.get("cty").is_some() {
        return Err(JwsError::Malformed("holds something else than claims"));
    }
    // A token of another kind, as an access token or a sign-out, is not taken for an ID token
    // (https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9,
    // https://www.rfc-editor.org/rfc/rfc8725#section-3.11).
    let kind = optional(&header, "typ").map_err(|NotText| malformed)?.map(str::to_ascii_lowercase);
    let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    if kind.is_some_and(|kind| kind != "jwt" && kind != "jose") {
        return Err(JwsError::Malformed("is of another kind"));
    }
    let alg = text(&header, "alg").ok_or(malformed)?;
    let id = optional(&header, "kid").map_err(|NotText| malformed)?;
    Ok((alg.to_owned(), id.map(str::to_owned)))
}

/// A member that is there, but is not a string.
#[derive(Debug)]
pub(super) struct NotText;

/// The text of a member that must be a string; none if it is missing or something else.
pub(super) fn text<'n>(node: &'n Node<'_>, name: &str) -> Option<&'n str> {
    node.get(name).and_then(Node::as_str)
}

/// The text of an optional member; none if it is missing or null.
///
/// # Errors
/// [`NotText`]: the member is there and is neither a string nor null.
pub(super) fn optional<'n>(node: &'n Node<'_>, name: &str) -> Result<Option<&'n str>, NotText> {
    match node.get(name) {
        None => Ok(None),
        Some(value) if value.value == json::Value::Null => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(NotText),
    }
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The bytes of a base64url member, if there are exactly `size`.
fn octets(node: &Node<'_>, name: &str, size: usize) -> Option<Vec<u8>> {
    decoded(text(node, name)?).filter(|octets| octets.len() == size)
}

/// A `Base64urlUInt` (<https://www.rfc-editor.org/rfc/rfc7518#section-2>). Some write it with
/// leading zeros, which ring does not take.
fn number(node: &Node<'_>, name: &str) -> Option<Vec<u8>> {
    let octets = decoded(text(node, name)?)?;
    let first = octets.iter().position(|octet| *octet != 0)?;
    Some(octets[first..].to_vec())
}

#[cfg(test)]
mod tests;
