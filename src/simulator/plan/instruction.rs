//! Parses the instructions in a prompt and applies them to a plan. An unknown name is refused, so
//! that a typing error does not pass as a well-behaved task.

use std::time::Duration;

use super::Plan;
use super::magic::{Argument, Row, Value, find_row};

#[derive(Debug, thiserror::Error)]
#[error("unknown or malformed simulator instruction {0:?} in the prompt")]
pub struct BadInstruction(String);

const COUNT_MAX: u32 = 1000;
const DURATION_MAX: Duration = Duration::from_hours(24);

/// Applies every instruction in the prompt, in order.
pub fn apply(
    prompt: &str,
    plan: &mut Plan,
    random: &mut fastrand::Rng,
) -> Result<(), BadInstruction> {
    for instruction in instructions(prompt) {
        let (name, argument) = match instruction.split_once('=') {
            Some((name, argument)) => (name.trim(), Some(argument.trim())),
            None => (instruction.trim(), None),
        };
        let bad = || BadInstruction(instruction.to_owned());
        let row = find_row(name).ok_or_else(bad)?;
        let value = row.value(argument, random).ok_or_else(bad)?;
        row.apply_to(plan, value);
    }
    Ok(())
}

fn instructions(prompt: &str) -> impl Iterator<Item = &str> {
    prompt
        .split("[sim:")
        .skip(1)
        // An instruction without `]` becomes the empty name, which is unknown and therefore
        // refused.
        .map(|rest| rest.split_once(']').map_or("", |(list, _)| list))
        .flat_map(|list| list.split(','))
}

impl Row {
    pub fn apply_to(&self, plan: &mut Plan, value: Value) {
        (self.apply)(plan, value);
        plan.misbehaviours.push(self.name);
    }

    fn default_value(&self) -> Value {
        match self.argument {
            Argument::None => Value::default(),
            Argument::Count(count) => Value {
                count,
                ..Value::default()
            },
            Argument::Milliseconds(ms) => Value {
                duration: Duration::from_millis(ms),
                ..Value::default()
            },
        }
    }

    /// Returns the value that `argument` stands for, or `None` if this row does not accept it.
    pub fn value(&self, argument: Option<&str>, random: &mut fastrand::Rng) -> Option<Value> {
        let mut value = self.default_value();
        match (self.argument, argument) {
            (_, None) => {}
            (Argument::None, Some(_)) => return None,
            (Argument::Count(_), Some(text)) => {
                value.count = text.parse().ok().filter(|count| *count <= COUNT_MAX)?;
            }
            (Argument::Milliseconds(_), Some(text)) => {
                value.duration = drawn_duration(text, random)?;
            }
        }
        Some(value)
    }
}

fn drawn_duration(text: &str, random: &mut fastrand::Rng) -> Option<Duration> {
    let Some((from, to)) = text.split_once("..") else {
        return parse_duration(text);
    };
    let (from, to) = (parse_duration(from)?, parse_duration(to)?);
    let width = to.checked_sub(from)?;
    Some(from + width.mul_f64(random.f64()))
}

/// Parses `250ms`, `10s` or `2m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits_end);
    let number: u64 = number.parse().ok()?;
    let milliseconds = number.checked_mul(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return None,
    })?;
    Some(Duration::from_millis(milliseconds)).filter(|duration| *duration <= DURATION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::plan::When;

    fn plan(prompt: &str) -> Result<Plan, BadInstruction> {
        let mut plan = Plan::default();
        apply(prompt, &mut plan, &mut fastrand::Rng::with_seed(1)).map(|()| plan)
    }

    #[test]
    fn instructions_combine_and_take_values() {
        let plan =
            plan("a cat [sim:early-callback,repeated=4] at night [sim:duration=250ms]").unwrap();
        assert_eq!(plan.callbacks.when, When::BeforeTheSubmitAnswer);
        assert_eq!(plan.callbacks.repeats, 3);
        assert_eq!(plan.duration, Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_range_draws_from_it() {
        let duration = plan("[sim:duration=100ms..2s]").unwrap().duration.unwrap();
        assert!((Duration::from_millis(100)..=Duration::from_secs(2)).contains(&duration));
    }

    #[test]
    fn typing_errors_are_refused() {
        for bad in [
            "[sim:lost-calback]",
            "[sim:]",
            "[sim:fail",
            "[sim:fail=3]",
            "[sim:duration=5]",
            "[sim:duration=2s..1s]",
            "[sim:parallel=1001]",
            "[sim:stall=25000m]",
        ] {
            assert!(plan(bad).is_err(), "{bad}");
        }
        assert!(plan("a plain prompt with [brackets]").is_ok());
    }
}
