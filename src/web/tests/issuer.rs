//! A provider of sign-ins: really on the network, with real signatures, and wrong where a test
//! wants it to be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub(super) const CLIENT: &str = "placet-test";
pub(super) const SECRET: &str = "the client's secret";

/// What it does; a test changes it.
pub(super) struct Manner {
    /// The key it signs with, by its id.
    pub kid: String,
    /// Whether that key is among those it publishes.
    pub published: bool,
    /// The header's `alg`; `none` leaves the signature out.
    pub alg: String,
    /// Claims over the right ones.
    pub claims: Map<String, Value>,
    /// Claims left out of the ID token, told at userinfo.
    pub only_userinfo: Vec<String>,
    /// Claims over the right ones, at userinfo alone.
    pub userinfo: Map<String, Value>,
    /// Whether it signs what it tells at userinfo.
    pub signs_userinfo: bool,
    /// Members over the right ones of what a code is exchanged for.
    pub tokens: Map<String, Value>,
    /// How it wants the client's secret: `basic`, `form`, or `none` for a public client.
    pub secret: &'static str,
    /// What its description says besides or otherwise.
    pub metadata: Map<String, Value>,
    /// What the token endpoint refuses with.
    pub refuses: Option<String>,
    /// Bytes that its description is longer.
    pub padding: usize,
    /// Whether its description is elsewhere.
    pub redirects: bool,
}

struct Asked {
    challenge: String,
    nonce: String,
    redirect: String,
}

pub(super) struct Inner {
    pub address: String,
    now: i64,
    keys: Mutex<HashMap<String, Arc<EcdsaKeyPair>>>,
    codes: Mutex<HashMap<String, Asked>>,
    pub manner: Mutex<Manner>,
    /// How often its description and its keys were asked for.
    pub asked: Mutex<(usize, usize)>,
}

pub(super) type Issuer = Arc<Inner>;

/// Starts one; `now` in seconds is its clock, which stands.
pub(super) async fn start(now: i64) -> Issuer {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Arc::new(Inner {
        address: format!("http://{}", listener.local_addr().unwrap()),
        now,
        keys: Mutex::default(),
        codes: Mutex::default(),
        manner: Mutex::new(Manner {
            kid: "first".to_owned(),
            published: true,
            alg: "ES256".to_owned(),
            claims: Map::new(),
            only_userinfo: Vec::new(),
            userinfo: Map::new(),
            signs_userinfo: false,
            tokens: Map::new(),
            secret: "basic",
            metadata: Map::new(),
            refuses: None,
            padding: 0,
            redirects: false,
        }),
        asked: Mutex::default(),
    });
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(description))
        .route("/keys", get(keys))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo))
        .with_state(issuer.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    issuer
}

impl Inner {
    pub(super) fn change(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }

    pub(super) fn claim(&self, name: &str, value: Value) {
        self.change(|m| {
            m.claims.insert(name.to_owned(), value);
        });
    }

    /// What it does when somebody was sent to it and signed in: the code of its answer.
    pub(super) fn code(&self, sent_to: &HashMap<String, String>) -> String {
        let mut codes = self.codes.lock().unwrap();
        let code = format!("code-{}", codes.len());
        let of = |key: &str| sent_to[key].clone();
        assert_eq!(of("client_id"), CLIENT);
        assert_eq!(of("response_type"), "code");
        assert_eq!(of("code_challenge_method"), "S256");
        let asked = Asked {
            challenge: of("code_challenge"),
            nonce: of("nonce"),
            redirect: of("redirect_uri"),
        };
        codes.insert(code.clone(), asked);
        code
    }

    fn key(&self, kid: &str) -> Arc<EcdsaKeyPair> {
        let mut keys = self.keys.lock().unwrap();
        let make = || {
            let random = SystemRandom::new();
            let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
            Arc::new(EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &random).unwrap())
        };
        keys.entry(kid.to_owned()).or_insert_with(make).clone()
    }

    fn all_claims(&self, nonce: &str) -> Map<String, Value> {
        let right = json!({
            "iss": self.address, "sub": "subject-of-ana", "aud": CLIENT, "nonce": nonce,
            "iat": self.now, "exp": self.now + 300,
            "email": "ana@example.org", "email_verified": true,
        });
        let mut claims = right.as_object().unwrap().clone();
        claims.extend(self.manner.lock().unwrap().claims.clone());
        claims.retain(|_, value| !value.is_null());
        claims
    }

    fn id_token(&self, nonce: &str) -> String {
        let mut claims = self.all_claims(nonce);
        claims.retain(|name, _| !self.manner.lock().unwrap().only_userinfo.contains(name));
        self.sign(claims)
    }

    fn sign(&self, claims: Map<String, Value>) -> String {
        let manner = self.manner.lock().unwrap();
        let header = json!({ "alg": manner.alg, "kid": manner.kid, "typ": "JWT" });
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let signed =
            format!("{}.{}", part(header.to_string()), part(Value::Object(claims).to_string()));
        if manner.alg == "none" {
            return format!("{signed}.");
        }
        let signature = if manner.alg == "HS256" {
            use hmac::Mac as _;
            let mut mac = hmac::Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(signed.as_bytes());
            mac.finalize().into_bytes().to_vec()
        } else {
            let random = SystemRandom::new();
            self.key(&manner.kid).sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn description(State(issuer): State<Issuer>) -> Response {
    issuer.asked.lock().unwrap().0 += 1;
    let manner = issuer.manner.lock().unwrap();
    if manner.redirects {
        return axum::response::Redirect::temporary("/keys").into_response();
    }
    let at = |path: &str| format!("{}{path}", issuer.address);
    let right = json!({
        "issuer": issuer.address,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        "padding": "x".repeat(manner.padding),
    });
    let mut all = right.as_object().unwrap().clone();
    all.extend(manner.metadata.clone());
    Json(Value::Object(all)).into_response()
}

async fn keys(State(issuer): State<Issuer>) -> Json<Value> {
    issuer.asked.lock().unwrap().1 += 1;
    let (kid, published) = {
        let manner = issuer.manner.lock().unwrap();
        (manner.kid.clone(), manner.published)
    };
    let kid = if published { kid } else { "another".to_owned() };
    let key = issuer.key(&kid);
    let point = key.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Json(json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid,
        "x": part(&point[1..33]), "y": part(&point[33..65]),
    }] }))
}

async fn token(
    State(issuer): State<Issuer>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    check_client(&issuer, &headers, &form);
    let refusal = issuer.manner.lock().unwrap().refuses.clone();
    let asked = issuer.codes.lock().unwrap().remove(&form["code"]);
    let fits = asked.as_ref().is_some_and(|asked| {
        let hash = Sha256::digest(form["code_verifier"].as_bytes());
        URL_SAFE_NO_PAD.encode(hash) == asked.challenge && form["redirect_uri"] == asked.redirect
    });
    let refusal = refusal.or((!fits).then(|| "invalid_grant".to_owned()));
    match (refusal, asked) {
        (None, Some(asked)) => {
            let id_token = issuer.id_token(&asked.nonce);
            let right =
                json!({ "access_token": "a", "token_type": "Bearer", "id_token": id_token });
            let mut all = right.as_object().unwrap().clone();
            all.extend(issuer.manner.lock().unwrap().tokens.clone());
            all.retain(|_, value| !value.is_null());
            Json(Value::Object(all)).into_response()
        }
        (refusal, _) => {
            let body = json!({ "error": refusal, "error_description": "<b>no</b>" });
            (axum::http::StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

/// The client proves itself as it was told to, and in no other way besides.
fn check_client(issuer: &Issuer, headers: &HeaderMap, form: &HashMap<String, String>) {
    let header = headers.get("authorization").map(|value| value.to_str().unwrap());
    let field = |name: &str| form.get(name).map(String::as_str);
    let in_form = (field("client_id"), field("client_secret"));
    match issuer.manner.lock().unwrap().secret {
        "form" => assert_eq!((header, in_form), (None, (Some(CLIENT), Some(SECRET)))),
        "none" => assert_eq!((header, in_form), (None, (Some(CLIENT), None))),
        _ => {
            let basic = header.unwrap().strip_prefix("Basic ").unwrap();
            let pair = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
            let secret: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
            assert_eq!((pair, in_form), (format!("{CLIENT}:{secret}"), (None, None)));
        }
    }
}

async fn userinfo(State(issuer): State<Issuer>, headers: HeaderMap) -> Response {
    assert_eq!(headers["authorization"], "Bearer a");
    let mut claims = issuer.all_claims("");
    let signed = {
        let manner = issuer.manner.lock().unwrap();
        let always = if manner.signs_userinfo { &["sub", "iss", "aud"][..] } else { &["sub"] };
        claims.retain(|name, _| {
            always.contains(&name.as_str()) || manner.only_userinfo.contains(name)
        });
        claims.extend(manner.userinfo.clone());
        claims.retain(|_, value| !value.is_null());
        manner.signs_userinfo
    };
    if signed {
        return ([("content-type", "application/jwt")], issuer.sign(claims)).into_response();
    }
    Json(Value::Object(claims)).into_response()
}
