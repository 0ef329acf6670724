//! Ids and chance, as things that are passed in.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::approval::ApprovalId;
use crate::domain::call::hex;
use crate::domain::time::Timestamp;

/// Makes ids and random bytes.
pub trait IdSource: Send + Sync {
    /// Fills the slice with random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// 256 random bits.
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// A UUIDv7 of that instant: UUIDs sort by the time they were made.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9562#section-5.7>
    fn uuid(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A new id for an approval.
    fn approval(&self, now: Timestamp) -> ApprovalId {
        ApprovalId::new(self.uuid(now))
    }

    /// `prefix` and a UUIDv7 in 32 hex digits; such ids sort by time.
    fn prefixed(&self, prefix: &str, now: Timestamp) -> String {
        format!("{prefix}{}", self.uuid(now).simple())
    }

    /// A secret of 256 bits for a link or cookie: 43 characters of base64url, without padding.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc4648#section-5>
    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.random())
    }
}

/// SHA-256 of a token, 64 hex digits: the form in which tokens are stored.
pub fn token_hash(token: &str) -> String {
    use sha2::{Digest as _, Sha256};
    hex(&Sha256::digest(token.as_bytes()))
}

/// The operating system's randomness.
#[derive(Debug, Default)]
pub struct OsIds;

impl IdSource for OsIds {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// A counter in place of chance; for tests.
#[derive(Debug, Default)]
pub struct SeededIds(AtomicU64);

impl IdSource for SeededIds {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            chunk.copy_from_slice(&n.to_be_bytes()[8 - chunk.len()..]);
        }
    }
}
