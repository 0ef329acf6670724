//! Servers that the catalogue knows: on `/tools` and in the API.

use super::*;

#[tokio::test]
async fn the_page_and_the_api_of_tools_say_which_server_is_known_and_what_it_declares() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let page =
        async |query: &str| site.get(&format!("/tools{query}"), &[("cookie", &cookie)]).await.body;

    let shown = page("").await;
    let words =
        "<b>images</b> is known: awslabs.healthimaging 0.1.1 (it declares 7; no version was read)";
    assert!(shown.contains(words), "{shown}");
    assert!(!page("?upstream=other").await.contains("is known:"));
    let body = site.api("GET", "/tools", "ana", "").await.body;
    let known = r#""known":[{"upstream":"images","name":"awslabs.healthimaging","version":"0.1.1","package":"awslabs.healthimaging-mcp-server","registry":"pypi","declares":"7"}]"#;
    assert!(body.contains(known), "{body}");
}
