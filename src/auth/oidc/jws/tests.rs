//! What verifies, and every lie of a token that must not. `signed.json` was signed by OpenSSL, with
//! keys that are gone.

use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

const SIGNED: &str = include_str!("signed.json");

const CLAIMS: &str = r#"{"sub":"ana"}"#;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn keys(all: &str) -> Keys {
    Keys::read(&format!("{{\"keys\":[{all}]}}")).unwrap()
}

/// Somebody with a key on P-256.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let (curve, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(curve, key.as_ref(), &random).unwrap())
    }

    /// The public key, with more members.
    fn jwk(&self, more: &str) -> String {
        let point = self.0.public_key().as_ref();
        let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{more}}}"#)
    }

    fn sign_bytes(&self, header: &str, payload: &[u8]) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", b64(signature))
    }

    fn sign(&self, header: &str) -> String {
        self.sign_bytes(header, CLAIMS.as_bytes())
    }
}

/// Appendices A.2 and A.3 of RFC 7515.
const RFC_7515: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn the_examples_of_the_standards_verify() {
    let keys = keys(
        r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
        {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    );
    let rs256 = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let es256 =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    // Appendix A.4 of RFC 8037.
    let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    for token in [
        format!("eyJhbGciOiJSUzI1NiJ9.{RFC_7515}.{rs256}"),
        format!("eyJhbGciOiJFUzI1NiJ9.{RFC_7515}.{es256}"),
    ] {
        assert!(keys.payload(&token).unwrap().starts_with(r#"{"iss":"joe","#));
    }
    assert_eq!(keys.payload(eddsa).unwrap(), "Example of Ed25519 signing");
    let swapped = format!("eyJhbGciOiJSUzI1NiJ9.{RFC_7515}.{es256}");
    assert_eq!(keys.payload(&swapped), Err(JwsError::Signature));
}

#[test]
fn what_openssl_signed_verifies_and_no_part_of_it_may_be_another() {
    let signed = json::parse(SIGNED).unwrap();
    let keys = Keys::read(SIGNED).unwrap();
    let right = signed.get("right").unwrap().members().unwrap();
    assert_eq!((keys.count(), right.len()), (3, 7));
    for member in right {
        let token = member.node.as_str().unwrap();
        assert_eq!(keys.payload(token).as_deref(), Ok(CLAIMS), "{}", member.key);

        let parts: Vec<&str> = token.split('.').collect();
        let admin = b64(r#"{"sub":"root"}"#);
        let other_payload = format!("{}.{admin}.{}", parts[0], parts[2]);
        let header = decoded(parts[0]).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap();
        let other_header = format!("{}.{}.{}", b64(format!("{header} ")), parts[1], parts[2]);
        let mut signature = decoded(parts[2]).unwrap();
        signature[7] ^= 1;
        let other_signature = format!("{}.{}.{}", parts[0], parts[1], b64(&signature));
        let shorter = format!("{}.{}.{}", parts[0], parts[1], b64(&signature[1..]));
        let none = format!("{}.{}.", parts[0], parts[1]);
        for lie in [other_payload, other_header, other_signature, shorter, none] {
            assert_eq!(keys.payload(&lie), Err(JwsError::Signature), "{} {lie}", member.key);
        }
    }
    for member in signed.get("wrong").unwrap().members().unwrap() {
        let token = member.node.as_str().unwrap();
        assert_eq!(keys.payload(token), Err(JwsError::Signature), "{}", member.key);
    }
}

#[test]
fn nothing_and_a_shared_secret_sign_nothing() {
    let signer = Signer::new();
    let jwk = signer.jwk(r#","kid":"a""#);
    // What somebody without the private key can make of what is public: a secret of the key.
    let secret = b64("the client's secret");
    let keys = keys(&format!(r#"{jwk},{{"kty":"oct","kid":"b","k":"{secret}"}}"#));
    assert_eq!(keys.count(), 1, "a shared secret is no key here");
    let signed = |alg: &str| format!("{}.{}", b64(format!(r#"{{"alg":"{alg}"}}"#)), b64(CLAIMS));

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for end in ["", "AA", &b64([0; 64])] {
            let token = format!("{}.{end}", signed(alg));
            assert_eq!(keys.payload(&token), Err(JwsError::Algorithm), "{alg} {end}");
        }
    }
    let public = signer.0.public_key().as_ref().to_vec();
    for secret in [b"the client's secret".to_vec(), jwk.into_bytes(), public, Vec::new()] {
        for (alg, how) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            let signed = signed(alg);
            let tag = hmac::sign(&hmac::Key::new(how, &secret), signed.as_bytes());
            let token = format!("{signed}.{}", b64(tag));
            assert_eq!(keys.payload(&token), Err(JwsError::Algorithm), "{alg}");
        }
    }
    for alg in ["ES512", "ES256K", "es256", "RS1", "Ed448", "RSA-OAEP", "dir", "A128KW"] {
        let token = signer.sign(&format!(r#"{{"alg":"{alg}"}}"#));
        assert_eq!(keys.payload(&token), Err(JwsError::Algorithm), "{alg}");
    }
}

#[test]
fn a_header_chooses_no_key_of_its_own_and_asks_for_nothing() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let keys = keys(&signer.jwk(r#","kid":"a""#));
    let own = stranger.jwk("");

    for header in [
        format!(r#"{{"alg":"ES256","jwk":{own}}}"#),
        r#"{"alg":"ES256","jku":"https://evil.example/keys"}"#.to_owned(),
        r#"{"alg":"ES256","x5u":"https://evil.example/","kid":"a"}"#.to_owned(),
        r#"{"alg":"ES256","kid":"a"}"#.to_owned(),
    ] {
        assert_eq!(keys.payload(&stranger.sign(&header)), Err(JwsError::Signature), "{header}");
    }
    for header in [
        r#"{"alg":"ES256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"ES256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"ES256","crit":[]}"#,
        r#"{"alg":"ES256","cty":"JWT"}"#,
        r#"{"alg":"ES256","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","typ":"application/logout+jwt"}"#,
        r#"{"alg":"ES256","typ":1}"#,
        r#"{"alg":"ES256","alg":"none"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":null}"#,
        r#"{"kid":"a"}"#,
        r#"{"alg":"ES256","kid":7}"#,
        r#"["ES256"]"#,
        "ES256",
        "",
    ] {
        let answer = keys.payload(&signer.sign(header));
        assert!(matches!(answer, Err(JwsError::Malformed(_))), "{header}: {answer:?}");
    }
    for kind in ["JWT", "jwt", "application/jwt", "JOSE"] {
        let token = signer.sign(&format!(r#"{{"alg":"ES256","typ":"{kind}"}}"#));
        assert_eq!(keys.payload(&token).as_deref(), Ok(CLAIMS), "{kind}");
    }
}

#[test]
fn the_one_key_that_fits_is_used_and_no_other() {
    let (signer, other) = (Signer::new(), Signer::new());
    let token = |kid: &str| match kid {
        "" => signer.sign(r#"{"alg":"ES256"}"#),
        kid => signer.sign(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#)),
    };
    let (a, b) =
        (signer.jwk(r#","kid":"a","use":"sig","alg":"ES256""#), other.jwk(r#","kid":"b""#));

    let both = keys(&format!("{a},{b}"));
    assert_eq!(both.payload(&token("a")).as_deref(), Ok(CLAIMS));
    assert_eq!(both.payload(&token("b")), Err(JwsError::Signature));
    assert_eq!(both.payload(&token("c")), Err(JwsError::NoKey));
    assert_eq!(both.payload(&token("")), Err(JwsError::Ambiguous), "which one is not guessed");
    assert_eq!(keys(&format!("{a},{a}")).payload(&token("a")), Err(JwsError::Ambiguous));
    assert_eq!(keys(&a).payload(&token("")).as_deref(), Ok(CLAIMS));
    for more in [r#","use":"enc""#, r#","use":1"#, r#","alg":"ES384""#, r#","alg":"RS256""#] {
        let kid = r#","kid":"a""#;
        let keys = keys(&signer.jwk(&format!("{more}{kid}")));
        assert_eq!(keys.payload(&token("a")), Err(JwsError::NoKey), "{more}");
    }
    let rsa = signer.sign(r#"{"alg":"RS256","kid":"a"}"#);
    assert_eq!(keys(&signer.jwk(r#","kid":"a""#)).payload(&rsa), Err(JwsError::NoKey));
}

#[test]
fn only_the_compact_form_is_read_to_the_letter() {
    let signer = Signer::new();
    let keys = keys(&signer.jwk(""));
    let token = signer.sign(r#"{"alg":"ES256"}"#);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header = b64(r#"{"alg":"ES256"}"#);

    for odd in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{token}."),
        format!("{token}.{signature}.{signature}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}=="),
        format!("{signed}.{}", signature.replace(['-', '_'], "+")) + "+",
        format!("{header}=.{}.{signature}", b64(CLAIMS)),
        format!(r#"{{"payload":"{}","signatures":[]}}"#, b64(CLAIMS)),
    ] {
        let answer = keys.payload(&odd);
        assert!(matches!(answer, Err(JwsError::Malformed(_))), "{odd}: {answer:?}");
    }
    let bytes = signer.sign_bytes(r#"{"alg":"ES256"}"#, &[0xff, 0xfe]);
    assert!(matches!(keys.payload(&bytes), Err(JwsError::Malformed(_))));
}

#[test]
fn keys_that_are_no_use_are_passed_over_and_what_is_no_set_is_refused() {
    let signer = Signer::new();
    let odd = r#"1,null,{},{"kty":"RSA"},{"kty":"RSA","n":"","e":"AQAB"},{"kty":"RSA","n":"a b","e":"AQAB"},
        {"kty":"EC","crv":"P-521","x":"AA","y":"AA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},
        {"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"},{"kty":"OKP","crv":"X25519","x":"AA"},
        {"kty":"OKP","crv":"Ed25519","x":"AA"},{"kty":"AKP","pub":"AA"}"#;
    let keys = keys(&format!("{odd},{}", signer.jwk(r#","kid":null,"x5c":["AA"]"#)));
    assert_eq!(keys.count(), 1);
    assert_eq!(keys.payload(&signer.sign(r#"{"alg":"ES256"}"#)).as_deref(), Ok(CLAIMS));

    for none in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(Keys::read(none).is_err(), "{none}");
    }
    // A point that is not on the curve verifies nothing.
    let zeros = b64([0; 32]);
    let nowhere = format!(r#"{{"kty":"EC","crv":"P-256","x":"{zeros}","y":"{zeros}"}}"#);
    let keys = Keys::read(&format!("{{\"keys\":[{nowhere}]}}")).unwrap();
    assert_eq!(keys.payload(&signer.sign(r#"{"alg":"ES256"}"#)), Err(JwsError::Signature));
}

#[test]
fn a_modulus_with_zeros_before_it_is_the_same_key() {
    let signed = json::parse(SIGNED).unwrap();
    let n = signed.get("keys").unwrap().elements().unwrap()[0].get("n").unwrap().as_str().unwrap();
    let longer = b64([vec![0, 0], decoded(n).unwrap()].concat());
    let keys = keys(&format!(r#"{{"kty":"RSA","kid":"rsa","n":"{longer}","e":"AAEAAQ"}}"#));
    let token = signed.get("right").unwrap().get("RS256").unwrap().as_str().unwrap();
    assert_eq!(keys.payload(token).as_deref(), Ok(CLAIMS));
}
