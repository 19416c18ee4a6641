#!/usr/bin/env bash
# Pictures that stay: apps submit, the simulator of the same image calls back, and every picture is
# archived on /data, or at ARCHIVE_URL, whole, over kill -9 and a restart.
source tests/container/story.sh
TASKS=256

ARCHIVE_CONFIG=$'[archive]\nallow_networks = ["127.0.0.0/8"]\nmin_free = "0B"'
if [ -n "${ARCHIVE_URL:-}" ]; then
    ARCHIVE_CONFIG+=$'\n'"url = \"$ARCHIVE_URL\""
    for variable in AWS_ENDPOINT_URL AWS_ALLOW_HTTP AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
        RUN_OPTIONS+=(--env "$variable")
    done
fi
endpoint_url() { echo "http://127.0.0.1:$endpoint_port/evolink"; }
secret="whsec_$(head -c 32 /dev/urandom | base64)"
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

archive() { # COMMAND OPTION…: in the running container
    podman exec "$NAME" /evolink-receiver archive "$@" --url "http://127.0.0.1:$internal_port"
}

waiting_files() {
    curl --silent --fail "http://127.0.0.1:$internal_port/metrics" |
        awk '/^evolink_receiver_results\{state="pending"\}/ { print $2 }'
}

until_archived() { # COUNT
    local try verified
    for try in $(seq 60); do
        verified=$(field "$(archive verify --json)" verified)
        if [ "$verified" = "$1" ]; then return; fi
        sleep 1
    done
    fail "$verified of $1 files are archived after $try tries; $(waiting_files) wait"
}

simulator="$NAME-simulator"
CLEANUP+=("podman rm --force --time 0 $simulator")
confined --detach --name "$simulator" --volume "$WORK/etc:$ETC:ro" "$TAG" simulate --listen "127.0.0.1:$evolink_port" \
    --allow-private-callbacks --callback-ca-file "$ETC/tls.crt" --task-duration 1s >/dev/null
start
load app --count "$TASKS" --at-once 64 --secret "$secret" >"$WORK/app.out" || fail "the apps: $(cat "$WORK/app.out")"
until_archived "$TASKS"
expect_alive
verified=$(archive verify --json)
expect "damaged or missing files" "[]" "$(field "$verified" damaged)"
figure "archived and verified: $(field "$verified" verified) files, $(field "$verified" bytes) bytes"
figure "memory of the process at most: $(peak_memory), restarts: 0"

# In the middle of fetches.
load app --count "$TASKS" --at-once 64 --secret "$secret" >"$WORK/app.out" || fail "the apps: $(cat "$WORK/app.out")"
kill_hard
start
until_archived $((2 * TASKS))
verified=$(archive verify --json)
expect "damaged or missing files after kill -9" "[]" "$(field "$verified" damaged)"
stop
