//! The arguments of `simulate`, and how they become [`Options`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::options::Options;
use crate::simulator::plan::faults::{Fault, Faults};
use crate::simulator::plan::instruction::parse_duration;
use crate::simulator::plan::magic::magic_prompts;

#[derive(Debug, clap::Args)]
#[command(after_long_help = misbehaviours())]
pub struct SimulateArgs {
    /// Address to listen on, plain HTTP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,

    /// The simulator's URL as seen from outside, used in result URLs
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,

    /// The only accepted bearer token [default: any]
    #[arg(
        long,
        value_name = "KEY",
        env = "SIMULATOR_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,

    /// Send callbacks to internal addresses too, which EvoLink refuses
    #[arg(long)]
    allow_private_callbacks: bool,

    /// File of PEM certificates that callbacks trust in addition to the system's
    #[arg(long, value_name = "FILE")]
    callback_ca_file: Option<PathBuf>,

    /// How long a task takes
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    task_duration: Duration,

    /// How long a result file can be fetched
    #[arg(long, value_name = "DURATION", default_value = "1440m", value_parser = duration)]
    result_ttl: Duration,

    /// Honour Idempotency-Key, which EvoLink does not document
    #[arg(long)]
    idempotency_keys: bool,

    /// A misbehaviour of all tasks, written as in magic prompts; can be repeated
    #[arg(long = "fault", value_name = "NAME[=VALUE]=PROBABILITY")]
    faults: Vec<Fault>,

    /// Seed of the faults: the same seed causes the same misbehaviour
    #[arg(long, value_name = "N", default_value_t = 1)]
    fault_seed: u64,
}

fn misbehaviours() -> String {
    let lines = magic_prompts()
        .iter()
        .map(|(name, description)| format!("\n  {name:<24} {description}"));
    String::from(
        "Misbehaviours, for --fault and for prompts that hold [sim:NAME] or [sim:NAME=VALUE,NAME]:\n",
    ) + &lines.collect::<String>()
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("{text:?} is not a duration such as 250ms, 10s, 2m"))
}

impl From<SimulateArgs> for Options {
    fn from(args: SimulateArgs) -> Self {
        let mut faults = Faults::seeded(args.fault_seed);
        for fault in args.faults {
            faults.push(fault);
        }
        Self {
            listen: args.listen,
            public_url: args.public_url,
            api_key: args.api_key,
            allow_private_callbacks: args.allow_private_callbacks,
            callback_ca_file: args.callback_ca_file,
            task_duration: args.task_duration,
            result_ttl: args.result_ttl,
            idempotency_keys: args.idempotency_keys,
            faults,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        simulate: SimulateArgs,
    }

    #[test]
    fn arguments_become_options() {
        let arguments = "x --listen 127.0.0.1:9 --allow-private-callbacks --task-duration 250ms --fault twice=0.5";
        let program = Program::try_parse_from(arguments.split(' ')).unwrap();
        let options = Options::from(program.simulate);
        assert_eq!(options.listen.port(), 9);
        assert!(options.allow_private_callbacks && !options.idempotency_keys);
        assert_eq!(options.task_duration, Duration::from_millis(250));
        assert_eq!(options.result_ttl, Options::default().result_ttl);
        for bad in ["x --fault twise=0.5", "x --task-duration 250"] {
            assert!(Program::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_long_help_lists_every_misbehaviour() {
        let help = Program::command().render_long_help().to_string();
        for (name, _) in magic_prompts() {
            assert!(help.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
