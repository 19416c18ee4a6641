#!/usr/bin/env bash
# The files for Compose: Caddy with a certificate of its own in front of the receiver, and the
# simulator in place of EvoLink, which calls back through Caddy. Networks of containers would leave
# rules on this machine, so the containers share its network.
source tests/container/story.sh
PATH="$PATH:${TOOLS:-target/tools}/bin"
for program in podman-compose caddy; do
    if ! command -v "$program" >/dev/null; then
        echo "skipped: needs $program"
        exit 77
    fi
done

proxy_port=$(free_port) evolink_port=$(free_port) internal_port=$(free_port)
simulator="$NAME-simulator" project="evolink-receiver-compose-$$"
cp -r deploy "$WORK/deploy"
cd "$WORK/deploy"

# Debian's program in the place of the public image, which cannot be pulled here.
container=$(buildah from scratch)
root=$(buildah mount "$container")
libraries=$(ldd "$(command -v caddy)" | grep -o '/[^ ]*' || true)
for file in "$(command -v caddy)" $libraries; do install -D "$(realpath "$file")" "$root$file"; done
buildah config --cmd "$(command -v caddy) run --config /etc/caddy/Caddyfile --adapter caddyfile" \
    --env HOME=/data --env XDG_DATA_HOME=/data "$container"
buildah commit --quiet --rm "$container" localhost/caddy:test >/dev/null

cat >.env <<ENV
DOMAIN=localhost:$proxy_port
EVOLINK_API_KEY=a-key-of-the-compose-test
EVOLINK_BASE_URL=http://127.0.0.1:$evolink_port
RECEIVER_LISTEN=127.0.0.1:$internal_port
CADDY_IMAGE=localhost/caddy:test
ENV
cat >compose.test.yaml <<YAML
services:
  receiver:
    image: $TAG
    network_mode: host
    environment:
      EVOLINK_RECEIVER__ARCHIVE__ENABLED: "false"
  caddy:
    network_mode: host
    extra_hosts: ["receiver:127.0.0.1"]
YAML
compose() { podman-compose --project-name "$project" "$@"; }
for files in compose.yaml "compose.yaml -f compose.tunnel.yaml" compose.replicas.yaml; do
    # What a file needs and .env does not have, it asks for by name.
    env TUNNEL_TOKEN=t POSTGRES_PASSWORD=p S3_BUCKET=b AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=s \
        podman-compose -f ${files} config >"$WORK/config.yaml" || fail "$files is refused"
    grep -q evolink-receiver "$WORK/config.yaml" || fail "$files has no receiver"
    echo "ok: $files is read"
done

CLEANUP+=("podman rm --force --time 0 $simulator" "env -C $WORK/deploy podman-compose --project-name $project down --volumes")
compose -f compose.yaml -f compose.test.yaml up --detach --no-build >"$WORK/compose.log" 2>&1 ||
    fail "compose up: $(tail -n 20 "$WORK/compose.log")"
receiver="${project}_receiver_1"
authority=$(podman volume inspect --format '{{.Mountpoint}}' "${project}_caddy-data")/caddy/pki/authorities/local/root.crt
for _ in $(seq 100); do
    if [ -e "$authority" ] && podman healthcheck run "$receiver" >/dev/null 2>&1; then break; fi
    sleep 0.2
done
[ -e "$authority" ] || fail "Caddy has no certificate: $(podman logs "${project}_caddy_1" 2>&1 | tail -n 20)"
mkdir -p "$WORK/etc"
install -m 0644 "$authority" "$WORK/etc/ca.crt"
confined --detach --name "$simulator" --volume "$WORK/etc:$ETC:ro" "$TAG" simulate --listen "127.0.0.1:$evolink_port" \
    --allow-private-callbacks --callback-ca-file "$ETC/ca.crt" --task-duration 1s >/dev/null
task=$(podman exec --env "EVOLINK_RECEIVER_URL=http://127.0.0.1:$internal_port" "$receiver" \
    /evolink-receiver submit 'a cute cat' --wait --json) || fail "submit: $(podman logs "$receiver" 2>&1 | tail -n 20)"
expect "the state of the task" completed "$(field "$task" receiver state)"
expect "what found its outcome" callback "$(field "$task" receiver source)"
expect "the internal API through Caddy" 404 \
    "$(curl --silent --output /dev/null --write-out '%{http_code}' --cacert "$authority" "https://localhost:$proxy_port/v1/tasks")"
figure "compose.yaml: a task and its callback through Caddy, in $SECONDS s"
