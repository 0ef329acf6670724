//! Policies in PolicyLayer's forms and in YAML, by the built binary.

use serde_json::Value;

use super::placet;
use crate::support::db::Dir;

const INTERCEPT: &str = "version: \"1\"\ndefault: deny\ntools:\n  pay:\n    rules:\n    - {name: eur, \
                         conditions: [{path: args.currency, op: eq, value: eur}], on_deny: Only EUR.}\n    - \
                         {name: big, action: require_approval, conditions: [{path: args.cents, op: gt, value: \
                         500}]}\n";

/// A folder with a configuration and this policy.
fn place(name: &str, policy: &str) -> Dir {
    let dir = Dir::new();
    let config = format!(
        "[database]\nurl = \"sqlite:a.db\"\n[[upstreams]]\nname = \"shop\"\n\
         url = \"http://127.0.0.1:9/mcp\"\npolicy = {name:?}\n"
    );
    std::fs::write(dir.0.join("placet.toml"), config).unwrap();
    std::fs::write(dir.0.join(name), policy).unwrap();
    dir
}

async fn explained(dir: &Dir, arguments: &str) -> Value {
    let asked = ["--json", "policy", "explain", "--upstream", "shop", "--tool", "pay", "--args"];
    let (code, said, told) = placet(dir, &[&asked[..], &[arguments]].concat()).await;
    assert_eq!(code, 0, "{told}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_intercept_is_checked_explained_and_converted() {
    let dir = place("shop.yaml", INTERCEPT);
    let (code, said, told) = placet(&dir, &["check"]).await;
    assert_eq!(code, 0, "{said}{told}");

    let denied = explained(&dir, r#"{"currency":"usd"}"#).await;
    assert_eq!(
        (&denied["verdict"], &denied["rule"]),
        (&"deny".into(), &"/tools/pay/rules/0".into())
    );
    assert_eq!(denied["reason"], "Only EUR.");
    let asked = explained(&dir, r#"{"currency":"eur","cents":501}"#).await;
    assert_eq!(asked["rule"], "/tools/pay/rules/1");

    let convert = ["policy", "convert", "shop.yaml", "--out", "own.yaml"];
    let (code, said, told) = placet(&dir, &convert).await;
    assert_eq!((code, said.as_str()), (0, ""), "{told}");
    let (code, _, told) = placet(&dir, &convert).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("is there already"), "{told}");
    std::fs::rename(dir.0.join("own.yaml"), dir.0.join("shop.yaml")).unwrap();
    let denied = explained(&dir, r#"{"currency":"usd"}"#).await;
    assert_eq!(denied["rule"], "/tools/pay/require/0");
    assert_eq!(denied["reason"], "Only EUR.");
    let allowed = explained(&dir, r#"{"currency":"eur","cents":500}"#).await;
    assert_eq!(allowed["verdict"], "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_without_comments_is_written_on_demand() {
    let dir = place("shop.yaml", INTERCEPT);

    let (code, said, told) = placet(&dir, &["--json", "policy", "convert", "shop.yaml"]).await;

    assert_eq!(code, 0, "{told}");
    let own: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(own["tools"]["pay"]["require"][0]["on_deny"], "Only EUR.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_a_yaml_policy_is_told_with_its_line_and_column() {
    let dir = place(
        "shop.yaml",
        &INTERCEPT.replace("rules:\n    - {name: eur", "rules:\n    - {nam: eur"),
    );

    let (code, _, told) = placet(&dir, &["check"]).await;
    assert_eq!(code, 2, "{told}");
    let line =
        "error: shop.yaml:6:8: /tools/pay/rules/0/nam: unknown key \"nam\"; did you mean \"name\"?";
    assert!(told.contains(line), "{told}");
    let (code, said, _) = placet(&dir, &["--json", "check"]).await;
    assert_eq!(code, 2);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(
        said["problems"].as_array().unwrap().iter().any(|p| p["line"] == 6 && p["column"] == 8)
    );
    let (code, _, told) = placet(&dir, &["policy", "convert", "shop.yaml"]).await;
    assert_eq!(code, 2);
    assert!(told.contains(line), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_updated_says_what_to_do() {
    let dir = place("shop.yaml", INTERCEPT);
    let update = async |file: &str| {
        let asked = ["policy", "draft", "--upstream", "shop", "--update", file];
        placet(&dir, &asked).await
    };

    let (code, _, told) = update("shop.yaml").await;
    assert_eq!(code, 2);
    assert!(told.contains("is YAML, and only JSON is updated"), "{told}");
    let hosted = r#"{"version":"1","default":"deny","tools":{"pay":{}}}"#;
    std::fs::write(dir.0.join("hosted.json"), hosted).unwrap();
    let (code, _, told) = update("hosted.json").await;
    assert_eq!(code, 2);
    assert!(told.contains("is of PolicyLayer's hosted form"), "{told}");
    assert!(told.contains("placet --json policy convert"), "{told}");
}
