//! How a provider describes itself
//! ([OpenID Connect Discovery, sections 3 and 4](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)),
//! with the keys it signs with.

use url::Url;

use crate::config::oidc::is_loopback;
use crate::domain::json::{self, Node, Value};

use super::fetch::Fetch;
use super::jws::{Keys, optional, text};

/// The part of a provider's description that is used here.
#[derive(Debug)]
pub(crate) struct Description {
    /// Where browsers are sent to sign in.
    pub authorization_endpoint: Url,
    /// Where a code is exchanged.
    pub token_endpoint: Option<Url>,
    /// Where the provider tells more of a person, if it does.
    pub userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    /// Whether it wants the client's secret in the form, and not in a header.
    pub secret_in_form: bool,
    /// Whether its answers always carry `iss` (<https://www.rfc-editor.org/rfc/rfc9207#section-3>).
    pub names_itself: bool,
    /// The public keys it signs with.
    pub keys: Keys,
}

impl Description {
    /// Asks a provider for its description and its keys.
    ///
    /// # Errors
    /// It can't be reached, or its description or keys can't be used; in words.
    pub(crate) async fn ask(fetch: &Fetch, issuer: &str) -> Result<Self, String> {
        // Section 4.1 of Discovery: a slash at the end goes.
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"))
            .map_err(|_| "oidc.issuer is no address".to_owned())?;
        let answer = fetch.get(&url, None).await.map_err(|error| error.to_string())?;
        let mut description = answer
            .expect(&["application/json"])
            .and_then(|source| Self::read(source, issuer))
            .map_err(|why| format!("its description can't be used: {why}"))?;
        let answer =
            fetch.get(&description.jwks_uri, None).await.map_err(|error| error.to_string())?;
        description.keys = answer
            .expect(&["application/json", "application/jwk-set+json"])
            .and_then(Keys::read)
            .map_err(|why| format!("its keys can't be used: {why}"))?;
        Ok(description)
    }

    fn read(source: &str, issuer: &str) -> Result<Self, String> {
        let node = json::parse(source).map_err(|error| error.to_string())?;
        // Section 4.3: whoever answers for another issuer could speak for its people.
        if text(&node, "issuer") != Some(issuer) {
            return Err("it is not the configured issuer's own".to_owned());
        }
        let endpoint = |name: &str| endpoint(&node, name, issuer.starts_with("http://"));
        let needed = |name: &str| endpoint(name)?.ok_or_else(|| format!("it names no {name}"));
        let methods = node.get("token_endpoint_auth_methods_supported").and_then(Node::elements);
        let takes = |method: &str| {
            methods.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(method)))
        };
        let names_itself = "authorization_response_iss_parameter_supported";
        Ok(Self {
            authorization_endpoint: needed("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            userinfo_endpoint: endpoint("userinfo_endpoint")?,
            jwks_uri: needed("jwks_uri")?,
            // Basic is what a provider takes that says nothing.
            secret_in_form: takes("client_secret_post") && !takes("client_secret_basic"),
            names_itself: match node.get(names_itself).map(|node| &node.value) {
                None => false,
                Some(Value::Bool(always)) => *always,
                Some(_) => return Err(format!("{names_itself} is neither true nor false")),
            },
            keys: Keys::default(),
        })
    }
}

/// An address of the description, which must have TLS unless provider and address are on this
/// machine.
fn endpoint(node: &Node<'_>, name: &str, local: bool) -> Result<Option<Url>, String> {
    let Some(address) = optional(node, name).map_err(|_| format!("{name} is no address"))? else {
        return Ok(None);
    };
    let url = Url::parse(address).map_err(|_| format!("{name} is no address"))?;
    let secure = url.scheme() == "https" || (url.scheme() == "http" && local && is_loopback(&url));
    if secure { Ok(Some(url)) } else { Err(format!("{name} is not https")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.example";
    const RIGHT: &str = r#""issuer":"https://login.example",
        "authorization_endpoint":"https://login.example/authorize?tenant=a",
        "jwks_uri":"https://keys.example/jwks""#;

    fn read(more: &str) -> Result<Description, String> {
        Description::read(&format!("{{{RIGHT}{more}}}"), ISSUER)
    }

    #[test]
    fn what_is_needed_must_be_said_and_the_rest_may() {
        let least = read("").unwrap();
        assert!(least.token_endpoint.is_none() && least.userinfo_endpoint.is_none());
        assert!(!least.secret_in_form && !least.names_itself);

        for missing in ["issuer", "authorization_endpoint", "jwks_uri"] {
            let source = format!("{{{}}}", RIGHT.replace(missing, "other"));
            assert!(Description::read(&source, ISSUER).is_err(), "{missing}");
        }
        for odd in ["[]", "", "{\"issuer\":1}", "\"https://login.example\""] {
            assert!(Description::read(odd, ISSUER).is_err(), "{odd}");
        }
    }

    #[test]
    fn only_the_issuers_own_description_counts_to_the_letter() {
        let source = format!("{{{RIGHT}}}");
        for other in ["https://login.example/", "https://LOGIN.example", "https://evil.example"] {
            assert!(Description::read(&source, other).is_err(), "{other}");
        }
        assert!(read(",\"issuer\":\"https://login.example\"").is_err(), "said twice");
    }

    #[test]
    fn no_endpoint_is_without_tls_unless_all_is_on_this_machine() {
        for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
            for address in ["http://login.example/x", "http://127.0.0.1/x", "ftp://a.example", "x"]
            {
                let source = format!("{{{RIGHT}}}").replace(&format!("\"{name}\":"), "\"other\":");
                let source = source.replacen('{', &format!("{{\"{name}\":\"{address}\","), 1);
                let error = Description::read(&source, ISSUER).unwrap_err();
                assert!(error.contains(name), "{name} {address}: {error}");
            }
        }
        let local = r#"{"issuer":"http://localhost:1","jwks_uri":"http://localhost:1/k",
            "authorization_endpoint":"http://127.0.0.1:1/a"}"#;
        assert!(Description::read(local, "http://localhost:1").is_ok());
        let away = local.replace("127.0.0.1", "10.0.0.1");
        assert!(Description::read(&away, "http://localhost:1").is_err());
    }

    #[test]
    fn the_secret_goes_into_the_form_only_where_nothing_else_is_taken() {
        let methods = |all: &str| {
            read(&format!(",\"token_endpoint_auth_methods_supported\":[{all}]")).unwrap()
        };
        assert!(methods("\"client_secret_post\"").secret_in_form);
        assert!(!methods("\"client_secret_post\",\"client_secret_basic\"").secret_in_form);
        assert!(!methods("\"private_key_jwt\"").secret_in_form);
    }

    #[test]
    fn a_provider_that_names_itself_says_so_in_no_other_way_than_true() {
        let said = |value: &str| {
            read(&format!(",\"authorization_response_iss_parameter_supported\":{value}"))
        };
        assert!(said("true").unwrap().names_itself);
        assert!(!said("false").unwrap().names_itself);
        assert!(said("\"true\"").is_err());
    }
}
