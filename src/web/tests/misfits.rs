//! What of a policy fits no listed tool: on `/tools`, in the API, and told once.

use super::*;
use crate::domain::policy::Policy;

fn put_in_force(site: &Site, policy: &str) {
    let policy = Policy::read(policy).unwrap().0;
    site.web.broker.policies().replace("images", Arc::new(policy));
}

const SLIPPED: &str = r#"{"version":"1","hide":["wipe_archive"],
    "tools":{"delete_image_sets":{"action":"deny"},"list_image_sets":{"action":"allow"}}}"#;

#[tokio::test]
async fn what_of_a_policy_fits_no_tool_stands_on_the_tools_page_and_in_the_api() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let page =
        async |query: &str| site.get(&format!("/tools{query}"), &[("cookie", &cookie)]).await.body;
    assert!(!page("").await.contains("does not fit"));
    assert!(site.api("GET", "/tools", "ana", "").await.body.ends_with(r#""misfits":[]}"#));

    put_in_force(&site, SLIPPED);

    let shown = page("").await;
    assert!(shown.contains("The policy of <b>images</b> does not fit"), "{shown}");
    assert!(shown.contains("<code>/tools/delete_image_sets</code>: &#34;delete_image_sets&#34;"));
    assert!(shown.contains("did you mean &#34;delete_image_set&#34;?"), "{shown}");
    assert!(!page("?upstream=other").await.contains("does not fit"));
    let body = site.api("GET", "/tools", "ana", "").await.body;
    let misfit = r#""misfits":[{"upstream":"images","rule":"/tools/delete_image_sets","message":"\"delete_image_sets\" fits no tool that the upstream lists; did you mean \"delete_image_set\"?"}]"#;
    assert!(body.contains(misfit), "{body}");
}

#[tokio::test]
async fn misfits_are_told_once_for_a_list_and_a_policy() {
    let site = Site::new().await;
    let broker = &site.web.broker;
    assert_eq!(broker.tell_misfits(), 0);

    put_in_force(&site, SLIPPED);
    assert_eq!(broker.tell_misfits(), 1);
    put_in_force(&site, SLIPPED);
    assert_eq!(broker.tell_misfits(), 0, "they read as before");
    put_in_force(&site, &SLIPPED.replace("wipe_archive", "wipe_archives"));
    assert_eq!(broker.misfits()[0].1.len(), 2);
    assert_eq!(broker.tell_misfits(), 2, "who looked before does not count");
    assert_eq!(broker.tell_misfits(), 0);
}

#[tokio::test]
async fn the_page_shows_some_misfits_and_says_how_many_more_there_are() {
    let site = Site::new().await;
    let hidden: Vec<String> = (0..23).map(|i| format!("\"<i>none_{i}\"")).collect();
    put_in_force(&site, &format!(r#"{{"version":"1","hide":[{}]}}"#, hidden.join(",")));

    let cookie = site.cookie("ana").await;
    let page = site.get("/tools", &[("cookie", &cookie)]).await.body;

    assert!(page.contains("&#60;i&#62;none_19") && !page.contains("none_20"), "{page}");
    assert!(page.contains("And 3 more;"), "{page}");
}
