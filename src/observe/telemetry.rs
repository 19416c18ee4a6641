//! The output of the running process: log lines, and the last line of a failed command.
//!
//! `serve` logs to stdout, where containers expect logs. All other commands log to stderr, because
//! their stdout is a result that a program may read. On a terminal, a line is text for people.
//! Otherwise it is JSON.

use std::fmt::Display;
use std::io::{IsTerminal, Write as _, stderr, stdout};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Subscriber, error};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::{EnvFilter, fmt as subscriber_fmt};

/// The log target of warnings about the configuration.
pub const CONFIGURATION: &str = "evolink_receiver::configuration";

/// Where log lines go, and the default level if `RUST_LOG` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTo {
    /// Logs from `info` on, because the log is the output of a service.
    Stdout,
    /// Logs from `warn` on, because a person is waiting for the result.
    Stderr,
    /// For `demo`: like `Stderr`, but without warnings about its configuration, which is
    /// deliberately a trial one.
    StderrOfDemo,
}

/// Starts logging, including panics. Must be called once, before anything else. A second call has
/// no effect.
pub fn init(log_to: LogTo) {
    let filter = without_quoting(wanted_filter(log_to));
    // A log line that cannot be written is lost. Reporting that on a closed stderr would end the
    // process.
    let set = match log_to {
        LogTo::Stdout => set_subscriber(filter, stdout, stdout().is_terminal()),
        LogTo::Stderr | LogTo::StderrOfDemo => {
            set_subscriber(filter, stderr, stderr().is_terminal())
        }
    };
    if set.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Exchanges the filter of the log.
type Exchange = Box<dyn Fn(EnvFilter) + Send + Sync>;

static EXCHANGE: OnceLock<Exchange> = OnceLock::new();

/// Logs what `level` says from now on: a level, or several for single targets. `RUST_LOG` overrides
/// it.
pub fn set_level(level: &str) {
    let is_overridden = std::env::var_os("RUST_LOG").is_some_and(|wanted| !wanted.is_empty());
    if let Some(exchange) = EXCHANGE.get().filter(|_| !is_overridden) {
        exchange(without_quoting(EnvFilter::new(level)));
    }
}

fn keep<S: 'static>(handle: Handle<EnvFilter, S>) {
    // It fails only where the log has ended.
    let _ = EXCHANGE.set(Box::new(move |filter| drop(handle.reload(filter))));
}

/// Writes the last line of a failed command to stderr.
pub fn complain(error: &impl Display) {
    let _ = writeln!(stderr(), "evolink-receiver: {error}");
}

/// Targets of the PostgreSQL driver that log what they cannot parse: a line of `~/.pgpass`, or a
/// parameter of the database URL. Either may contain a password, so `RUST_LOG` cannot enable them.
const QUOTING: [&str; 2] = [
    "sqlx_postgres::options::pgpass=off",
    "sqlx_postgres::options::parse=off",
];

fn without_quoting(filter: EnvFilter) -> EnvFilter {
    QUOTING.into_iter().fold(filter, |filter, directive| {
        filter.add_directive(directive.parse().expect("a literal directive"))
    })
}

fn wanted_filter(log_to: LogTo) -> EnvFilter {
    let default = match log_to {
        LogTo::Stdout => "info",
        LogTo::Stderr => "warn",
        LogTo::StderrOfDemo => "warn,evolink_receiver::configuration=error",
    };
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    if wanted.is_empty() {
        return EnvFilter::new(default);
    }
    EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "evolink-receiver: RUST_LOG is ignored: {error}");
        EnvFilter::new(default)
    })
}

fn set_subscriber<W>(
    filter: EnvFilter,
    writer: W,
    is_terminal: bool,
) -> Result<(), SetGlobalDefaultError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let subscriber: Box<dyn Subscriber + Send + Sync> = if is_terminal {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let builder = subscriber_fmt().with_env_filter(filter).with_writer(writer);
        let builder = builder.log_internal_errors(false).with_ansi(!is_plain);
        let builder = builder.with_target(false).with_filter_reloading();
        keep(builder.reload_handle());
        Box::new(builder.finish())
    } else {
        Box::new(json_lines(filter, writer))
    };
    tracing::subscriber::set_global_default(subscriber)
}

/// One JSON object per line: the event's fields at the top level, and those of the innermost span
/// in `span`.
fn json_lines<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = subscriber_fmt().with_env_filter(filter).with_writer(writer);
    let builder = builder.log_internal_errors(false).json();
    let builder = builder
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_filter_reloading();
    keep(builder.reload_handle());
    builder.finish()
}

/// Logs a panic. Shows a message only if it is a literal in the source, because a formatted message
/// may contain user data.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(a formatted message, withheld)");
    let location = panic
        .location()
        .map_or_else(String::new, ToString::to_string);
    let thread = std::thread::current();
    error!(
        panic.location = location,
        panic.thread = thread.name().unwrap_or("unnamed"),
        "panicked: {message}"
    );
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::{info, info_span};
    use tracing_subscriber::EnvFilter;

    use super::{json_lines, log_panic};
    use crate::observe::untrusted::Untrusted;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = json_lines(EnvFilter::new("info"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().expect("not poisoned").clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    #[test]
    fn a_log_line_is_one_json_object_with_its_span() {
        let lines = logged(|| {
            let span = info_span!("callback", request.id = "r1");
            let _entered = span.enter();
            let odd = Untrusted("x\n{\"level\":\"ERROR\"}");
            info!(task.id = %odd, "recorded {odd}");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["message"], "recorded x\\n{\"level\":\"ERROR\"}");
        assert_eq!(lines[0]["span"]["request.id"], "r1");
    }

    #[test]
    fn a_panic_is_one_event_without_its_formatted_message() {
        let lines = logged(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let secret = String::from("sk-secret");
            for formatted in [true, false] {
                let panicked = std::panic::catch_unwind(|| {
                    assert!(!formatted, "could not use {secret}");
                    panic!("an invariant");
                });
                assert!(panicked.is_err());
            }
            std::panic::set_hook(before);
        });
        let messages: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
        assert_eq!(
            messages,
            [
                "panicked: (a formatted message, withheld)",
                "panicked: an invariant"
            ]
        );
        let location = lines[0]["panic.location"].as_str().expect("a location");
        assert!(location.starts_with(concat!(file!(), ":")), "{location}");
    }
}
