#!/usr/bin/env bash
# Every command that an operator runs in the container works there, although only /data is writable.
# The service also works there without a configuration file.
source tests/container/story.sh

inside() { # runs one command in a container of its own
    confined --rm --volume "$WORK/etc:$ETC:ro" "${RUN_OPTIONS[@]}" "$TAG" "$@"
}

write_config </dev/null
inside check >"$WORK/check.out" || fail "check: $(cat "$WORK/check.out")"
echo "ok: check"
for command in "--version" "--help" "keys new --name app --scopes submit"; do
    # shellcheck disable=SC2086
    inside $command >"$WORK/out" 2>&1 || fail "$command: $(cat "$WORK/out")"
    echo "ok: $command"
done

timeout 120 podman run --rm --name "$NAME-demo" --read-only --read-only-tmpfs=false --cap-drop=ALL \
    --security-opt=no-new-privileges --memory 256m --memory-swap 256m "$TAG" demo --once --json \
    >"$WORK/demo.out" 2>"$WORK/demo.err" || fail "demo: $(tail -n 5 "$WORK/demo.err")"
tail -n 1 "$WORK/demo.out" | python3 tests/demo_summary.py
figure "demo --once: $(tail -n 1 "$WORK/demo.out")"

start
podman exec "$NAME" /evolink-receiver healthcheck || fail "healthcheck"
podman exec "$NAME" /evolink-receiver tasks list --url "http://127.0.0.1:$internal_port" >/dev/null || fail "tasks list"
echo "ok: healthcheck and tasks list in the running container"
stop

# Configured only by the environment: no file is mounted.
podman volume rm "$NAME" >/dev/null
internal_port=$(free_port) public_port=$(free_port)
confined --detach --name "$NAME" \
    --env "EVOLINK_RECEIVER__PUBLIC__LISTEN=127.0.0.1:$public_port" \
    --env "EVOLINK_RECEIVER__PUBLIC__BASE_URL=https://localhost:$public_port" \
    --env "EVOLINK_RECEIVER__PUBLIC__TLS__MODE=self-signed" \
    --env "EVOLINK_RECEIVER__INTERNAL__LISTEN=127.0.0.1:$internal_port" \
    --env "EVOLINK_API_KEY=a-key-of-the-container-test" "$TAG" >/dev/null
until_healthy
expect "health by its own check, without a file" healthy "$(inspect State.Health.Status)"
podman exec "$NAME" /evolink-receiver check || fail "check, without a file"
stop
