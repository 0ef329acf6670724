//! Who may do what: every kind of person before every kind of approval, against tables written by
//! hand, and what is promised against what the change itself accepts.

use placet::auth::Proven;
use placet::broker::people::rights::{Right, Rights};
use placet::config::Reviewer;
use placet::domain::approval::{
    Approval, Assurance, Choice, Decision, Refusal, Settled, State, Via,
};
use placet::domain::person::Role;

use crate::support::approvals::{T0, approval, at};

const ME: &str = "me";

/// Who is it, and what may they say of a call that waits, whatever else holds?
#[rustfmt::skip]
const PEOPLE: [(Role, bool, bool, Right, Right); 12] = [
    //              asked  owner  approve                     reject
    (Role::Reviewer, true,  false, Ok(()),                    Ok(())),
    (Role::Reviewer, true,  true,  Err(Refusal::OwnAgent),    Ok(())),
    (Role::Reviewer, false, true,  Err(Refusal::OwnAgent),    Ok(())),
    (Role::Reviewer, false, false, Err(Refusal::NotEligible), Err(Refusal::NotEligible)),
    (Role::Admin,    true,  false, Ok(()),                    Ok(())),
    (Role::Admin,    true,  true,  Err(Refusal::OwnAgent),    Ok(())),
    (Role::Admin,    false, true,  Err(Refusal::OwnAgent),    Ok(())),
    (Role::Admin,    false, false, Err(Refusal::NotEligible), Err(Refusal::NotEligible)),
    (Role::Auditor,  true,  false, Err(Refusal::Auditor),     Err(Refusal::Auditor)),
    (Role::Auditor,  true,  true,  Err(Refusal::Auditor),     Err(Refusal::Auditor)),
    (Role::Auditor,  false, true,  Err(Refusal::Auditor),     Err(Refusal::Auditor)),
    (Role::Auditor,  false, false, Err(Refusal::Auditor),     Err(Refusal::Auditor)),
];

/// What may be said by a channel of so much assurance, where the rule asks for so much?
#[rustfmt::skip]
const CHANNELS: [(Via, Assurance, Assurance, Right, Right); 12] = [
    //          has                 asks                approve                                    reject
    (Via::Email, Assurance::Link,    Assurance::Link,    Ok(()),                                    Ok(())),
    (Via::Email, Assurance::Link,    Assurance::Session, Err(Refusal::SignIn),                      Err(Refusal::SignIn)),
    (Via::Email, Assurance::Link,    Assurance::Passkey, Err(Refusal::SignIn),                      Err(Refusal::SignIn)),
    (Via::Web,   Assurance::Link,    Assurance::Link,    Ok(()),                                    Ok(())),
    (Via::Web,   Assurance::Link,    Assurance::Session, Err(Refusal::TooWeak(Assurance::Session)), Ok(())),
    (Via::Web,   Assurance::Link,    Assurance::Passkey, Err(Refusal::TooWeak(Assurance::Passkey)), Ok(())),
    (Via::Web,   Assurance::Session, Assurance::Link,    Ok(()),                                    Ok(())),
    (Via::Web,   Assurance::Session, Assurance::Session, Ok(()),                                    Ok(())),
    (Via::Api,   Assurance::Session, Assurance::Passkey, Err(Refusal::TooWeak(Assurance::Passkey)), Ok(())),
    (Via::Web,   Assurance::Passkey, Assurance::Link,    Ok(()),                                    Ok(())),
    (Via::Web,   Assurance::Passkey, Assurance::Session, Ok(()),                                    Ok(())),
    (Via::Web,   Assurance::Passkey, Assurance::Passkey, Ok(()),                                    Ok(())),
];

/// What has become of it?
#[rustfmt::skip]
const STATES: [(State, bool, Right); 9] = [
    //                     overdue
    (State::Pending,       false, Ok(())),
    (State::Pending,       true,  Err(Refusal::Expired)),
    (State::Expired,       true,  Err(Refusal::Expired)),
    (State::Approved,      false, Err(Refusal::AlreadyDecided(State::Approved))),
    (State::Running,       false, Err(Refusal::AlreadyDecided(State::Running))),
    (State::Completed,     false, Err(Refusal::AlreadyDecided(State::Completed))),
    (State::Rejected,      false, Err(Refusal::AlreadyDecided(State::Rejected))),
    (State::Cancelled,     false, Err(Refusal::AlreadyDecided(State::Cancelled))),
    (State::Indeterminate, false, Err(Refusal::AlreadyDecided(State::Indeterminate))),
];

const THEIRS: Right = Err(Refusal::NotTheirsToWithdraw);

const fn late(state: State) -> Right {
    Err(Refusal::NotCancellable(state))
}

/// Who withdraws it? Auditors never.
#[rustfmt::skip]
const WITHDRAWALS: [(State, Right, Right, Right); 8] = [
    //                     admin                        who approved                 other reviewers
    (State::Pending,       Ok(()),                      THEIRS,                      THEIRS),
    (State::Approved,      Ok(()),                      Ok(()),                      THEIRS),
    (State::Running,       late(State::Running),        late(State::Running),        THEIRS),
    (State::Completed,     late(State::Completed),      late(State::Completed),      THEIRS),
    (State::Rejected,      late(State::Rejected),       late(State::Rejected),       THEIRS),
    (State::Expired,       late(State::Expired),        late(State::Expired),        THEIRS),
    (State::Cancelled,     late(State::Cancelled),      late(State::Cancelled),      THEIRS),
    (State::Indeterminate, late(State::Indeterminate),  late(State::Indeterminate),  THEIRS),
];

fn me(role: Role) -> Reviewer {
    Reviewer { name: ME.to_owned(), email: None, groups: Vec::new(), role, token_sha256: None }
}

fn said(choice: Choice, via: Via, assurance: Assurance) -> Decision {
    let reviewer = ME.to_owned();
    Decision { reviewer, choice, reason: "because".to_owned(), via, assurance, at: T0 }
}

/// An approval of two that asks me or doesn't, after I said this.
fn case(state: State, asked: bool, owner: bool, before: Option<Choice>) -> Approval {
    let mut a = approval(1, "{}");
    a.state = state;
    a.terms.quorum = 2;
    if asked {
        a.terms.reviewers.push(ME.to_owned());
    }
    a.terms.owner = owner.then(|| ME.to_owned());
    a.decisions.extend(before.map(|choice| said(choice, Via::Web, Assurance::Passkey)));
    a
}

/// My rights, after they were compared with what the changes accept.
fn rights(a: &Approval, role: Role, assurance: Assurance, via: Via) -> Rights {
    let me = me(role);
    let rights = Rights::of(a, Proven { reviewer: &me, assurance }, via, T0);
    let decide = |choice| a.clone().decide(said(choice, via, assurance), role, None).map(|_| ());
    assert_eq!(rights.approve, decide(Choice::Approve), "{a:?} {role:?}");
    assert_eq!(rights.reject, decide(Choice::Reject), "{a:?} {role:?}");
    assert_eq!(rights.withdraw, a.clone().withdraw(me.person(), "", T0).map(|_| ()));
    assert_eq!(rights.settle, a.clone().settle(true, me.person(), "", T0).map(|_| ()));
    rights
}

#[test]
fn a_decision_is_refused_by_the_first_table_that_refuses_it() {
    let mut given = 0;
    for (role, asked, owner, approve_of, reject_of) in PEOPLE {
        for (via, has, asks, approve_by, reject_by) in CHANNELS {
            for (state, overdue, in_state) in STATES {
                for before in [None, Some(Choice::Approve), Some(Choice::Reject)] {
                    let mut a = case(state, asked, owner, before);
                    a.terms.assurance = asks;
                    a.expires_at = if overdue { T0 } else { at(1) };
                    let again = |choice: Choice| match before {
                        Some(said) if said == choice => Err(Refusal::Repeated),
                        _ => Ok(()),
                    };
                    let stands = match before {
                        Some(Choice::Reject) => Err(Refusal::AlreadyDecided(State::Rejected)),
                        _ => Ok(()),
                    };
                    let expected = |of: Right, choice, by: Right| {
                        of.and(again(choice)).and(by).and(in_state).and(stands)
                    };

                    let rights = rights(&a, role, has, via);

                    let words = format!("{role:?} {asked} {owner} {via:?} {has:?} {a:?}");
                    let approve = expected(approve_of, Choice::Approve, approve_by);
                    let reject = expected(reject_of, Choice::Reject, reject_by);
                    assert_eq!(rights.approve, approve, "{words}");
                    assert_eq!(rights.reject, reject, "{words}");
                    assert!(!(owner && rights.approve.is_ok()), "{words}");
                    assert!(role.decides() || !rights.decides(), "{words}");
                    given += u32::from(rights.decides());
                }
            }
        }
    }
    assert!(given > 100, "{given}");
}

#[test]
fn withdrawing_is_for_admins_and_once_approved_for_who_approved() {
    for (state, admin, approver, other) in WITHDRAWALS {
        for asked in [true, false] {
            for owner in [true, false] {
                let of = |role, before| {
                    let a = case(state, asked, owner, before);
                    rights(&a, role, Assurance::Link, Via::Web).withdraw
                };
                let words = format!("{state} {asked} {owner}");
                for before in [None, Some(Choice::Approve), Some(Choice::Reject)] {
                    assert_eq!(of(Role::Admin, before), admin, "{words}");
                    assert_eq!(of(Role::Auditor, before), THEIRS, "{words}");
                }
                assert_eq!(of(Role::Reviewer, Some(Choice::Approve)), approver, "{words}");
                assert_eq!(of(Role::Reviewer, Some(Choice::Reject)), other, "{words}");
                assert_eq!(of(Role::Reviewer, None), other, "{words}");
            }
        }
    }
}

#[test]
fn an_admin_settles_what_is_unclear_but_for_their_own_agent() {
    for state in State::ALL {
        for (asked, settled) in [(true, false), (true, true), (false, false), (false, true)] {
            let of = |role, owner| {
                let mut a = case(state, asked, owner, None);
                a.settled = settled.then(|| Settled {
                    done: true,
                    by: "dora".to_owned(),
                    reason: String::new(),
                    at: T0.to_string(),
                });
                rights(&a, role, Assurance::Link, Via::Web).settle
            };
            let admin = match (state, settled) {
                (State::Indeterminate, false) => Ok(()),
                (State::Indeterminate, true) => Err(Refusal::AlreadySettled),
                (other, _) => Err(Refusal::NotIndeterminate(other)),
            };

            assert_eq!(of(Role::Admin, false), admin);
            assert_eq!(of(Role::Admin, true), Err(Refusal::OwnAgentSettled));
            for (role, owner) in [(Role::Reviewer, false), (Role::Reviewer, true)] {
                assert_eq!(of(role, owner), Err(Refusal::NotAdmin));
            }
            assert_eq!(of(Role::Auditor, false), Err(Refusal::NotAdmin));
        }
    }
}

#[test]
fn a_sensitive_call_is_seen_by_who_was_asked_the_owner_admins_and_auditors() {
    for (role, asked, owner, ..) in PEOPLE {
        let mut a = case(State::Pending, asked, owner, None);
        let me = me(role);
        assert!(a.may_be_seen_by(me.person()));
        a.terms.sensitive = true;

        let hidden = role == Role::Reviewer && !asked && !owner;
        assert_eq!(a.may_be_seen_by(me.person()), !hidden, "{role:?} {asked} {owner}");
    }
}

#[test]
fn another_digest_is_named_after_what_is_not_theirs_and_before_what_became_of_it() {
    let mut a = case(State::Rejected, true, false, Some(Choice::Approve));
    let says = |a: &Approval, role| {
        let decision = said(Choice::Approve, Via::Web, Assurance::Link);
        a.clone().decide(decision, role, Some("sha256:0")).map(|_| ())
    };

    assert_eq!(says(&a, Role::Auditor), Err(Refusal::Auditor));
    assert_eq!(says(&a, Role::Reviewer), Err(Refusal::DigestMismatch), "not: said so already");
    a.decisions.clear();
    assert_eq!(says(&a, Role::Reviewer), Err(Refusal::DigestMismatch), "not: rejected already");
}
