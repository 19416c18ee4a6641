"""PyPI `sseclient-py`, which has the same module name as `sseclient`."""

import json
import sys

sys.path.insert(0, sys.argv[2])
import requests
import sseclient

answer = requests.get(sys.argv[1], stream=True, headers={"Accept": "text/event-stream"})
for event in sseclient.SSEClient(answer).events():
    data = json.loads(event.data)
    print(data["id"], event.id, event.event, data["task"]["status"], flush=True)
