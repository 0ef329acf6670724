use super::facts::MAX_ARGUMENTS;
use super::*;
use crate::domain::approval::Outcome;
use crate::domain::call::ToolCall;
use crate::notify::fixtures::{NOW, approval, config, decision, masker, reviewer};

const LINK: &str = "https://placet.example/review/tok";

/// A letter to ana by notifier `mail`.
macro_rules! letter {
    ($letter:ident, $topic:literal, $config:expr) => {
        let config = $config;
        let masker = masker();
        let id = delivery_id(approval().id.as_str(), $topic, "mail", Some("ana"));
        let $letter = Letter {
            config: &config,
            masker: &masker,
            notifier: &config.notifiers[1],
            to: "ana@example.org",
            id: &id,
            recipient: "ana",
            now: NOW,
        };
    };
}

fn with_params(params: &str) -> Approval {
    Approval { call: ToolCall::read("images", params).unwrap(), ..approval() }
}

#[test]
fn a_request_says_what_who_until_when_and_where_to_decide() {
    letter!(letter, "requested", config());

    let mail = requested(letter, &approval(), false, LINK, true);

    assert_eq!(
        mail.subject,
        "Approve images/delete_image_set for claude-code? Expires in 30 minutes, at 14:05 UTC"
    );
    for part in [&mail.text, &mail.html] {
        for line in [
            "in 30 minutes, at 14:05 UTC",
            "claude-code",
            "delete_image_set",
            "claude-code/2.4 (in its own words)",
            "Deleting an image set cannot be undone.",
            "/tools/delete_image_set",
            "‹masked, 7 characters, ",
            "2 people must approve; 0 did so far.",
            LINK,
            "apr_00000000000000000000000000000001",
        ] {
            assert!(part.contains(line), "{line} in {part}");
        }
        assert!(!part.contains("hunter2"));
        assert!(!part.contains("<img") && !part.contains("src="));
    }
    assert!(mail.text.contains("  \"count\": 1.00,\n"), "{}", mail.text);
    assert!(mail.html.contains("  &#34;count&#34;: 1.00,\n"), "{}", mail.html);
    assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
}

#[test]
fn a_reminder_says_that_it_is_one() {
    letter!(letter, "reminder", config());

    let mail = requested(letter, &approval(), true, LINK, true);

    assert!(mail.subject.starts_with("Reminder: Approve images/delete_image_set"));
    assert!(mail.text.starts_with("Still waiting for a decision: claude-code asks to call"));
}

#[test]
fn a_link_that_does_not_decide_is_not_called_the_readers_own() {
    letter!(letter, "requested", config());

    let mail = requested(letter, &approval(), false, "https://placet.example/approvals/x", false);

    assert!(mail.text.contains("Sign in to look at it and decide:"));
    assert!(mail.text.contains("This link decides nothing by itself."));
    assert!(!mail.text.contains("yours alone"));
}

#[test]
fn markup_of_a_call_stays_text_and_hidden_characters_are_shown() {
    letter!(letter, "requested", config());
    let evil = with_params(
        r#"{"name":"del\u202eete\r\nBcc: x","arguments":{"a":"</pre><a href='https://evil.example'>Approve</a>","b":"pаypal"},"dryRun":false}"#,
    );

    let mail = requested(letter, &evil, false, LINK, true);

    assert!(!mail.html.contains("</pre><a") && !mail.html.contains("<a href='https://evil"));
    assert!(mail.subject.contains("del⟦U+202E⟧ete⟦U+000D⟧⟦U+000A⟧Bcc: x"), "{}", mail.subject);
    assert!(!mail.subject.contains('\n'));
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("“pаypal” (Latin and Cyrillic)"), "{part}");
        assert!(part.contains("Further members of the request:"), "{part}");
    }
}

#[test]
fn long_arguments_are_cut_and_the_mail_says_so() {
    letter!(letter, "requested", config());
    let long = with_params(&format!(
        r#"{{"name":"t","arguments":{{"text":"{}"}}}}"#,
        "x".repeat(2 * MAX_ARGUMENTS)
    ));

    let mail = requested(letter, &long, false, LINK, true);

    assert!(mail.text.len() < MAX_ARGUMENTS + 2_000);
    assert!(mail.text.contains("more characters are left out here; the page shows all of it."));
    assert!(mail.html.contains("more characters are left out here; the page shows all of it."));
}

#[test]
fn without_include_arguments_and_for_lists_of_sensitive_rules_none_are_shown() {
    let mut thin = config();
    thin.notifiers[1].include_arguments = false;
    letter!(letter, "requested", thin);
    let mut sensitive = approval();
    sensitive.terms.sensitive = true;

    let mail = requested(letter, &approval(), false, LINK, true);
    letter!(letter, "requested", crate::notify::fixtures::config());
    let to_list = Letter { recipient: "list:list@example.org", ..letter };
    let list_mail = requested(to_list, &sensitive, false, LINK, false);

    for text in [mail.text, list_mail.text] {
        assert!(text.contains("The arguments are not part of this message"), "{text}");
        assert!(!text.contains("datastore_id"), "{text}");
    }
}

#[test]
fn approving_is_explained_as_it_would_be_now() {
    let mut one = approval();
    one.terms.quorum = 1;
    let gone = Approval { waiting: false, ..one.clone() };
    let mut unattended = gone.clone();
    unattended.terms.unattended = Unattended::Run;

    assert!(effect(&one).starts_with("Approving runs the call at once: the agent is waiting."));
    assert!(effect(&gone).contains("lets its next identical call through, for 10 minutes."));
    assert!(effect(&unattended).starts_with("Approving runs the call at once, although"));
}

#[test]
fn mails_of_one_approval_form_a_thread() {
    letter!(letter, "requested", config());
    let first = requested(letter, &approval(), false, LINK, true);
    let again = requested(letter, &approval(), false, "https://placet.example/review/b", true);
    letter!(letter, "rejected", crate::notify::fixtures::config());

    let last = resolved(letter, &approval(), State::Rejected);

    let root = "apr_00000000000000000000000000000001@placet.example";
    assert_eq!(first.message_id, again.message_id);
    assert_eq!(first.references.as_deref(), Some(root));
    assert_eq!(last.references, Some(format!("{root} {}", first.message_id)));
}

#[test]
fn a_resolution_says_who_and_why_and_links_the_page() {
    letter!(letter, "rejected", config());
    let rejected = Approval {
        state: State::Rejected,
        decisions: vec![decision("bo", Choice::Reject)],
        ..approval()
    };
    let cancelled = Approval {
        state: State::Cancelled,
        end_reason: Some("withdrawn by root".into()),
        ..approval()
    };

    let mail = resolved(letter, &rejected, State::Rejected);
    let other = resolved(letter, &cancelled, State::Cancelled);

    assert_eq!(mail.subject, "Rejected: images/delete_image_set for claude-code");
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("Rejected by bo."), "{part}");
        assert!(part.contains("bo rejected at 13:36 UTC by the mailed link: checked"), "{part}");
        assert!(
            part.contains("https://placet.example/approvals/apr_00000000000000000000000000000001")
        );
        assert!(!part.contains("/review/"));
    }
    assert!(other.text.contains("It was cancelled: withdrawn by root."));
}

#[test]
fn what_is_unknown_is_said_to_be_and_links_the_page() {
    letter!(letter, "indeterminate", config());
    let lost = Approval {
        state: State::Indeterminate,
        end_reason: Some("the connection broke after sending".into()),
        outcome: None::<Outcome>,
        ..approval()
    };

    let mail = indeterminate(letter, &lost);

    assert_eq!(mail.subject, "Did it run? images/delete_image_set for claude-code");
    assert!(
        mail.text
            .replace('\n', " ")
            .contains("no readable answer came back: the connection broke after sending")
    );
    assert!(mail.text.contains("/approvals/apr_00000000000000000000000000000001"));
    assert!(mail.html.contains("<strong>It may have run.</strong>"));
}

#[test]
fn a_sign_in_mail_holds_the_link_and_no_call() {
    letter!(letter, "sign_in", config());

    let mail =
        sign_in(letter, &reviewer("ana", Role::Reviewer), "https://placet.example/sign-in/t");

    assert_eq!(mail.subject, "Sign in to Placet as ana");
    assert!(mail.text.contains("Sign in as ana:\nhttps://placet.example/sign-in/t\n"));
    assert!(mail.html.contains("href=\"https://placet.example/sign-in/t\""));
    assert_eq!(mail.references, None);
}

#[test]
fn a_summary_counts_and_names_what_waits_and_links_the_queue() {
    letter!(letter, "summary", config());
    let waiting = vec![approval(); MAX_SUMMARY + 3];

    let mail = summary(letter, &waiting, false);

    assert_eq!(mail.subject, "23 calls wait for your decision");
    assert!(mail.text.contains("https://placet.example/\n"));
    assert_eq!(mail.text.matches("- images/delete_image_set for claude-code").count(), MAX_SUMMARY);
    assert!(mail.text.contains("- and 3 more"));
    assert!(mail.html.contains("<li>and 3 more</li>"));
}

#[test]
fn a_summary_names_a_call_of_each_agent_before_the_second_of_any() {
    letter!(letter, "summary", config());
    let mut waiting = vec![approval(); 2 * MAX_SUMMARY];
    waiting.last_mut().unwrap().agent = "quiet".to_owned();

    let mail = summary(letter, &waiting, true);

    assert_eq!(mail.subject, "At least 40 calls wait for your decision");
    assert!(mail.text.contains("- images/delete_image_set for quiet"), "{}", mail.text);
}

#[test]
fn a_test_message_fits_its_notifier() {
    let config = config();
    let message =
        |i: usize| test_message(&config, &masker(), &config.notifiers[i], "dlv_1", NOW).unwrap();

    assert!(matches!(message(0), Message::Email(m) if m.to == "root@example.org"));
    assert!(matches!(message(1), Message::Email(m) if m.to == "list@example.org"));
    assert!(matches!(message(2), Message::Webhook { body, .. } if body.contains("placet.test")));
}

#[test]
fn a_test_without_anybody_to_write_to_says_what_to_add() {
    let mut config = config();
    config.reviewers.clear();
    let NotifierKind::Email { to, .. } = &mut config.notifiers[1].kind else { unreachable!() };
    to.clear();

    let error = test_message(&config, &masker(), &config.notifiers[1], "dlv_1", NOW).unwrap_err();

    assert!(error.contains("notifier mail"), "{error}");
}

#[test]
fn a_secret_is_not_told_by_the_warning_about_its_letters() {
    letter!(letter, "requested", config());
    let secret = with_params(r#"{"name":"t","arguments":{"password":"hunтer2"}}"#);

    let mail = requested(letter, &secret, false, LINK, true);

    assert!(!mail.text.contains("hunтer2") && !mail.html.contains("hunтer2"));
    assert!(!mail.text.contains("different scripts"));
}
