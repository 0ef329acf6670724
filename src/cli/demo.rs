//! `placet demo`: the main job, with nothing to configure.

use crate::demo::{self, Options};
use crate::domain::approval::Choice;

use super::{Decide, DemoArgs, Failure, say};

/// Runs the demo with the options of the command line.
///
/// # Errors
/// Whatever failed in the demo, as text; exit code 1.
pub(crate) async fn run(args: &DemoArgs) -> Result<(), Failure> {
    let options = Options {
        listen: args.listen,
        decide: args.decide.map(|d| match d {
            Decide::Approve => Choice::Approve,
            Decide::Reject => Choice::Reject,
        }),
        no_agent: args.no_agent,
    };
    demo::run(options, &say).await.map_err(|error| Failure::failed(error.to_string()))
}
