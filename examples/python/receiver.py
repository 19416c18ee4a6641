"""A client of evolink-receiver. Needs httpx. RECEIVER_URL and RECEIVER_KEY are in the environment.

python receiver.py image "a cute cat" cat.webp    # submit, wait, download
python receiver.py follow cursor.txt              # the events since the last time
"""
import os, pathlib, sys, time, uuid
import httpx

KEY = {"Authorization": f"Bearer {os.environ.get('RECEIVER_KEY', 'none')}"}
# Longer than the longest wait, 50 s, and than evolink.timeout plus 10 s.
api = httpx.Client(base_url=os.environ["RECEIVER_URL"], headers=KEY, timeout=60)


def submit(order, key):
    for _ in range(5):
        headers = {"Idempotency-Key": key}
        answer = api.post("/v1/images/generations?wait=50", json=order, headers=headers)
        if answer.status_code not in (409, 429, 503):
            break
        # Nothing was accepted: the same request, with the same key, may be repeated.
        # A daily limit says how long its day lasts: not for a program that waits.
        time.sleep(min(60, int(answer.headers.get("Retry-After", "1"))))
    return answer.raise_for_status().json()


def image(prompt, file):
    order = {"model": "z-image-turbo", "prompt": prompt, "size": "1:1"}
    # Keep the key with your order: one key is one paid picture, however often you ask.
    task = submit(order, key=str(uuid.uuid4()))
    while not task["receiver"]["finished"]:
        again = api.get(f"/v1/tasks/{task['receiver']['submission_id']}?wait=50")
        task = again.raise_for_status().json()
    if task["status"] != "completed":
        sys.exit(f"{task['status']}: {task.get('error')}")
    picture = api.get(f"/v1/tasks/{task['id']}/results/0?wait=50").raise_for_status()
    pathlib.Path(file).write_bytes(picture.content)
    print(task["id"], picture.headers["Content-Type"], len(picture.content))


def follow(file):
    place = pathlib.Path(file)
    after, caught_up = place.read_text() if place.exists() else "0", False
    while not caught_up:
        page = api.get("/v1/events", params={"after": after, "limit": 100})
        page = page.raise_for_status().json()
        for event in page["data"]:
            print(event["id"], event["type"], event["task_id"])  # Handle it here.
        after, caught_up = page["next"], page["caught_up"]
        place.write_text(after)  # Only now: what was not handled comes again.


if __name__ == "__main__":
    {"image": image, "follow": follow}[sys.argv[1]](*sys.argv[2:])
