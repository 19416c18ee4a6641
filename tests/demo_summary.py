"""Judges the summary of `evolink-receiver demo --once --json`, read from standard input."""

import json
import sys

FIELDS = ["tasks", "completed", "failed", "found_by_poll", "duplicates", "early_callbacks", "charges", "elapsed_ms"]

summary = json.load(sys.stdin)
wrong = [f"{field} is not a number" for field in FIELDS if type(summary.get(field)) not in (int, float)]
if not wrong:
    ended = summary["completed"] + summary["failed"] + summary.get("cancelled", 0)
    rules = {
        "there are tasks": summary["tasks"] >= 1,
        "every task ended": ended == summary["tasks"],
        "one failed by design": summary["failed"] >= 1,
        "a lost callback was found by asking": summary["found_by_poll"] >= 1,
        "a callback came twice": summary["duplicates"] >= 1,
        "a callback beat its submit's answer": summary["early_callbacks"] >= 1,
        "each task was paid for once": summary["charges"] == summary["tasks"],
    }
    wrong = [f"not so: {rule}" for rule, holds in rules.items() if not holds]
sys.exit("\n".join(wrong) if wrong else 0)
