#!/usr/bin/env bash
# Apps, EvoLink and an endpoint around the image: apps send 64 submits at once, the simulator of the
# same image calls back over TLS, and an endpoint receives each outcome with a valid signature.
source tests/container/story.sh
TASKS=256

secret="whsec_$(head -c 32 /dev/urandom | base64)"
endpoint_url() { echo "http://127.0.0.1:$endpoint_port/evolink"; }
write_config </dev/null
printf '%s\n' "$secret" >"$WORK/etc/app.whsec"
chown 65532:65532 "$WORK/etc/app.whsec"
chmod 0400 "$WORK/etc/app.whsec"
cat >>"$WORK/etc/config.toml" <<CONF
[[forward.endpoints]]
name = "app"
url = "$(endpoint_url)"
secret_file = "$ETC/app.whsec"
events = ["task.completed", "task.failed", "task.cancelled"]
CONF

simulator="$NAME-simulator"
CLEANUP+=("podman rm --force --time 0 $simulator")
confined --detach --name "$simulator" --volume "$WORK/etc:$ETC:ro" "$TAG" simulate --listen "127.0.0.1:$evolink_port" \
    --allow-private-callbacks --callback-ca-file "$ETC/tls.crt" --task-duration 1s >/dev/null
start
figures=$(load app --count "$TASKS" --at-once 64 --secret "$secret")
figure "submits, 64 at once, and signed deliveries: $figures"
expect "submits answered 200" "$TASKS" "$(field "$figures" answers 200)"
expect "outcomes that the endpoint was sent" "$TASKS" "$(field "$figures" outcomes)"
expect_alive
figure "memory of the process at most: $(peak_memory), restarts: 0"
stop
