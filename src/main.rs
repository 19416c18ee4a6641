//! Arguments, configuration, telemetry, run, exit code.

fn main() {}
