//! `placet notify test`: one message, and what the other side answered.

use crate::clock::{Clock as _, SystemClock};
use crate::domain::mask::Masker;
use crate::id::{IdSource as _, OsIds};
use crate::notify::deliver;
use crate::notify::message::test_message;

use super::{Failure, Global, load, say, text};

/// Sends one test message through the notifier of that name.
///
/// # Errors
/// The configuration has errors or there is no such notifier (exit code 2); the message can't be
/// made or sent (exit code 1).
pub(crate) async fn test(global: &Global, name: &str) -> Result<(), Failure> {
    let config = load(global)?;
    let Some(settings) = config.notifiers.iter().find(|n| n.name == name) else {
        let names: Vec<&str> = config.notifiers.iter().map(|n| n.name.as_str()).collect();
        return Err(Failure::misused(format!(
            "there is no notifier {name:?}; configured: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )));
    };
    let notifiers = deliver::build(&config);
    let Some(notifier) = notifiers.get(name) else {
        return Err(Failure::failed(format!("notifier {name:?} could not be built")));
    };
    let now = SystemClock.now();
    let id = OsIds.prefixed("dlv_", now);
    // A test message holds no arguments: nothing is masked, and no key is needed.
    let masker = Masker::new(&config.masking.keys, &[]);
    let message = test_message(&config, &masker, settings, &id, now)
        .map_err(|why| Failure::failed(format!("notifier {name}: {why}")))?;
    match notifier.send(&message).await {
        Ok(answer) => {
            let line = text::one_line(&answer);
            say(&if global.json {
                serde_json::json!({ "ok": true, "answer": line }).to_string()
            } else {
                format!("ok: {name}: {line}")
            });
            Ok(())
        }
        Err(error) => {
            Err(Failure::failed(format!("{name}: {}", text::one_line(&error.to_string()))))
        }
    }
}
