//! Cookies: read, set and removed.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::broker::Broker;

/// The value of a request's cookie; none if it is empty
/// (<https://www.rfc-editor.org/rfc/rfc6265#section-4.2>).
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

/// `Set-Cookie` for a cookie that scripts can't read and other sites' posts don't carry
/// (<https://www.rfc-editor.org/rfc/rfc6265#section-4.1>).
pub(crate) fn set_cookie(broker: &Broker, name: &str, value: &str) -> String {
    let secure = match broker.config().server.public_url.scheme() {
        "https" => "; Secure",
        _ => "",
    };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// `Set-Cookie` that removes it.
pub(crate) fn remove_cookie(broker: &Broker, name: &str) -> String {
    format!("{}; Max-Age=0", set_cookie(broker, name, ""))
}

/// Adds a `Set-Cookie`.
pub(crate) fn add_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; placet_session=xyz".parse().unwrap());
        headers.append(header::COOKIE, "b=2".parse().unwrap());

        assert_eq!(cookie(&headers, "placet_session"), Some("xyz"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
