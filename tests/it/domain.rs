//! What holds of an approval whatever is done to it, in whatever order.

use placet::domain::approval::{Approval, Choice, Resolution, State, Terms, resolve};
use placet::domain::person::{Person, Role};
use proptest::prelude::*;

use crate::support::approvals::{T0, approval, at, result, says};

#[derive(Debug, Clone)]
enum Step {
    Decide(&'static str, Choice),
    Expire,
    Cancel,
    Claim,
    Complete,
    Release,
    Lose,
    Settle(bool),
    Late,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = prop::sample::select(vec!["ana", "ben", "dora", "eve", "mallory"]);
    let choice = prop_oneof![3 => Just(Choice::Approve), 1 => Just(Choice::Reject)];
    prop_oneof![
        6 => (who, choice).prop_map(|(w, c)| Step::Decide(w, c)),
        1 => Just(Step::Expire),
        1 => Just(Step::Cancel),
        3 => Just(Step::Claim),
        2 => Just(Step::Complete),
        2 => Just(Step::Release),
        1 => Just(Step::Lose),
        1 => any::<bool>().prop_map(Step::Settle),
        1 => Just(Step::Late),
        2 => (0_u64..700).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_an_end_stays_and_no_rejected_call_runs(
        quorum in 1_u32..4,
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut now = T0;
        let mut a = approval(1, "{}");
        a.terms.quorum = quorum;
        let mut trail = vec![a.state];
        let mut resolutions = 0;
        for step in steps {
            let before: Approval = a.clone();
            let change = match step {
                Step::Decide(who, choice) => before.clone().decide(says(who, choice, now), Role::Reviewer, None),
                Step::Expire => before.clone().expire(now),
                Step::Cancel => before.clone().cancel("dora", "no", now),
                Step::Claim => before.clone().claim("n", now),
                Step::Complete => before.clone().complete(result("x"), now),
                Step::Release => before.clone().release("away", now),
                Step::Lose => before.clone().lose("gone", now),
                Step::Settle(done) => before.clone().settle(done, Person::new("dora", Role::Admin), "", now),
                Step::Late => before.clone().answer_late(result("x"), now),
                Step::Wait(seconds) => {
                    now = now.plus(std::time::Duration::from_secs(seconds));
                    continue;
                }
            };
            let Ok(transition) = change else { continue };
            prop_assert_eq!(transition.from, before.state);
            prop_assert!(!transition.events.is_empty(), "every change leaves a record");
            a = transition.after;
            if a.state != before.state {
                trail.push(a.state);
            }

            prop_assert!(!before.state.is_end() || a.state == before.state, "an end stays an end");
            if before.state == State::Pending && matches!(a.state, State::Approved | State::Rejected) {
                resolutions += 1;
            }
            if a.state == State::Running && before.state != State::Running {
                prop_assert_eq!(before.state, State::Approved);
                prop_assert!(a.claim_deadline.is_some_and(|d| now < d));
            }
            let mut people: Vec<_> = a.decisions.iter().map(|d| d.reviewer.as_str()).collect();
            people.sort_unstable();
            people.dedup();
            prop_assert_eq!(people.len(), a.decisions.len(), "each person counts once");
            prop_assert!(!people.contains(&"mallory"));
            prop_assert!(!a.decisions.iter().any(|d| d.reviewer == "ana" && d.choice == Choice::Approve));
            if a.state == State::Approved {
                prop_assert!(people.len() >= quorum as usize);
                prop_assert!(a.decisions.iter().all(|d| d.choice == Choice::Approve));
            }
            prop_assert_eq!(a.finished_at.is_some(), a.state.is_end());
            prop_assert!(a.decisions.iter().all(|d| d.at < at(900)), "nobody decides after the expiry");
            prop_assert_eq!(a.call.clone(), approval(1, "{}").call, "the call is never edited");
        }
        prop_assert!(resolutions <= 1);
        if trail.contains(&State::Rejected) {
            prop_assert!(!trail.contains(&State::Running));
        }
    }

    #[test]
    fn a_resolution_does_not_depend_on_the_order_of_what_was_said(
        quorum in 1_u32..4,
        said in prop::collection::vec((0_usize..4, any::<bool>()), 0..4).prop_shuffle(),
    ) {
        let names = ["ben", "dora", "eve", "fay"];
        let mut decisions: Vec<_> = Vec::new();
        for (who, yes) in said {
            let choice = if yes { Choice::Approve } else { Choice::Reject };
            decisions.retain(|d: &placet::domain::approval::Decision| d.reviewer != names[who]);
            decisions.push(says(names[who], choice, T0));
        }
        let terms = Terms { quorum, ..approval(1, "{}").terms };
        let forward = resolve(&terms, &decisions);
        decisions.reverse();

        prop_assert_eq!(resolve(&terms, &decisions), forward);
        if decisions.iter().any(|d| d.choice == Choice::Reject) {
            prop_assert_eq!(forward, Some(Resolution::Rejected));
        }
    }
}
