"""PyPI `sseclient`."""

import importlib
import json
import sys

# This file has the name of the module.
sys.path.pop(0)
library = importlib.import_module("sseclient")
for event in library.SSEClient(sys.argv[1]):
    data = json.loads(event.data)
    print(data["id"], event.id, event.event, data["task"]["status"], flush=True)
