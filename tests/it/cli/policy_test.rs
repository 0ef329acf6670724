//! The tests inside a policy, by the built binary.

use serde_json::Value;

use super::placet;
use crate::support::db::Dir;

const RULES: &str = "version: \"1\"\ndefault: deny\ntools:\n  pay: {action: require_approval}\n";

/// A folder with a configuration and this policy.
fn place(policy: &str) -> Dir {
    let dir = Dir::new();
    let config = "[database]\nurl = \"sqlite:a.db\"\n[[upstreams]]\nname = \"shop\"\n\
                  url = \"http://127.0.0.1:9/mcp\"\npolicy = \"shop.yaml\"\n";
    std::fs::write(dir.0.join("placet.toml"), config).unwrap();
    std::fs::write(dir.0.join("shop.yaml"), policy).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_a_policy_run_each_with_a_line_and_a_sum() {
    let dir = place(&format!(
        "{RULES}tests:\n- {{name: people pay, tool: pay, expect: require_approval, rule: /tools/pay}}\n\
         - {{tool: look, expect: deny}}\n"
    ));

    let (code, said, told) = placet(&dir, &["policy", "test", "shop.yaml"]).await;
    assert_eq!((code, told.as_str()), (0, ""), "{said}");
    assert_eq!(said, "passed: /tests/0: people pay\npassed: /tests/1: look\n2 passed, 0 failed\n");

    let (code, said, told) = placet(&dir, &["check"]).await;
    assert_eq!(code, 0, "{said}{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_fails_is_found_by_the_test_command_by_check_and_by_serve() {
    let dir = place(&format!("{RULES}tests:\n- {{name: nobody pays, tool: pay, expect: deny}}\n"));
    let why = "expected deny, but it is require_approval by /tools/pay";

    let (code, said, told) = placet(&dir, &["policy", "test", "shop.yaml"]).await;
    assert_eq!(code, 1, "{said}{told}");
    assert!(said.contains(&format!("failed: /tests/0: nobody pays: {why}")), "{said}");
    assert!(said.ends_with("0 passed, 1 failed\n"), "{said}");
    let (code, said, _) = placet(&dir, &["--json", "policy", "test", "shop.yaml"]).await;
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &found["failed"]), (1, &1.into()));
    assert_eq!(found["tests"][0]["was"]["rule"], "/tools/pay");

    for command in ["check", "serve"] {
        let (code, said, told) = placet(&dir, &[command]).await;
        assert_eq!(code, 2, "{said}{told}");
        assert!(told.contains("/tests/0: the test \"nobody pays\" fails"), "{told}");
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_tests_or_that_is_no_policy_is_misuse_and_says_what_to_write() {
    let dir = place(RULES);

    let (code, _, told) = placet(&dir, &["policy", "test", "shop.yaml"]).await;
    assert_eq!(code, 2);
    assert!(told.contains("has no tests; write, for example, \"tests\": [{"), "{told}");

    let (code, _, told) = placet(&dir, &["policy", "test", "nowhere.json"]).await;
    assert_eq!(code, 2);
    assert!(told.contains("nowhere.json"), "{told}");

    std::fs::write(dir.0.join("bad.yaml"), "version: \"1\"\ntests: [{tol: a}]\n").unwrap();
    let (code, _, told) = placet(&dir, &["policy", "test", "bad.yaml"]).await;
    assert_eq!(code, 2);
    assert!(told.contains("/tests/0/tol"), "{told}");
}
