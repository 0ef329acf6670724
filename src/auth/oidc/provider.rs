//! The provider: its description and keys, fetched when they are first needed and kept a while; the
//! exchange of a code; the checks of an ID token. A provider that is down is said to be, and looked
//! for again a little later.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use crate::config::Secret;
use crate::config::oidc::{Identify, Oidc};
use crate::domain::json;
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;

use super::attempt::Attempt;
use super::claims::{Expected, said};
use super::description::Description;
use super::fetch::{Answer, Fetch};
use super::jws::{JwsError, text};
use super::person::Identity;

/// How long after a failure the provider is not asked for its description again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest piece of the provider's own words that is kept for a log or record, characters.
const MAX_WORDS: usize = 200;

/// Why the provider signed nobody in.
#[derive(Debug, Clone, Error)]
pub enum ProviderError {
    /// It can't be reached, or its description is of no use.
    #[error("the sign-in provider can't be used: {0}")]
    Unavailable(String),
    /// The provider refused the code.
    #[error("the sign-in provider did not confirm the sign-in: {0}")]
    Refused(String),
    /// A check of its answer failed.
    #[error("the sign-in provider's answer is not valid: {0}")]
    Invalid(String),
}

impl ProviderError {
    /// The word for it in the audit record.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "provider_unavailable",
            Self::Refused(_) => "code_refused",
            Self::Invalid(_) => "invalid_answer",
        }
    }
}

#[derive(Debug)]
struct Known {
    description: Description,
    at: Timestamp,
}

#[derive(Debug, Default)]
struct Cache {
    known: Option<Arc<Known>>,
    failed: Option<(Timestamp, ProviderError)>,
}

/// What a code was exchanged for.
#[derive(Debug)]
struct Tokens {
    id_token: String,
    access_token: String,
    /// Whether the access token may be brought by anybody, which is the only kind that is known.
    is_bearer: bool,
}

/// The configured sign-in provider, with what is kept of its description and keys.
#[derive(Debug)]
pub struct Provider {
    settings: Oidc,
    redirect: String,
    fetch: Fetch,
    cache: Mutex<Cache>,
}

impl Provider {
    /// The configured provider, which sends people back to `redirect`. Nothing is fetched yet.
    pub fn new(settings: &Oidc, redirect: String) -> Self {
        Self {
            fetch: Fetch::new(settings.timeout, settings.max_answer),
            settings: settings.clone(),
            redirect,
            cache: Mutex::default(),
        }
    }

    /// The configuration it was made with.
    pub fn settings(&self) -> &Oidc {
        &self.settings
    }

    /// Fetches description and keys, and says what of them counts.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`]: its description or keys can't be fetched or used.
    pub async fn probe(&self, now: Timestamp) -> Result<String, ProviderError> {
        let known = self.known(now).await?;
        let keys = known.description.keys.count();
        Ok(format!(
            "it describes itself, with {keys} keys; it must send people to {}",
            self.redirect
        ))
    }

    /// Where a browser is sent for an attempt: an authentication request
    /// ([OpenID Connect Core, section 3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest))
    /// with PKCE ([RFC 7636 section 4.3](https://www.rfc-editor.org/rfc/rfc7636#section-4.3)).
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`]: its description or keys can't be fetched or used.
    pub async fn address(&self, attempt: &Attempt, now: Timestamp) -> Result<Url, ProviderError> {
        let known = self.known(now).await?;
        let asked = self.settings.scopes.iter().filter(|s| *s != "openid");
        let scope = asked.fold("openid".to_owned(), |all, scope| format!("{all} {scope}"));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&attempt.verifier));
        let mut url = known.description.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("state", &attempt.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", &scope)
            .append_pair("nonce", &attempt.nonce);
        Ok(url)
    }

    /// Checks that an answer is this provider's, by the `iss` it came with
    /// ([RFC 9207 section 2.4](https://www.rfc-editor.org/rfc/rfc9207#section-2.4)).
    ///
    /// # Errors
    /// [`ProviderError::Invalid`] if it is another provider's, or one that always names itself did
    /// not; [`ProviderError::Unavailable`] if its description can't be fetched.
    pub async fn check_issuer(
        &self,
        iss: Option<&str>,
        now: Timestamp,
    ) -> Result<(), ProviderError> {
        let expected = if let Some(iss) = iss {
            iss == self.settings.issuer
        } else {
            !self.known(now).await?.description.names_itself
        };
        if expected {
            return Ok(());
        }
        Err(ProviderError::Invalid("it does not come from the configured issuer".to_owned()))
    }

    /// Exchanges the code of an attempt's answer and says who signed in.
    ///
    /// # Errors
    /// [`ProviderError`]: the provider can't be used, refuses the code, or its answer fails a
    /// check.
    pub async fn redeem(
        &self,
        attempt: &Attempt,
        code: &str,
        now: Timestamp,
    ) -> Result<Identity, ProviderError> {
        let mut known = self.known(now).await?;
        let tokens = self.exchange(&known.description, attempt, code).await?;
        let mut payload = known.description.keys.payload(&tokens.id_token);
        if payload == Err(JwsError::NoKey) {
            // It may have changed its keys since they were fetched (section 10.1.1 of Core).
            known = self.fetch_again(&known, now).await?;
            payload = known.description.keys.payload(&tokens.id_token);
        }
        let payload = payload.map_err(|error| ProviderError::Invalid(error.to_string()))?;
        let expected = self.expected(&attempt.nonce, now);
        let mut said = self.read_id_token(&payload, &expected).map_err(ProviderError::Invalid)?;
        if self.lacks(&said) {
            self.ask_more(&known.description, &tokens, &expected, &mut said).await?;
        }
        Ok(said)
    }

    /// The provider's description, from the cache where it is fresh enough.
    async fn known(&self, now: Timestamp) -> Result<Arc<Known>, ProviderError> {
        // Held while it is fetched, so that many at once ask once.
        let mut cache = self.cache.lock().await;
        if let Some(known) = &cache.known
            && known.at.plus(self.settings.metadata_life) > now
        {
            return Ok(known.clone());
        }
        if let Some((at, error)) = &cache.failed
            && at.plus(RETRY_AFTER) > now
        {
            return Err(error.clone());
        }
        self.discover(&mut cache, now).await
    }

    /// The description anew, unless somebody fetched it since `stale` was.
    async fn fetch_again(
        &self,
        stale: &Arc<Known>,
        now: Timestamp,
    ) -> Result<Arc<Known>, ProviderError> {
        let mut cache = self.cache.lock().await;
        match &cache.known {
            Some(known) if !Arc::ptr_eq(known, stale) => Ok(known.clone()),
            _ => self.discover(&mut cache, now).await,
        }
    }

    async fn discover(
        &self,
        cache: &mut Cache,
        now: Timestamp,
    ) -> Result<Arc<Known>, ProviderError> {
        match Description::ask(&self.fetch, &self.settings.issuer).await {
            Ok(description) => {
                let known = Arc::new(Known { description, at: now });
                *cache = Cache { known: Some(known.clone()), failed: None };
                Ok(known)
            }
            Err(why) => {
                let error = ProviderError::Unavailable(words(&why));
                tracing::warn!(%error, "nobody can sign in through the provider now");
                cache.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    /// Exchanges a code for tokens
    /// ([OpenID Connect Core, section 3.1.3](https://openid.net/specs/openid-connect-core-1_0.html#TokenEndpoint),
    /// [RFC 6749 section 4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3)).
    async fn exchange(
        &self,
        description: &Description,
        attempt: &Attempt,
        code: &str,
    ) -> Result<Tokens, ProviderError> {
        let url = description
            .token_endpoint
            .as_ref()
            .ok_or_else(|| ProviderError::Unavailable("it names no token endpoint".to_owned()))?;
        let secret = self.settings.client_secret.as_ref().map(Secret::expose);
        let in_header = secret.filter(|_| !description.secret_in_form).map(|secret| {
            // Each part is encoded by itself first
            // (https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1).
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
            (encoded(&self.settings.client_id), encoded(secret))
        });
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", &attempt.verifier),
            ("redirect_uri", &self.redirect),
        ];
        if in_header.is_none() {
            form.push(("client_id", &self.settings.client_id));
            form.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let answer = self
            .fetch
            .post(url, &form, in_header)
            .await
            .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        read_tokens(&answer).map_err(|why| {
            ProviderError::Invalid(format!("its tokens can't be read: {}", words(&why)))
        })
    }

    fn expected<'e>(&'e self, nonce: &'e str, now: Timestamp) -> Expected<'e> {
        Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce, now }
    }

    /// Who an ID token names, if it was made by the provider, for this client, for this attempt,
    /// and has not run out.
    fn read_id_token(&self, payload: &str, expected: &Expected<'_>) -> Result<Identity, String> {
        let claims = json::parse(payload).map_err(|error| format!("the ID token: {error}"))?;
        expected
            .check_id_token(&claims)
            .and_then(|()| said(&claims, &self.settings.groups_claim))
            .map_err(|why| format!("the ID token {why}"))
    }

    /// Whether the ID token left out what is needed; many providers tell it only when asked.
    fn lacks(&self, said: &Identity) -> bool {
        let email = self.settings.identify == Identify::Email && said.email.is_none();
        email || (self.settings.narrows() && said.groups.is_none())
    }

    /// Asks the userinfo endpoint, where there is one, for what the ID token left out
    /// ([OpenID Connect Core, section 5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo)).
    async fn ask_more(
        &self,
        description: &Description,
        tokens: &Tokens,
        expected: &Expected<'_>,
        said: &mut Identity,
    ) -> Result<(), ProviderError> {
        let Some(url) = &description.userinfo_endpoint else { return Ok(()) };
        // A token of an unknown kind is not used
        // (https://www.rfc-editor.org/rfc/rfc6749#section-7.1).
        if !tokens.is_bearer {
            return Err(ProviderError::Invalid("its access token is no bearer token".to_owned()));
        }
        let unavailable =
            |why: &str| ProviderError::Unavailable(format!("userinfo: {}", words(why)));
        let answer = self
            .fetch
            .get(url, Some(&tokens.access_token))
            .await
            .map_err(|error| unavailable(&error.to_string()))?;
        let more =
            self.read_userinfo(description, &answer, expected).map_err(|e| unavailable(&e))?;
        // Section 5.3.2: what it says counts only for the subject that the ID token names.
        if more.subject != said.subject {
            return Err(unavailable("it speaks of somebody else"));
        }
        if said.email.is_none() {
            said.email = more.email;
            said.email_verified = more.email_verified;
        }
        if said.groups.is_none() {
            said.groups = more.groups;
        }
        Ok(())
    }

    /// What the userinfo endpoint says, which may be signed (section 5.3.2 of Core).
    fn read_userinfo(
        &self,
        description: &Description,
        answer: &Answer,
        expected: &Expected<'_>,
    ) -> Result<Identity, String> {
        let signed = answer.is_signed();
        let body = answer.expect(&["application/json", "application/jwt"])?;
        let payload = if signed {
            description.keys.payload(body.trim()).map_err(|error| error.to_string())?
        } else {
            body.to_owned()
        };
        let claims = json::parse(&payload).map_err(|error| error.to_string())?;
        if signed {
            expected.check_origin(&claims).map_err(|why| format!("it {why}"))?;
        }
        said(&claims, &self.settings.groups_claim).map_err(|why| format!("it {why}"))
    }
}

/// What the token endpoint answered instead of tokens
/// ([RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)).
fn refusal(answer: &Answer) -> ProviderError {
    let node = answer.text().and_then(|source| json::parse(source).ok());
    let Some(error) = node.as_ref().and_then(|node| text(node, "error")) else {
        let why = format!("its refusal can't be read: {}", answer.status);
        return ProviderError::Invalid(why);
    };
    let description = node.as_ref().and_then(|node| text(node, "error_description"));
    ProviderError::Refused(words(&match description {
        Some(description) => format!("{error}: {description}"),
        None => error.to_owned(),
    }))
}

/// Reads a successful token answer:
/// [RFC 6749 section 5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1).
fn read_tokens(answer: &Answer) -> Result<Tokens, String> {
    let source = answer.expect(&["application/json"])?;
    let node = json::parse(source).map_err(|error| error.to_string())?;
    let member = |name: &str| {
        text(&node, name).map(str::to_owned).ok_or_else(|| format!("there is no {name}"))
    };
    Ok(Tokens {
        id_token: member("id_token")?,
        access_token: member("access_token")?,
        is_bearer: member("token_type")?.eq_ignore_ascii_case("bearer"),
    })
}

/// Words that are partly the provider's: bounded, and visible as they are.
fn words(text: &str) -> String {
    let short: String = text.chars().take(MAX_WORDS).collect();
    visible(&short)
}
