//! A mailbox inside the process: what would have been mailed, for the demo's page and for tests.
//! It forgets the oldest mail beyond its cap, and everything at the end of the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Message, Notifier, NotifyError};

/// Most messages that are kept.
pub const MAX_KEPT: usize = 200;

/// The messages; cheap to clone, all clones are one mailbox.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Mutex<VecDeque<Message>>>);

impl Mailbox {
    /// What is in it, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.0.lock().expect("no holder of this lock panics").iter().cloned().collect()
    }

    fn put(&self, message: Message) {
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back(message);
    }
}

/// A notifier that puts messages into a mailbox.
#[derive(Debug, Clone)]
pub struct Memory {
    name: String,
    mailbox: Mailbox,
}

impl Memory {
    /// Puts messages into `mailbox`.
    pub fn new(name: &str, mailbox: Mailbox) -> Self {
        Self { name: name.to_owned(), mailbox }
    }
}

#[async_trait]
impl Notifier for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<String, NotifyError> {
        self.mailbox.put(message.clone());
        Ok("kept in memory".to_owned())
    }

    async fn probe(&self) -> Result<String, NotifyError> {
        Ok("a mailbox inside this process".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[tokio::test]
    async fn the_oldest_message_goes_when_the_mailbox_is_full() {
        let mailbox = Mailbox::default();
        let memory = Memory::new("demo", mailbox.clone());

        for i in 0..=MAX_KEPT {
            let at = Timestamp::from_micros(0);
            let message = Message::Webhook { id: i.to_string(), at, body: String::new() };
            memory.send(&message).await.unwrap();
        }

        let kept = mailbox.messages();
        assert_eq!(kept.len(), MAX_KEPT);
        assert!(matches!(&kept[0], Message::Webhook { id, .. } if id == "1"));
    }
}
