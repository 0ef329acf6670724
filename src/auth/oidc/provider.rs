//! The provider: its description and keys, fetched when they are first needed and kept a while; the
//! exchange of a code; the checks of an ID token. A provider that is down is said to be, and looked
//! for again a little later.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClaimName, CoreClaimType,
    CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
    CoreResponseMode, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, AuthType, AuthorizationCode,
    ClaimsVerificationError, Client, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenClaims,
    IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    StandardErrorResponse, StandardTokenResponse, TokenResponse as _, TokenUrl, UserInfoClaims,
    UserInfoUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;

use crate::config::oidc::{Identify, Oidc, is_loopback};
use crate::domain::error_text::in_full;
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;

use super::attempt::Attempt;
use super::fetch::{Fetch, FetchError};
use super::person::Said;

/// After a failure the provider is not asked for its description again for so long.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest piece of the provider's own words that is kept for a log or record, characters.
const MAX_WORDS: usize = 200;

/// What an ID token may be signed with: the provider's private key. Never a shared secret, which
/// everybody who may read the configuration has, and never nothing.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What else is read of the provider's description.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct More {
    /// RFC 9207: whether its answers name it.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

/// All claims besides the standard ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Others {
    #[serde(flatten)]
    all: Map<String, Value>,
}

impl AdditionalClaims for Others {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Tokens = StandardTokenResponse<
    IdTokenFields<
        Others,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type Relying = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

type Claims = IdTokenClaims<Others, CoreGenderClaim>;

/// Why the provider signed nobody in.
#[derive(Debug, Clone, Error)]
pub enum ProviderError {
    /// It can't be reached, or its description is of no use.
    #[error("the sign-in provider can't be used: {0}")]
    Unavailable(String),
    /// It did not take the code.
    #[error("the sign-in provider did not confirm the sign-in: {0}")]
    Refused(String),
    /// What it says does not prove anything.
    #[error("the sign-in provider's answer is not valid: {0}")]
    Invalid(String),
}

impl ProviderError {
    /// The word of the record.
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
    metadata: Metadata,
    at: Timestamp,
}

#[derive(Debug, Default)]
struct Cache {
    known: Option<Arc<Known>>,
    failed: Option<(Timestamp, ProviderError)>,
}

/// The provider.
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
    /// The provider can't be used.
    pub async fn probe(&self, now: Timestamp) -> Result<String, ProviderError> {
        let known = self.known(now).await?;
        let keys = known.metadata.jwks().keys().len();
        Ok(format!(
            "it describes itself, with {keys} keys; it must send people to {}",
            self.redirect
        ))
    }

    /// Where a browser is sent for an attempt.
    ///
    /// # Errors
    /// The provider can't be used.
    pub async fn address(&self, attempt: &Attempt, now: Timestamp) -> Result<Url, ProviderError> {
        let known = self.known(now).await?;
        let client = self.client(&known.metadata)?;
        let (state, nonce) = (attempt.state.clone(), attempt.nonce.clone());
        let verifier = PkceCodeVerifier::new(attempt.verifier.clone());
        let asked = self.settings.scopes.iter().filter(|s| *s != "openid");
        let (url, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(asked.map(|s| Scope::new(s.clone())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url)
    }

    /// Checks that an answer is this provider's, by the `iss` it came with (RFC 9207).
    ///
    /// # Errors
    /// It is another's, or a provider that always names itself did not.
    pub async fn check_issuer(
        &self,
        iss: Option<&str>,
        now: Timestamp,
    ) -> Result<(), ProviderError> {
        let expected = if let Some(iss) = iss {
            iss == self.settings.issuer
        } else {
            let known = self.known(now).await?;
            !known.metadata.additional_metadata().authorization_response_iss_parameter_supported
        };
        if expected {
            return Ok(());
        }
        Err(ProviderError::Invalid("it does not come from the configured issuer".to_owned()))
    }

    /// Exchanges the code of an attempt's answer and says who signed in.
    ///
    /// # Errors
    /// The provider can't be used, does not take the code, or says what proves nothing.
    pub async fn redeem(
        &self,
        attempt: &Attempt,
        code: &str,
        now: Timestamp,
    ) -> Result<Said, ProviderError> {
        let known = self.known(now).await?;
        let client = self.client(&known.metadata)?;
        let tokens = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| unusable("it names no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.clone()))
            .request_async(&self.fetch)
            .await
            .map_err(exchange_error)?;
        let nonce = Nonce::new(attempt.nonce.clone());
        let claims = match self.claims(&client, &tokens, &nonce, now) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                // It may have changed its keys since they were fetched.
                let fresh = self.fetch_again(&known, now).await?;
                let client = self.client(&fresh.metadata)?;
                self.claims(&client, &tokens, &nonce, now)
            }
            checked => checked,
        };
        let claims = claims.map_err(|error| ProviderError::Invalid(words(&in_full(&error))))?;
        let mut said = self.said(&claims);
        if self.lacks(&said) {
            self.ask_more(&client, &tokens, &claims, &mut said).await?;
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
        match self.ask_description().await {
            Ok(metadata) => {
                let known = Arc::new(Known { metadata, at: now });
                *cache = Cache { known: Some(known.clone()), failed: None };
                Ok(known)
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can sign in through the provider now");
                cache.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    async fn ask_description(&self) -> Result<Metadata, ProviderError> {
        let issuer = IssuerUrl::new(self.settings.issuer.clone())
            .map_err(|_| unusable("oidc.issuer is no address"))?;
        let metadata = Metadata::discover_async(issuer, &self.fetch).await.map_err(|error| {
            let what = match error {
                DiscoveryError::Request(error) => error.to_string(),
                DiscoveryError::Response(status, _, why) => {
                    format!("its description can't be read: {status}: {}", words(&why))
                }
                DiscoveryError::Validation(why) => words(&why),
                other => words(&in_full(&other)),
            };
            ProviderError::Unavailable(what)
        })?;
        let token = metadata.token_endpoint().map(TokenUrl::url);
        let more = metadata.userinfo_endpoint().map(UserInfoUrl::url);
        let all = [Some(metadata.authorization_endpoint().url()), token, more];
        let secure = |url: &&Url| {
            url.scheme() == "https"
                || (url.scheme() == "http" && is_loopback(url) && self.is_local())
        };
        if all.into_iter().flatten().any(|url| !secure(&url)) {
            return Err(unusable("it names endpoints that are not https"));
        }
        Ok(metadata)
    }

    /// Whether the provider is on this machine, without TLS.
    fn is_local(&self) -> bool {
        self.settings.issuer.starts_with("http://")
    }

    fn client(&self, metadata: &Metadata) -> Result<Relying, ProviderError> {
        let redirect = RedirectUrl::new(self.redirect.clone())
            .map_err(|_| unusable("server.public_url is no address to come back to"))?;
        let secret =
            self.settings.client_secret.as_ref().map(|s| ClientSecret::new(s.expose().to_owned()));
        // Basic is what a provider takes that says nothing.
        let methods = metadata.token_endpoint_auth_methods_supported();
        let in_body = methods.is_some_and(|all| {
            all.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !all.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let auth = if in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let id = ClientId::new(self.settings.client_id.clone());
        Ok(Relying::from_provider_metadata(metadata.clone(), id, secret)
            .set_redirect_uri(redirect)
            .set_auth_type(auth))
    }

    /// The claims of the ID token, if it was made by the provider, for this client, for this
    /// attempt, and has not run out.
    fn claims(
        &self,
        client: &Relying,
        tokens: &Tokens,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<Claims, ClaimsVerificationError> {
        let micros = u64::try_from(now.micros()).unwrap_or_default();
        let instant = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || instant.into());
        let token = tokens
            .id_token()
            .ok_or_else(|| ClaimsVerificationError::Other("there is no ID token".to_owned()))?;
        let claims = token.clone().into_claims(&verifier, nonce)?;
        // The library leaves this to its callers.
        let other = |party: &&ClientId| party.as_str() != self.settings.client_id;
        if claims.authorized_party().as_ref().is_some_and(other) {
            let why = "the ID token was made for another client (azp)".to_owned();
            return Err(ClaimsVerificationError::InvalidAudience(why));
        }
        Ok(claims)
    }

    fn said(&self, claims: &Claims) -> Said {
        Said {
            subject: claims.subject().to_string(),
            email: claims.email().map(|email| email.to_string()),
            email_verified: claims.email_verified() == Some(true),
            groups: self.groups(claims.additional_claims()),
        }
    }

    fn groups(&self, others: &Others) -> Option<Vec<String>> {
        match others.all.get(&self.settings.groups_claim)? {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(all) => {
                Some(all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
            }
            _ => None,
        }
    }

    /// Whether the ID token left out what is needed; many providers tell it only when asked.
    fn lacks(&self, said: &Said) -> bool {
        let email = self.settings.identify == Identify::Email && said.email.is_none();
        email || (self.settings.narrows() && said.groups.is_none())
    }

    /// Asks the userinfo endpoint, where there is one, for what the ID token left out.
    async fn ask_more(
        &self,
        client: &Relying,
        tokens: &Tokens,
        claims: &Claims,
        said: &mut Said,
    ) -> Result<(), ProviderError> {
        let token = tokens.access_token().clone();
        // What it says counts only for the subject that the ID token names.
        let Ok(request) = client.user_info(token, Some(claims.subject().clone())) else {
            return Ok(());
        };
        let more: UserInfoClaims<Others, CoreGenderClaim> =
            request.request_async(&self.fetch).await.map_err(|error| {
                let why = format!("userinfo: {}", words(&in_full(&error)));
                ProviderError::Unavailable(why)
            })?;
        if said.email.is_none() {
            said.email = more.email().map(|email| email.to_string());
            said.email_verified = more.email_verified() == Some(true);
        }
        if said.groups.is_none() {
            said.groups = self.groups(more.additional_claims());
        }
        Ok(())
    }
}

fn unusable(why: &str) -> ProviderError {
    ProviderError::Unavailable(why.to_owned())
}

fn exchange_error(
    error: RequestTokenError<FetchError, StandardErrorResponse<CoreErrorResponseType>>,
) -> ProviderError {
    match error {
        RequestTokenError::Request(error) => ProviderError::Unavailable(error.to_string()),
        RequestTokenError::ServerResponse(said) => ProviderError::Refused(words(&said.to_string())),
        RequestTokenError::Parse(error, _) => ProviderError::Invalid(format!(
            "its tokens can't be read: {}",
            words(&error.to_string())
        )),
        RequestTokenError::Other(why) => ProviderError::Invalid(words(&why)),
    }
}

/// Words that are partly the provider's: bounded, and visible as they are.
fn words(text: &str) -> String {
    let short: String = text.chars().take(MAX_WORDS).collect();
    visible(&short)
}
