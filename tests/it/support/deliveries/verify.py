"""Verifies deliveries as an app would that has no library for it: Standard Webhooks by hand, with Python's hmac.

Reads one JSON object a line ({"secrets", "id", "timestamp", "signature", "body" in base64}); prints "ok", or what is wrong.
Every secret must have signed, with one signature each and no other.
"""
import base64
import hashlib
import hmac
import json
import sys

for line in sys.stdin:
    delivery = json.loads(line)
    signed = b".".join([
        delivery["id"].encode(),
        delivery["timestamp"].encode(),
        base64.b64decode(delivery["body"]),
    ])
    expected = set()
    for secret in delivery["secrets"]:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        expected.add("v1," + base64.b64encode(digest).decode())
    given = delivery["signature"].split(" ")
    if len(given) == len(set(given)) and set(given) == expected:
        print("ok")
    else:
        print(f"event {delivery['id']}: signed with {len(given)}, not by what was expected")
