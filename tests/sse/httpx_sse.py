"""PyPI `httpx-sse`."""

import importlib
import json
import sys

# This file has the name of the module.
sys.path.pop(0)
import httpx

library = importlib.import_module("httpx_sse")
with httpx.Client(timeout=60) as client:
    with library.connect_sse(client, "GET", sys.argv[1]) as source:
        for event in source.iter_sse():
            data = json.loads(event.data)
            print(data["id"], event.id, event.event, data["task"]["status"], flush=True)
