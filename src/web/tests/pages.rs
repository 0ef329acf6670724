//! The pages of signed-in people.

use super::*;

#[tokio::test]
async fn without_a_session_every_page_leads_to_the_sign_in() {
    let site = Site::new().await;
    let token = format!("Bearer {}", token_of("bot"));

    for path in ["/", "/history", "/tools", "/agents", "/audit", "/approvals/apr_1"] {
        for headers in [&[][..], &[("authorization", token.as_str())][..]] {
            let answer = site.get(path, headers).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
            assert!(answer.header("location").starts_with("/sign-in"), "{path}");
        }
    }
}

#[tokio::test]
async fn pages_carry_the_headers_that_keep_scripts_and_frames_out() {
    let site = Site::new().await;

    let page = site.get("/sign-in", &[]).await;

    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header("referrer-policy"), "same-origin");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(!without_ours(&page.body).contains("<script") && !page.body.contains("style="));
}

#[tokio::test]
async fn the_page_shows_the_call_and_its_form_decides() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let cookie = site.cookie("ana").await;
    let path = format!("/approvals/{}", approval.id);

    let page = site.get(&path, &[("cookie", &cookie)]).await;
    let answer = site
        .post(
            &path,
            &[("cookie", &cookie)],
            &[
                ("decision", "reject"),
                ("reason", "wrong datastore"),
                ("digest", &page.field("digest")),
                ("form_token", &site.session_form_token(&cookie)),
            ],
        )
        .await;
    let after = site.get(&path, &[("cookie", &cookie)]).await;

    for part in ["1.00", ">Approve</button>", ">Reject</button>", ">Reason</label>", "bot/1"] {
        assert!(page.body.contains(part), "{part}");
    }
    // The tool's own words stay words.
    assert!(page.body.contains("Does &#60;b&#62;delete_image_set"), "{}", page.body);
    assert!(page.body.contains("lets its next identical call through"));
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), path);
    assert!(after.body.contains("wrong datastore") && after.body.contains("by the website"));
    assert!(!after.body.contains(">Approve</button>"));
}

#[tokio::test]
async fn the_page_says_that_approving_runs_at_once_while_the_agent_waits() {
    let site = Site::new().await;
    let now = site.clock.now();
    site.store().nodes().renew("node-1", now, now.plus(Duration::from_mins(1))).await.unwrap();
    let approval = site.pending(CALL).await;
    let cookie = site.cookie("ana").await;

    let page = site.get(&format!("/approvals/{}", approval.id), &[("cookie", &cookie)]).await;
    let queue = site.get("/", &[("cookie", &cookie)]).await;

    assert!(page.body.contains("Approving runs this call at once: the agent is waiting"));
    assert!(queue.body.contains("waiting now") && queue.body.contains("15 minutes left"));
}

#[tokio::test]
async fn a_folded_value_takes_approve_away_until_everything_is_shown() {
    let site = Site::new().await;
    let long = format!(
        "{{\"name\":\"delete_image_set\",\"arguments\":{{\"t\":\"{}END\"}}}}",
        "x".repeat(2_500)
    );
    let approval = site.pending(&long).await;
    let cookie = site.cookie("ana").await;
    let path = format!("/approvals/{}", approval.id);

    let folded = site.get(&path, &[("cookie", &cookie)]).await;
    let full = site.get(&format!("{path}?full=1"), &[("cookie", &cookie)]).await;

    assert!(folded.body.contains("2,503 characters") && !folded.body.contains("xEND"));
    assert!(folded.body.contains("Show everything") && folded.body.contains(">Reject</button>"));
    assert!(!folded.body.contains(">Approve</button>"));
    assert!(full.body.contains("xEND") && full.body.contains(">Approve</button>"));
}

#[tokio::test]
async fn characters_that_deceive_are_spelled_out() {
    let site = Site::new().await;
    let call = "{\"name\":\"delete_image_set\",\"arguments\":{\"f\":\"a\u{202e}b\",\"g\":\"\\u202e\"},\"_meta\":{\"note\":\"hi\"},\"dry\":true}";
    let approval = site.pending(call).await;
    let cookie = site.cookie("ana").await;

    let page = site.get(&format!("/approvals/{}", approval.id), &[("cookie", &cookie)]).await;

    assert!(!page.body.contains('\u{202e}'));
    assert_eq!(page.body.matches("<b class=\"odd\">⟦U+202E⟧</b>").count(), 2);
    assert!(page.body.contains("Look closely"));
    assert!(page.body.contains("&quot;note&quot;") && page.body.contains("&quot;dry&quot;"));
}

#[tokio::test]
async fn masked_values_are_revealed_by_a_form_and_recorded() {
    let site = Site::new().await;
    let approval = site.pending(SECRET_CALL).await;
    let cookie = site.cookie("ana").await;
    let path = format!("/approvals/{}", approval.id);
    let token = site.session_form_token(&cookie);

    let queue = site.get("/", &[("cookie", &cookie)]).await;
    let masked = site.get(&path, &[("cookie", &cookie)]).await;
    let without = site.post(&format!("{path}/reveal"), &[("cookie", &cookie)], &[]).await;
    let none = site.audited(Kind::Revealed).await;
    let shown = site
        .post(&format!("{path}/reveal"), &[("cookie", &cookie)], &[("form_token", &token)])
        .await;

    assert!(!queue.body.contains("hunter2") && !masked.body.contains("hunter2"));
    assert_eq!((without.status, none), (StatusCode::FORBIDDEN, 0));
    assert!(shown.body.contains("hunter2"));
    assert_eq!(site.audited(Kind::Revealed).await, 1);
}

#[tokio::test]
async fn what_is_masked_and_says_more_than_a_secret_must_be_shown_before_it_is_approved() {
    let site = Site::new().await;
    let call = |value: &str| {
        format!(r#"{{"name":"delete_image_set","arguments":{{"connection_string":"{value}"}}}}"#)
    };
    let blind = site.pending(&call("opaque")).await;
    let cookie = site.cookie("ana").await;
    let path = format!("/approvals/{}", blind.id);
    let token = site.session_form_token(&cookie);
    let masked = site.get(&path, &[("cookie", &cookie)]).await;
    assert!(!masked.body.contains(">Approve</button>") && !masked.body.contains("opaque"));
    let fields = [
        ("form_token", token.as_str()),
        ("digest", masked.field("digest").as_str()),
        ("decision", "approve"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();

    let unseen = site.post(&path, &[("cookie", &cookie)], &fields).await;
    let shown = site
        .post(&format!("{path}/reveal"), &[("cookie", &cookie)], &[("form_token", &token)])
        .await;
    let seen = [&fields[..], &[("revealed", "1")]].concat();
    let approved = site.post(&path, &[("cookie", &cookie)], &seen).await;

    assert_eq!(unseen.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(shown.body.contains("opaque") && shown.body.contains(">Approve</button>"));
    assert!(shown.body.contains("name=\"revealed\""));
    assert_eq!(approved.status, StatusCode::SEE_OTHER);
    assert_eq!(site.audited(Kind::Revealed).await, 1);
}

#[tokio::test]
async fn a_value_whose_secret_part_alone_is_masked_and_a_rule_that_says_so_hinder_nobody() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let call = |value: &str| {
        format!(r#"{{"name":"delete_image_set","arguments":{{"connection_string":"{value}"}}}}"#)
    };
    let part = site.pending(&call("postgres://app:hunter2@db.prod/main")).await;
    let allowed = site.pending_with(&call("opaque"), |a| a.terms.masked_ok = true).await;

    for (id, shows) in [(part.id, "@db.prod/main"), (allowed.id, "‹masked, 6 characters")] {
        let page = site.get(&format!("/approvals/{id}"), &[("cookie", &cookie)]).await;
        assert!(page.body.contains(shows) && page.body.contains(">Approve</button>"), "{shows}");
        assert!(!page.body.contains("hunter2"));
    }
}

#[tokio::test]
async fn the_owner_sees_and_may_reject_but_gets_no_approve() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let cookie = site.cookie("olga").await;
    let path = format!("/approvals/{}", approval.id);

    let page = site.get(&path, &[("cookie", &cookie)]).await;
    let tried = site
        .post(
            &path,
            &[("cookie", &cookie)],
            &[
                ("decision", "approve"),
                ("digest", &page.field("digest")),
                ("form_token", &site.session_form_token(&cookie)),
            ],
        )
        .await;

    assert!(page.body.contains("your own agent") && page.body.contains(">Reject</button>"));
    assert!(!page.body.contains(">Approve</button>"));
    assert_eq!(tried.status, StatusCode::FORBIDDEN);
    assert_eq!(site.now_is(&approval.id).await.state, State::Pending);
}

#[tokio::test]
async fn who_comes_second_is_told_what_who_and_when() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let path = format!("/approvals/{}", approval.id);
    let (ana, bo) = (site.cookie("ana").await, site.cookie("bo").await);
    let digest = approval.digest().as_str();
    let (ana_token, bo_token) = (site.session_form_token(&ana), site.session_form_token(&bo));
    let form = |token| [("decision", "approve"), ("digest", digest), ("form_token", token)];
    let (ana_form, bo_form) = (form(ana_token.as_str()), form(bo_token.as_str()));
    let (ana_header, bo_header) = ([("cookie", ana.as_str())], [("cookie", bo.as_str())]);

    let (one, two) = tokio::join!(
        site.post(&path, &ana_header, &ana_form),
        site.post(&path, &bo_header, &bo_form)
    );

    let loser = if one.status == StatusCode::SEE_OTHER { &two } else { &one };
    assert_eq!(loser.status, StatusCode::CONFLICT);
    assert!(loser.body.contains("Already approved by "));
    assert!(loser.body.contains("2026-11-22 20:00:00 UTC"));
    assert_eq!(site.now_is(&approval.id).await.decisions.len(), 1);
}

#[tokio::test]
async fn who_approved_may_withdraw_until_it_is_claimed() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    site.say(&approval.id, "ana", "approve").await;
    let (ana, bo) = (site.cookie("ana").await, site.cookie("bo").await);
    let path = format!("/approvals/{}/cancel", approval.id);

    let queue = site.get("/", &[("cookie", &ana)]).await;
    let others = site.get("/", &[("cookie", &bo)]).await;
    let (ana_token, bo_token) = (site.session_form_token(&ana), site.session_form_token(&bo));
    let forbidden = site.post(&path, &[("cookie", &bo)], &[("form_token", &bo_token)]).await;
    let done = site.post(&path, &[("cookie", &ana)], &[("form_token", &ana_token)]).await;

    assert!(queue.body.contains(">Withdraw</button>"));
    assert!(others.body.contains("not yet claimed") && !others.body.contains(">Withdraw</button>"));
    assert_eq!(forbidden.status, StatusCode::FORBIDDEN);
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert_eq!(site.now_is(&approval.id).await.state, State::Cancelled);
}

#[tokio::test]
async fn an_admin_settles_what_is_unclear() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    site.say(&approval.id, "ana", "approve").await;
    site.run(&approval.id, None).await;
    let (ana, root) = (site.cookie("ana").await, site.cookie("root").await);
    let token = site.session_form_token(&root);
    let path = format!("/approvals/{}/settle", approval.id);

    let seen = site.get("/", &[("cookie", &ana)]).await;
    let queue = site.get("/", &[("cookie", &root)]).await;
    let fields = [("form_token", token.as_str()), ("done", "no"), ("reason", "looked")];
    let done = site.post(&path, &[("cookie", &root)], &fields).await;
    let again = site.post(&path, &[("cookie", &root)], &fields).await;

    assert!(queue.body.contains(">It ran</button>") && queue.body.contains(">It did not run</"));
    assert!(seen.body.contains("Unclear") && !seen.body.contains(">It ran</button>"));
    assert_eq!((done.status, again.status), (StatusCode::SEE_OTHER, StatusCode::CONFLICT));
    assert!(!site.now_is(&approval.id).await.settled.unwrap().done);
}

#[tokio::test]
async fn an_outcome_is_shown_escaped() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    site.say(&approval.id, "ana", "approve").await;
    let raw = r#"{"content":[{"type":"text","text":"<script>alert(1)</script>"}],"password":"s3"}"#;
    site.run(&approval.id, Some(Outcome::Result(raw.to_owned()))).await;
    let cookie = site.cookie("ana").await;

    let page = site.get(&format!("/approvals/{}", approval.id), &[("cookie", &cookie)]).await;

    assert!(page.body.contains("alert(1)") && !without_ours(&page.body).contains("<script"));
    assert!(!page.body.contains("s3\""));
}

#[tokio::test]
async fn sensitive_approvals_do_not_exist_for_others() {
    let site = Site::new().await;
    let approval = site
        .pending_with(CALL, |a| {
            a.terms.sensitive = true;
            a.terms.reviewers = vec!["ana".to_owned()];
        })
        .await;
    let (ana, bo) = (site.cookie("ana").await, site.cookie("bo").await);
    let path = format!("/approvals/{}", approval.id);

    assert_eq!(site.get(&path, &[("cookie", &ana)]).await.status, StatusCode::OK);
    assert_eq!(site.get(&path, &[("cookie", &bo)]).await.status, StatusCode::NOT_FOUND);
    assert!(!site.get("/", &[("cookie", &bo)]).await.body.contains("delete_image_set"));
    assert_eq!(
        site.api("GET", &format!("/approvals/{}", approval.id), "bo", "").await.code(),
        "not_found"
    );
}

#[tokio::test]
async fn history_tools_and_audit_are_shown_to_whom_they_belong() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    site.say(&approval.id, "ana", "approve").await;
    site.store().audit().seal(100).await.unwrap();
    let (ana, kim) = (site.cookie("ana").await, site.cookie("kim").await);

    let history = site.get("/history?state=approved", &[("cookie", &ana)]).await;
    let none = site.get("/history?state=expired", &[("cookie", &ana)]).await;
    let tools = site.get("/tools", &[("cookie", &ana)]).await;
    let audit = site.get("/audit", &[("cookie", &kim)]).await;

    assert!(history.body.contains(approval.id.as_str()));
    assert!(!none.body.contains(approval.id.as_str()));
    assert!(tools.body.contains("/tools/delete_image_set") && tools.body.contains("asks people"));
    assert!(audit.body.contains("approval approved"));
    assert_eq!(site.get("/audit", &[("cookie", &ana)]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn unknown_paths_are_json_and_foreign_hosts_are_refused() {
    let site = Site::new().await;

    for path in ["/nothing", "/.well-known/oauth-protected-resource", "/api/v1/nothing"] {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    }
    let foreign = site.get("/", &[("host", "evil.example")]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert_eq!(site.get("/healthz", &[("host", "evil.example")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_and_figures_are_told() {
    let site = Site::new().await;
    site.pending(CALL).await;
    site.web.readiness.set("policies", health::Health::Degraded);

    let ready = site.get("/readyz", &[]).await;
    let open = site.get("/metrics", &[]).await;
    let (admin, plain) = (token_of("root"), token_of("ana"));
    let admin = site.get("/metrics", &[("authorization", &format!("Bearer {admin}"))]).await;
    let plain = site.get("/metrics", &[("authorization", &format!("Bearer {plain}"))]).await;

    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!(
        ready.body,
        r#"{"status":"degraded","checks":{"clock":"ok","lease":"ok","notifiers":"ok","policies":"degraded","store":"ok","upstreams":"ok"}}"#
    );
    assert_eq!((open.status, plain.status), (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN));
    for line in ["placet_approvals_pending 1\n", "placet_approvals_total{state=\"pending\"} 1\n"] {
        assert!(admin.body.contains(line), "{}", admin.body);
    }
}

#[tokio::test]
async fn without_its_database_it_decides_and_shows_nothing_and_says_so() {
    let site = Site::new().await;
    let approval = site.pending(SECRET_CALL).await;
    let link = site.link(&approval.id, "ana").await;
    let cookie = site.cookie("ana").await;
    site.sql.close().await;

    let ready = site.get("/readyz", &[]).await;
    let decided = site.say(&approval.id, "ana", "approve").await;
    let raw = site.api("GET", &format!("/approvals/{}", approval.id), "ana", "").await;

    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.body.contains(r#""status":"unavailable""#));
    for answer in [decided, raw] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "unavailable");
    }
    for path in ["/", link.as_str()] {
        let page = site.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(page.body.contains("Not available right now"));
    }
    assert_eq!(site.get("/healthz", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_call_is_shown_against_the_last_one_approved_and_with_what_its_agent_asked_before() {
    let site = Site::new().await;
    let call = |id: &str, store: &str| {
        format!(
            r#"{{"name":"delete_image_set","arguments":{{"id":"{id}","store":"{store}","password":"p{id}"}}}}"#
        )
    };
    let first = site.pending(&call("1", "<b>test")).await;
    site.say(&first.id, "ana", "approve").await;
    site.run(&first.id, Some(Outcome::Result("{\"content\":[]}".to_owned()))).await;
    site.clock.advance(Duration::from_secs(1));
    let rejected = site.pending(&call("2", "other")).await;
    site.say(&rejected.id, "ana", "reject").await;
    site.clock.advance(Duration::from_secs(1));
    let now = site.pending(&call("3", "prod")).await;
    let link = site.link(&now.id, "ana").await;

    for path in [format!("/approvals/{}", now.id), link] {
        let cookie = site.cookie("ana").await;
        let page = site.get(&path, &[("cookie", &cookie)]).await;
        assert!(page.body.contains("Against the last one approved"), "{}", page.body);
        let at = page.body.find("class=\"changes\"").unwrap();
        let changes = &page.body[at..page.body[at..].find("</dl>").unwrap() + at];
        for part in ["/store", "prod", "&#60;b&#62;test", "/id", "masked"] {
            assert!(changes.contains(part), "{part}: {changes}");
        }
        for part in ["other", "p1", "p3", "<b>"] {
            assert!(!changes.contains(part), "{part}: {changes}");
        }
        let asked_before = page.body.contains(&format!("/approvals/{}", rejected.id));
        assert_eq!(asked_before, path.starts_with("/approvals"), "{path}");
    }
    let page = site
        .get(&format!("/approvals/{}", first.id), &[("cookie", &site.cookie("ana").await)])
        .await;
    assert!(!page.body.contains("Against the last one approved"), "nothing came before it");
}

/// The page without the one script that is ours.
fn without_ours(body: &str) -> String {
    let ours = "<script src=\"/assets/app.js\" defer></script>";
    assert_eq!(body.matches(ours).count(), 1, "{body}");
    body.replace(ours, "")
}

#[tokio::test]
async fn the_page_has_the_raw_json_and_the_limits_that_led_here() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let secret = site.pending(SECRET_CALL).await;
    let long = format!(
        "{{\"name\":\"delete_image_set\",\"arguments\":{{\"t\":\"{}\"}}}}",
        "x".repeat(3_000)
    );
    let long = site.pending(&long).await;
    let cookie = site.cookie("ana").await;
    let get = async |path: String| site.get(&path, &[("cookie", &cookie)]).await.body;

    let page = get(format!("/approvals/{}", approval.id)).await;
    let raw = "id=\"raw\" tabindex=\"0\">{&quot;datastore_id&quot;:&quot;prod&quot;,&quot;n&quot;:1.00}</pre>";
    assert!(page.contains(raw), "{page}");
    assert!(page.contains("Calls of this agent that wait or are approved: 3 of at most"), "{page}");
    assert!(page.contains("New ones of this agent within 10 minutes: 3 of at most"), "{page}");
    assert!(page.contains("its next identical call passes for 10 minutes"), "{page}");
    let masked = get(format!("/approvals/{}", secret.id)).await;
    assert!(masked.contains("id=\"raw\"") && !masked.contains("hunter2"));
    // What is folded is not there in another place either, until it is asked for.
    assert!(!get(format!("/approvals/{}", long.id)).await.contains("id=\"raw\""));
    assert!(get(format!("/approvals/{}?full=1", long.id)).await.contains("id=\"raw\""));
}

#[tokio::test]
async fn tools_are_found_by_words_agent_upstream_and_policy() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let find = async |query: &str| {
        let page = site.get(&format!("/tools?{query}"), &[("cookie", &cookie)]).await.body;
        let shown = |tool: &str| page.contains(&format!("<code>{tool}</code>"));
        ["list_image_sets", "delete_image_set", "wipe_archive"].map(shown)
    };

    assert_eq!(find("").await, [true, true, true]);
    assert_eq!(find("q=DELETE+images").await, [false, true, false]);
    assert_eq!(find("q=does+set").await, [true, true, false], "its own words count");
    assert_eq!(find("action=hide").await, [false, false, true]);
    assert_eq!(find("agent=bot").await, [true, true, false]);
    assert_eq!(find("upstream=other").await, [false, false, false]);
    assert_eq!(find("from=9999").await, [false, false, false]);
    let page = site.get("/tools?q=delete", &[("cookie", &cookie)]).await.body;
    assert!(page.contains("may destroy") && page.contains("1 found"), "{page}");
    assert!(page.contains("Does &#60;b&#62;delete_image_set"), "{page}");
}

#[tokio::test]
async fn history_is_searched_by_words_of_tool_agent_and_reason() {
    let site = Site::new().await;
    let first =
        site.pending_with(CALL, |a| a.reason = Some("Irreversible, =ever".to_owned())).await;
    site.clock.advance(Duration::from_secs(1));
    let second = site.pending(SECRET_CALL).await;
    let body = "{\"decision\":\"reject\",\"reason\":\"Wrong datastore!\"}";
    let path = format!("/approvals/{}/decision", second.id);
    assert_eq!(site.api("POST", &path, "ana", body).await.status, StatusCode::OK);
    let cookie = site.cookie("ana").await;
    let find = async |q: &str| {
        let page = site.get(&format!("/history?q={q}"), &[("cookie", &cookie)]).await;
        (page.body.contains(first.id.as_str()), page.body.contains(second.id.as_str()))
    };

    assert_eq!(find("delete_image_set").await, (true, true));
    assert_eq!(find("IRREVERSIBLE").await, (true, false));
    assert_eq!(find("datastore").await, (false, true), "a decision's reason");
    assert_eq!(find("image+wrong").await, (false, true), "all words");
    assert_eq!(find("irreversible+wrong").await, (false, false));
    assert_eq!(find("delet").await, (false, false), "whole words");
    let none = site.get("/history?q=...", &[("cookie", &cookie)]).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    let api = site.api("GET", "/approvals?q=irreversible&state=pending", "ana", "").await;
    assert!(api.body.contains(first.id.as_str()) && !api.body.contains(second.id.as_str()));
}

#[tokio::test]
async fn sensitive_calls_are_found_and_exported_only_by_those_who_may_see_them() {
    let site = Site::new().await;
    site.pending_with(CALL, |a| {
        a.terms.sensitive = true;
        a.terms.reviewers = vec!["bo".to_owned()];
    })
    .await;
    let (ana, bo) = (site.cookie("ana").await, site.cookie("bo").await);

    for path in ["/history?q=delete_image_set", "/history/export?format=csv"] {
        let seen = async |cookie: &str| {
            let page = site.get(path, &[("cookie", cookie)]).await;
            page.body.contains("\"apr_") || page.body.contains("/approvals/apr_")
        };
        assert!(!seen(&ana).await, "{path}");
        assert!(seen(&bo).await, "{path}");
    }
}

#[tokio::test]
async fn history_is_exported_as_narrowed_masked_and_without_formulas() {
    let site = Site::new().await;
    site.pending_with(CALL, |a| a.reason = Some("=HYPERLINK(\"x\")".to_owned())).await;
    site.clock.advance(Duration::from_secs(1));
    let second = site.pending(SECRET_CALL).await;
    site.say(&second.id, "ana", "reject").await;
    let cookie = site.cookie("ana").await;
    let get = async |query: &str| {
        site.get(&format!("/history/export?{query}"), &[("cookie", &cookie)]).await
    };

    let csv = get("format=csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.header("content-disposition").contains("placet-history.csv"));
    assert_eq!(csv.body.lines().count(), 3);
    assert!(csv.body.contains("\"'=HYPERLINK(\"\"x\"\")\""), "{}", csv.body);
    assert!(!csv.body.contains("hunter2"));
    let json = get("format=json&state=rejected").await;
    let read: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    let all = read["approvals"].as_array().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["id"], second.id.as_str());
    assert!(!json.body.contains("hunter2") && json.body.contains("‹masked"));
    assert_eq!(read["truncated"], false);
    site.clock.advance(Duration::from_secs(1));
    site.pending("{\"name\":\"delete_image_set\",\"arguments\":{\"n\":3}}").await;
    let most = get("format=json").await;
    let read: serde_json::Value = serde_json::from_str(&most.body).unwrap();
    assert_eq!(read["approvals"].as_array().unwrap().len(), 2, "server.max_export");
    assert_eq!(read["truncated"], true);
    assert_eq!(get("format=csv").await.body.lines().count(), 3);
    assert_eq!(get("format=xml").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get("format=csv&state=nonsense").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let signed_out = site.get("/history/export?format=csv", &[]).await;
    assert_eq!(signed_out.status, StatusCode::SEE_OTHER);
}
