//! What a call costs that no clock can tell: allocations and spawned tasks, counted while the whole program
//! runs on one thread. It is a program of its own since another allocator counts in it; statements and
//! commits are counted beside the store (`src/store/sql/tests.rs`).
//!
//! Agents, reviewer and upstream are threads that know neither that allocator's count nor tokio. What
//! SQLite's threads allocate is not counted. Each figure is the least of several rounds, divided by the calls of
//! a round: what the program does now and then, whoever calls, is in the others. The bounds are a little above
//! what was counted when they were written, so that a change that costs something is one that somebody
//! decides on.
#![allow(unreachable_pub, reason = "nothing outside a program reaches into it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use client::Conn;
use program::Program;
use requests::To;

mod client;
mod program;
#[allow(dead_code, reason = "the load driver sends more")]
#[path = "../../examples/load/requests.rs"]
mod requests;
mod server;

/// Calls of a round.
const CALLS: u32 = 20;

/// What one of something may cost at most.
struct Most {
    allocations: u64,
    kib: u64,
    tasks: u64,
}

#[track_caller]
fn assert_at_most(what: &str, most: &Most, mut round: impl FnMut(u32) -> program::Spent) {
    // The first ones fill pools and caches.
    round(0);
    let rounds: Vec<_> = (1..=5).map(round).collect();
    let least = |of: fn(&program::Spent) -> u64| {
        rounds.iter().map(of).min().unwrap_or_default().div_ceil(u64::from(CALLS))
    };
    let (allocations, bytes) = (least(|s| s.allocations), least(|s| s.bytes));
    let tasks = least(|s| s.tasks);
    println!("{what}: {allocations} allocations, {bytes} bytes, {tasks} tasks");
    assert!(allocations <= most.allocations, "{what}: {allocations} allocations");
    assert!(bytes <= most.kib * 1024, "{what}: {bytes} bytes");
    assert!(tasks <= most.tasks, "{what}: {tasks} tasks");
}

fn agent(address: SocketAddr) -> To {
    let (host, token) = (address.to_string(), program::AGENT.to_owned());
    To { host, path: "/mcp/archive".to_owned(), token }
}

fn reviewer(address: SocketAddr) -> To {
    To { path: "/".to_owned(), token: program::REVIEWER.to_owned(), ..agent(address) }
}

#[test]
fn an_allowed_call_of_the_modern_era_allocates_no_more_than_was_counted_and_spawns_nothing() {
    let program = Program::start();
    let address = program.address;
    let mut conn = Some(Conn::open(address));
    // Counted: 170 allocations, 75 KiB.
    let most = Most { allocations: 180, kib: 80, tasks: 0 };
    assert_at_most("an allowed call of the modern era", &most, |_| {
        let mut kept = conn.take().unwrap();
        let (spent, kept) = program.spent(move || {
            let mut calls = requests::modern_calls(&agent(address), "look", "1");
            for _ in 0..CALLS {
                let answer = kept.ask(calls.next());
                assert!(answer.contains(server::DONE), "{answer}");
            }
            kept
        });
        conn = Some(kept);
        spent
    });
}

#[test]
fn an_allowed_call_in_a_legacy_session_allocates_no_more_than_was_counted_and_spawns_nothing() {
    let program = Program::start();
    let address = program.address;
    let mut conn = Some(
        program
            .spent(move || {
                let mut conn = Conn::open(address);
                conn.send(&requests::initialize(&agent(address)));
                let head = conn.head();
                let session = head.value("mcp-session-id").unwrap().to_owned();
                conn.body(&head);
                conn.ask(&requests::initialized(&agent(address), &session));
                (conn, session)
            })
            .1,
    );
    // Counted: 149 allocations, 73 KiB.
    let most = Most { allocations: 158, kib: 77, tasks: 0 };
    assert_at_most("an allowed call in a legacy session", &most, |_| {
        let (mut kept, session) = conn.take().unwrap();
        let (spent, kept) = program.spent(move || {
            let mut calls = requests::legacy_calls(&agent(address), &session, "look", "1");
            for _ in 0..CALLS {
                let answer = kept.ask(calls.next());
                assert!(answer.contains(server::DONE), "{answer}");
            }
            (kept, session)
        });
        conn = Some(kept);
        spent
    });
}

/// So many connections, on each of which one different call will be held, and how it is asked for.
fn about_to_be_held(program: &Program, round: u32) -> Vec<(Conn, Vec<u8>)> {
    let address = program.address;
    let (_, conns) = program.spent(move || {
        let open = |n| {
            let mut conn = Conn::open(address);
            conn.ask(&requests::modern_call(&agent(address), "look", "first"));
            let call = requests::modern_call(&agent(address), "delete", &format!("{round}-{n}"));
            (conn, call)
        };
        (0..CALLS).map(open).collect()
    });
    conns
}

fn submit(conns: Vec<(Conn, Vec<u8>)>) -> Vec<(Conn, client::Head)> {
    let submit = |(mut conn, call): (Conn, Vec<u8>)| {
        conn.send(&call);
        let head = conn.head();
        assert_eq!(head.value("content-type"), Some("text/event-stream"), "{head:?}");
        (conn, head)
    };
    conns.into_iter().map(submit).collect()
}

#[test]
fn a_new_approval_allocates_and_spawns_no_more_than_was_counted() {
    let program = Program::start();
    let mut held = Vec::new();
    // Counted: 607 allocations, 147 KiB, 6 tasks, also those of its messages to people. On a busy machine
    // 700, when fewer verbs share a commit.
    let most = Most { allocations: 800, kib: 190, tasks: 8 };
    assert_at_most("a new approval", &most, |round| {
        let conns = about_to_be_held(&program, round);
        let (spent, all) = program.spent(move || submit(conns));
        held.extend(all);
        spent
    });
}

#[test]
fn a_decision_and_its_call_allocate_and_spawn_no_more_than_was_counted() {
    let program = Program::start();
    let address = program.address;
    // Counted: 1,670 allocations, 401 KiB, 20 tasks: the reviewer's request, the claim, the execution and the
    // answer together. On a busy machine 1,870, when fewer verbs share a commit.
    let most = Most { allocations: 2_100, kib: 480, tasks: 26 };
    assert_at_most("a decision, and the call", &most, |round| {
        let conns = about_to_be_held(&program, round);
        let (_, (held, ids, mut conn)) = program.spent(move || {
            let held = submit(conns);
            let mut conn = Conn::open(address);
            let path = "/api/v1/approvals?state=pending&limit=200";
            let page = conn.ask(&requests::get(&reviewer(address), path, None));
            let page: serde_json::Value = serde_json::from_str(&page).unwrap();
            let rows = page["approvals"].as_array().unwrap().clone();
            let ids: Vec<_> =
                rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(ids.len(), held.len());
            (held, ids, conn)
        });
        let (spent, ()) = program.spent(move || {
            for id in ids {
                let said = conn.ask(&requests::decision(&reviewer(address), &id, "approve"));
                assert!(said.contains(&id), "{said}");
            }
            for (mut conn, head) in held {
                let answer = conn.body(&head);
                assert!(answer.contains(server::DONE), "{answer}");
            }
        });
        spent
    });
}
