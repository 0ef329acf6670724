//! How often bearer tokens may be guessed: wrong ones are counted per client address, and beyond the
//! limit only tokens that were good from that address before are looked at.
//!
//! Kept in memory: a wrong token must not cost a write to the database. With several brokers each
//! counts for itself.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::time::Timestamp;

/// How long a good token is remembered after its last use.
const PROVEN_FOR: Duration = Duration::from_hours(24);

/// Counts wrong bearer tokens.
#[derive(Debug)]
pub(crate) struct Guesses {
    max: usize,
    window: Duration,
    /// Most addresses of wrong tokens, and of good ones, that are remembered; beyond it the one that was
    /// quiet longest makes room.
    addresses: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wrong: HashMap<IpAddr, VecDeque<Timestamp>>,
    proven: HashMap<(IpAddr, [u8; 32]), Timestamp>,
}

impl Guesses {
    /// At most `max` wrong tokens from one address in a sliding `window`; so many `addresses` are
    /// remembered.
    pub(crate) fn new(max: u32, window: Duration, addresses: u32) -> Self {
        let (max, addresses) = (max as usize, addresses as usize);
        Self { max, window, addresses, state: Mutex::default() }
    }

    /// The milliseconds to wait until this token is looked at; none: now. A token that was good from
    /// there before never waits, so that nobody is locked out by who shares their address.
    pub(crate) fn wait(&self, client: IpAddr, token: &str, now: Timestamp) -> Option<u64> {
        let client = network(client);
        let mut state = self.lock();
        let times = state.wrong.get_mut(&client)?;
        let since = now.minus(self.window);
        while times.front().is_some_and(|at| *at <= since) {
            times.pop_front();
        }
        let (full, oldest) = (times.len() >= self.max, times.front().copied());
        if times.is_empty() {
            state.wrong.remove(&client);
        }
        let key = (client, hash(token));
        let proven = state.proven.get(&key).is_some_and(|at| at.plus(PROVEN_FOR) > now);
        if !full || proven {
            return None;
        }
        let free = oldest.map_or(now, |at| at.plus(self.window));
        Some(u64::try_from(now.until(free).as_millis()).unwrap_or(u64::MAX).max(1))
    }

    /// Counts a wrong token.
    pub(crate) fn wrong(&self, client: IpAddr, now: Timestamp) {
        let client = network(client);
        let mut state = self.lock();
        if !state.wrong.contains_key(&client) {
            let last = |times: &VecDeque<Timestamp>| times.back().copied();
            make_room(&mut state.wrong, self.addresses, last);
        }
        let times = state.wrong.entry(client).or_default();
        times.push_back(now);
        while times.len() > self.max.max(1) {
            times.pop_front();
        }
    }

    /// Remembers a good token.
    pub(crate) fn right(&self, client: IpAddr, token: &str, now: Timestamp) {
        let key = (network(client), hash(token));
        let mut state = self.lock();
        if !state.proven.contains_key(&key) {
            state.proven.retain(|_, at| at.plus(PROVEN_FOR) > now);
            make_room(&mut state.proven, self.addresses, |at| Some(*at));
        }
        state.proven.insert(key, now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// Removes what was used longest ago, where the map is full.
fn make_room<K: Clone + Eq + Hash, V>(
    map: &mut HashMap<K, V>,
    max: usize,
    last: impl Fn(&V) -> Option<Timestamp>,
) {
    if map.len() < max {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, value)| last(value)).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Of IPv6 the first 64 bits: whoever has one such address has the rest of them.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn beyond_the_limit_no_new_token_is_looked_at_until_the_window_has_passed() {
        let guesses = Guesses::new(3, Duration::from_mins(1), 10);
        let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
        guesses.right(here, "good", at(0));
        for second in 1..=3 {
            assert_eq!(guesses.wait(here, "guess", at(second)), None);
            guesses.wrong(here, at(second));
        }

        assert_eq!(guesses.wait(here, "guess", at(4)), Some(57_000));
        assert_eq!(guesses.wait(here, "the right one, guessed", at(4)), Some(57_000));
        assert_eq!(guesses.wait(here, "good", at(4)), None, "who was known here goes on");
        assert_eq!(guesses.wait(there, "guess", at(4)), None);
        assert_eq!(guesses.wait(here, "guess", at(61)), None);
        assert_eq!(guesses.wait(there, "good", at(4)), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_mapped_ones_as_ipv4() {
        let guesses = Guesses::new(1, Duration::from_mins(1), 10);
        guesses.wrong(ip("2001:db8::1"), at(0));
        guesses.wrong(ip("::ffff:192.0.2.1"), at(0));

        assert!(guesses.wait(ip("2001:db8::ffff:2"), "x", at(1)).is_some());
        assert!(guesses.wait(ip("2001:db8:0:1::1"), "x", at(1)).is_none());
        assert!(guesses.wait(ip("192.0.2.1"), "x", at(1)).is_some());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let guesses = Guesses::new(1, Duration::from_mins(1), 10);
        for n in 0..15_u32 {
            let client = IpAddr::from(std::net::Ipv4Addr::from_bits(n));
            guesses.wrong(client, at(i64::from(n)));
            guesses.right(client, "t", at(i64::from(n)));
        }

        let state = guesses.lock();
        assert_eq!((state.wrong.len(), state.proven.len()), (10, 10));
        assert!(!state.wrong.contains_key(&ip("0.0.0.0")));
        drop(state);
        guesses.right(ip("10.0.0.1"), "t", at(1_000_000));
        assert_eq!(guesses.lock().proven.len(), 1);
    }
}
