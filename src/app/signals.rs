//! What the process does when a signal comes.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::broker::{Broker, Stop};
use crate::config::process_environment;
use crate::web::health::Readiness;

use super::reload::reload_policies;

/// The first signal drains, the second gives up what still runs. They are caught from this call on,
/// before what it gives back is polled: whoever reads that the broker listens may end it at once.
pub(crate) fn signals(stop: Stop) -> impl Future<Output = ()> + Send + 'static {
    let caught = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = caught else {
            tracing::error!("signals can't be caught: the process can only be killed");
            return;
        };
        for token in [&stop.soft, &stop.hard] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            token.cancel();
        }
    }
}

/// SIGHUP reads the policies again.
pub(crate) async fn reload_on_sighup(broker: Broker, readiness: Arc<Readiness>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        reload_policies(&broker, &readiness, &process_environment()).await;
    }
}
