use super::*;
use crate::config::Role;
use crate::notify::fixtures::{NOW, approval, config, decision, masker, reviewer};

/// `topic notifier recipient` of every planned delivery.
fn told(planned: &[NewDelivery]) -> Vec<String> {
    planned
        .iter()
        .map(|d| format!("{} {} {}", d.topic, d.notifier, d.recipient.as_deref().unwrap_or("-")))
        .collect()
}

fn request(config: &Config, approval: &Approval) -> Vec<NewDelivery> {
    Plan::new(config, &masker(), &Wishes::default(), approval, NOW).of_request()
}

fn change(config: &Config, approval: &Approval, from: State) -> Vec<NewDelivery> {
    Plan::new(config, &masker(), &Wishes::default(), approval, NOW).of_change(from)
}

fn in_state(state: State, yes: &[&str]) -> Approval {
    let decisions = yes.iter().map(|r| decision(r, Choice::Approve)).collect();
    Approval { state, decisions, ..approval() }
}

#[test]
fn a_request_goes_to_each_asked_reviewer_with_an_address_to_lists_and_webhooks() {
    let planned = request(&config(), &approval());

    assert_eq!(
        told(&planned),
        [
            "requested mail ana",
            "requested mail bo",
            "requested mail list:list@example.org",
            "requested ops -"
        ]
    );
    assert!(planned.iter().all(|d| d.give_up_at == approval().expires_at && d.due_at == NOW));
}

#[test]
fn the_agents_owner_is_not_mailed() {
    let mut owned = approval();
    owned.terms.owner = Some("ana".into());

    assert!(!told(&request(&config(), &owned)).contains(&"requested mail ana".to_owned()));
}

#[test]
fn the_mailbox_in_the_process_needs_no_addresses() {
    let mut asked = approval();
    asked.terms.notify = vec!["demo".into()];

    assert_eq!(
        told(&request(&config(), &asked)),
        ["requested demo ana", "requested demo bo", "requested demo cy"]
    );
}

#[test]
fn a_reminder_is_planned_where_it_is_set_and_still_ahead() {
    let mut config = config();
    config.approvals.reminder = Some(Duration::from_mins(5));

    let planned = request(&config, &approval());

    let reminders: Vec<_> = planned.iter().filter(|d| d.topic == "reminder").collect();
    assert_eq!(reminders.len(), 2);
    assert_eq!(reminders[0].due_at, NOW.plus(Duration::from_mins(25)));
    config.approvals.reminder = Some(Duration::from_mins(30));
    assert!(request(&config, &approval()).iter().all(|d| d.topic != "reminder"));
}

#[test]
fn a_decision_is_told_to_those_asked_who_made_none() {
    let config = config();
    let approved = in_state(State::Approved, &["ana"]);
    let rejected = Approval {
        state: State::Rejected,
        decisions: vec![decision("bo", Choice::Reject)],
        ..approval()
    };

    assert_eq!(
        told(&change(&config, &approved, State::Pending)),
        ["approved mail bo", "approved ops -"]
    );
    assert_eq!(
        told(&change(&config, &rejected, State::Pending)),
        ["rejected mail ana", "rejected ops -"]
    );
}

#[test]
fn what_was_approved_and_then_ended_is_told_to_who_approved_too() {
    let config = config();

    assert_eq!(
        told(&change(&config, &in_state(State::Expired, &["ana"]), State::Approved)),
        ["expired mail bo", "expired mail ana", "expired ops -"]
    );
    assert_eq!(
        told(&change(&config, &in_state(State::Cancelled, &["ana"]), State::Approved)),
        ["cancelled mail bo", "cancelled mail ana", "cancelled ops -"]
    );
    assert_eq!(
        told(&change(&config, &in_state(State::Expired, &["ana"]), State::Pending)),
        ["expired mail bo", "expired ops -"]
    );
}

#[test]
fn what_nobody_knows_is_told_to_who_approved_and_all_admins() {
    let mut config = config();
    config.reviewers.push(reviewer("eve", Role::Admin));

    assert_eq!(
        told(&change(&config, &in_state(State::Indeterminate, &["ana", "root"]), State::Running)),
        [
            "indeterminate mail ana",
            "indeterminate mail root",
            "indeterminate mail eve",
            "indeterminate ops -"
        ]
    );
}

#[test]
fn running_and_completed_are_mailed_to_nobody() {
    let config = config();

    assert!(change(&config, &in_state(State::Running, &["ana"]), State::Approved).is_empty());
    assert_eq!(
        told(&change(&config, &in_state(State::Completed, &["ana"]), State::Running)),
        ["completed ops -"]
    );
}

#[test]
fn a_release_and_a_change_within_a_state_tell_nothing() {
    let config = config();

    assert!(change(&config, &in_state(State::Approved, &["ana"]), State::Running).is_empty());
    assert!(change(&config, &in_state(State::Pending, &["ana"]), State::Pending).is_empty());
    assert!(change(&config, &in_state(State::Indeterminate, &[]), State::Indeterminate).is_empty());
}

#[test]
fn ids_name_what_is_told_to_whom() {
    let first = request(&config(), &approval());
    let again = request(&config(), &approval());

    let mut ids: Vec<_> = first.iter().map(|d| d.id.clone()).collect();
    assert_eq!(ids, again.iter().map(|d| d.id.clone()).collect::<Vec<_>>());
    assert!(ids.iter().all(|id| id.len() == 36 && id.starts_with("dlv_")));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), first.len());
}

#[test]
fn a_webhook_is_a_snapshot_without_arguments_unless_asked_for() {
    let mut config = config();

    let thin = request(&config, &approval()).pop().unwrap().payload.unwrap();
    config.notifiers[2].include_arguments = true;
    let full = request(&config, &approval()).pop().unwrap().payload.unwrap();

    let thin: serde_json::Value = serde_json::from_str(&thin).unwrap();
    assert_eq!(thin["type"], "approval.requested");
    assert_eq!(thin["timestamp"], "2026-11-22T13:35:00Z");
    assert_eq!(
        thin["data"]["review_url"],
        "https://placet.example/approvals/apr_00000000000000000000000000000001"
    );
    assert_eq!(thin["data"]["approval"]["state"], "pending");
    assert!(thin["data"]["approval"].get("arguments").is_none());
    assert!(thin["data"]["approval"].get("outcome").is_none());
    assert!(full.contains(r#""count":1.00"#) && !full.contains("hunter2"), "{full}");
}

#[test]
fn a_webhook_gives_back_every_hostile_string_as_it_came() {
    let mut config = config();
    config.notifiers[2].include_arguments = true;
    for entry in crate::domain::hostile::corpus() {
        let key = json::quote(&entry.text);
        let arguments = format!("{{{key}:{}}}", entry.json);
        let params = format!("{{\"name\":{key},\"arguments\":{arguments}}}");
        let text = || Some(entry.text.clone());
        let mut told = Approval {
            agent: entry.text.clone(),
            client: text(),
            reason: text(),
            ..in_state(State::Pending, &["bo"])
        };
        told.call = crate::domain::call::ToolCall::read("images", &params).unwrap();
        told.decisions[0].reason.clone_from(&entry.text);

        let body = request(&config, &told).pop().unwrap().payload.unwrap();

        let approval =
            &serde_json::from_str::<serde_json::Value>(&body).unwrap()["data"]["approval"];
        for place in [
            &approval["tool"],
            &approval["agent"]["name"],
            &approval["agent"]["client"],
            &approval["reason"],
            &approval["decisions"][0]["reason"],
        ] {
            assert_eq!(place.as_str(), Some(entry.text.as_str()), "{}", entry.name);
        }
        let node = json::parse_own(&body).unwrap();
        let given = node.get("data").unwrap().get("approval").unwrap().get("arguments").unwrap();
        assert_eq!(given.raw, arguments, "{}", entry.name);
    }
}
/// 14:05 UTC is NOW of the fixtures, whatever the day: quiet from an hour before for two.
fn quiet_now() -> crate::domain::preferences::Quiet {
    let minute = u32::try_from(NOW.seconds().div_euclid(60).rem_euclid(1_440)).unwrap();
    crate::domain::preferences::Quiet {
        from: (minute + 1_380) % 1_440,
        to: (minute + 20) % 1_440,
        offset: 0,
    }
}

/// A call that one of those asked approves.
fn of_one() -> Approval {
    let mut of_one = approval();
    of_one.terms.quorum = 1;
    of_one
}

fn wishing(who: &[&str], wish: impl Fn(&mut Preferences)) -> Wishes {
    let mut wishes = Preferences::default();
    wish(&mut wishes);
    Wishes::new(who.iter().map(|name| ((*name).to_owned(), wishes.clone())).collect())
}

fn due(planned: &[NewDelivery], who: &str) -> Option<Timestamp> {
    planned.iter().find(|d| d.recipient.as_deref() == Some(who)).map(|d| d.due_at)
}

#[test]
fn quiet_hours_put_a_request_off_while_somebody_else_is_awake() {
    let config = config();
    let of = |wishes: &Wishes, approval: &Approval| {
        Plan::new(&config, &masker(), wishes, approval, NOW).of_request()
    };
    let night = wishing(&["ana"], |w| w.quiet = Some(quiet_now()));

    let planned = of(&night, &of_one());
    let ends = due(&planned, "ana").unwrap();
    assert!(NOW < ends && ends <= NOW.plus(Duration::from_mins(20)));
    assert_eq!(due(&planned, "bo"), Some(NOW));

    let short = Approval { expires_at: NOW.plus(Duration::from_mins(10)), ..of_one() };
    assert_eq!(due(&of(&night, &short), "ana"), Some(NOW), "it would be over by then");
    let all = wishing(&["ana", "bo"], |w| w.quiet = Some(quiet_now()));
    assert_eq!(due(&of(&all, &of_one()), "ana"), Some(NOW), "nobody is awake");
}

#[test]
fn quiet_hours_count_whether_those_awake_are_enough_and_put_reminders_off_too() {
    let mut config = config();
    config.approvals.reminder = Some(Duration::from_mins(29));
    let night = wishing(&["ana"], |w| w.quiet = Some(quiet_now()));
    let of =
        |approval: &Approval| Plan::new(&config, &masker(), &night, approval, NOW).of_request();
    let mut two = approval();
    two.terms.quorum = 2;
    two.terms.reviewers = vec!["ana".into(), "bo".into()];

    assert_eq!(due(&of(&two), "ana"), Some(NOW), "bo alone is not enough");
    let planned = of(&of_one());
    let reminders: Vec<_> = planned.iter().filter(|d| d.topic == "reminder").collect();
    assert!(due(&planned, "ana").is_some_and(|at| at > NOW));
    for reminder in reminders {
        let asleep = reminder.recipient.as_deref() == Some("ana");
        assert_eq!(reminder.due_at > NOW.plus(Duration::from_mins(1)), asleep);
    }
}

#[test]
fn who_does_not_want_to_hear_of_others_decisions_does_not_but_of_what_may_have_run() {
    let config = config();
    let wishes = wishing(&["ana", "bo", "root"], |w| w.decisions = false);
    let of = |approval: &Approval, from| {
        told(&Plan::new(&config, &masker(), &wishes, approval, NOW).of_change(from))
    };

    assert_eq!(of(&in_state(State::Approved, &["ana"]), State::Pending), ["approved ops -"]);
    assert_eq!(
        of(&in_state(State::Cancelled, &["ana"]), State::Approved),
        ["cancelled mail ana", "cancelled ops -"],
        "what they approved is theirs to know"
    );
    assert!(
        of(&in_state(State::Indeterminate, &["ana"]), State::Running)
            .contains(&"indeterminate mail root".to_owned())
    );
}

#[test]
fn who_is_away_is_not_mailed_and_who_stands_in_is() {
    let mut asked = approval();
    asked.terms.reviewers = vec!["ana".into(), "root".into()];
    asked.terms.stand_ins =
        vec![crate::domain::absence::StandIn { delegate: "root".into(), of: "ana".into() }];

    let planned = told(&request(&config(), &asked));

    assert!(planned.contains(&"requested mail root".to_owned()), "{planned:?}");
    assert!(!planned.contains(&"requested mail ana".to_owned()), "{planned:?}");
    asked.terms.stand_ins[0].delegate = "cy".into();
    let planned = told(&request(&config(), &asked));
    assert!(planned.contains(&"requested mail ana".to_owned()), "cy has no address: {planned:?}");
}
