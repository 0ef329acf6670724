use super::*;
use crate::config::Secret;
use crate::upstream::ClientCapabilities;
use tokio_util::task::TaskTracker;

/// Says nothing to the probe, and answers `initialize`.
const SILENT: &str = r#"
read probe
read initialize
id=$(echo "$initialize" | sed 's/.*"id":\([0-9]*\).*/\1/')
echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2024-11-05","capabilities":{}}}'
cat > /dev/null
"#;

fn link(script: &str, patience: Duration) -> Arc<StdioLink> {
    let tracker = TaskTracker::new();
    let mut common = Common::new("u", Duration::from_secs(5), 1 << 20, None, &tracker);
    common.probe_silence = patience;
    common.handshake_timeout = patience * 10;
    let command = ["sh", "-c", script].map(str::to_owned);
    let no_env: [(String, Secret); 0] = [];
    let spec = Arc::new(Spec::new(&command, &no_env, None));
    StdioLink::new(&spec, &Arc::new(common), &Listeners::new(ClientCapabilities::default(), false))
}

#[tokio::test]
async fn silence_at_the_probe_means_legacy() {
    let link = link(SILENT, Duration::from_millis(300));

    let facts = link.connect().await.unwrap();

    assert_eq!((facts.era, facts.version.as_str()), (WireEra::Legacy, "2024-11-05"));
    link.close().await;
}

#[tokio::test]
async fn a_child_that_never_answers_is_given_up() {
    let link = link("cat > /dev/null", Duration::from_millis(50));

    let error = link.connect().await.unwrap_err();

    assert!(matches!(error, UpstreamError::NotSent(ref why) if why.starts_with("initialize: ")));
    link.close().await;
}

#[test]
fn the_pause_doubles_with_each_death_up_to_its_limit_and_a_long_life_clears_the_record() {
    let mut state = State::default();
    let Pauses { first, longest } = state.pauses;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        state.died("gone".into(), Duration::ZERO);
        pauses.push(state.pause().unwrap());
    }

    assert!(pauses[0] <= first + Duration::from_millis(1));
    assert!(pauses[1] > first && pauses[1] <= first * 2 + Duration::from_millis(1));
    assert!(pauses[8] > longest / 2 && pauses[8] <= longest + Duration::from_millis(1));
    state.died("gone".into(), STABLE);
    assert!(state.pause().unwrap() <= first + Duration::from_millis(1));
}
