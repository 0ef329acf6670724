use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Answers one request with `response` and returns what it was sent.
async fn endpoint(response: &'static str) -> (Url, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("{\"a\":1}") {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the request ended early");
            seen.extend_from_slice(&buffer[..n]);
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    });
    (url, seen)
}

fn webhook(url: &Url, allow_private_network: bool) -> Webhook {
    Webhook::new("ops", url, &Secret::new(SECRET), allow_private_network)
}

fn message() -> Message {
    Message::Webhook {
        id: "dlv_1".into(),
        at: Timestamp::from_micros(1_614_265_330_000_000),
        body: "{\"a\":1}".into(),
    }
}

#[test]
fn signatures_are_those_of_the_specification() {
    let key = read_secret(SECRET).unwrap();

    let signature =
        sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);

    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn secrets_are_checked_without_being_repeated() {
    assert_eq!(read_secret("hunter2"), Err(SecretError::Form));
    assert_eq!(read_secret("whsec_%%%"), Err(SecretError::Form));
    assert_eq!(read_secret("whsec_aHVudGVyMg=="), Err(SecretError::Length(7)));
}

#[tokio::test]
async fn a_webhook_carries_its_three_headers_and_the_very_body() {
    let (url, seen) = endpoint("HTTP/1.1 204 No Content\r\n\r\n").await;

    let answer = webhook(&url, true).send(&message()).await.unwrap();

    let seen = seen.await.unwrap();
    let signature = sign(&read_secret(SECRET).unwrap(), "dlv_1", 1_614_265_330, "{\"a\":1}");
    assert_eq!(answer, "204 No Content");
    assert!(seen.starts_with("POST /hook HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("webhook-id: dlv_1\r\n"), "{seen}");
    assert!(seen.contains("webhook-timestamp: 1614265330\r\n"), "{seen}");
    assert!(seen.contains(&format!("webhook-signature: {signature}\r\n")), "{seen}");
    assert!(seen.ends_with("\r\n\r\n{\"a\":1}"), "{seen}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let (url, seen) = endpoint(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    )
    .await;

    let error = webhook(&url, true).send(&message()).await.unwrap_err();

    seen.await.unwrap();
    assert!(
        matches!(&error, NotifyError::Retry { detail, .. } if detail.starts_with("302")),
        "{error}"
    );
}

#[tokio::test]
async fn gone_disables() {
    let (url, seen) = endpoint("HTTP/1.1 410 Gone\r\ncontent-length: 3\r\n\r\nbye").await;

    let error = webhook(&url, true).send(&message()).await.unwrap_err();

    seen.await.unwrap();
    assert!(matches!(&error, NotifyError::Disabled(d) if d == "410 Gone: bye"), "{error}");
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let (url, seen) = endpoint(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n",
    )
    .await;

    let error = webhook(&url, true).send(&message()).await.unwrap_err();

    seen.await.unwrap();
    assert!(
        matches!(error, NotifyError::Retry { after: Some(d), .. } if d == Duration::from_mins(2))
    );
}

#[test]
fn retry_after_is_read_as_seconds_or_date_and_bounded() {
    let now = Timestamp::from_micros(784_111_777_000_000); // 1994-11-06T08:49:37Z

    assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_mins(1)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
    assert_eq!(retry_after("99999999999999999999999", now), Some(MAX_RETRY_AFTER));
    assert_eq!(retry_after("86400", now), Some(MAX_RETRY_AFTER));
    assert_eq!(retry_after("soon", now), None);
}

#[tokio::test]
async fn private_addresses_are_refused_by_literal_and_by_name() {
    for host in ["127.0.0.1", "localhost"] {
        let url = Url::parse(&format!("http://{host}:9/hook")).unwrap();

        let error = webhook(&url, false).send(&message()).await.unwrap_err();

        assert!(error.to_string().contains("allow_private_network"), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_retried_and_its_url_stays_out_of_the_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url =
        format!("http://{}/secret-path", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);

    let error = webhook(&url, true).send(&message()).await.unwrap_err();

    assert!(matches!(&error, NotifyError::Retry { detail, .. } if !detail.contains("secret-path")));
}
