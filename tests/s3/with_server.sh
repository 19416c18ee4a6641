#!/usr/bin/env bash
# with_server.sh CMD…: runs CMD, with a temporary S3 server (SeaweedFS) for its tests. Without the
# program `weed` it runs CMD alone, and the tests that need a server say that they are skipped.
#
# The server checks signatures. It has one bucket, a user who may write to it, and a user who may
# only read.
set -euo pipefail

READY_WITHIN_S=60
BUCKET=results

free_ports() { # COUNT
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])
PYTHON
}

end() {
    if [ -n "$SERVER" ]; then
        kill -KILL "$SERVER" 2>/dev/null || true
        wait "$SERVER" 2>/dev/null || true
    fi
    # No option sets the place of these sockets, and a killed server does not delete them.
    for port in $MASTER_GRPC $VOLUME_GRPC $FILER_GRPC $S3_GRPC; do rm -f /tmp/seaweedfs-*-grpc-"$port".sock; done
    rm -rf "$FOLDER"
}

# `weed shell` always exits with 0, so its output is checked instead.
bucket_is_made() {
    (cd "$FOLDER" && echo "s3.bucket.create -name $BUCKET" |
        timeout 10 weed shell -master="$IP:$MASTER.$MASTER_GRPC" -filer="$IP:$FILER.$FILER_GRPC") 2>&1 |
        grep -q "created bucket $BUCKET"
}

s3_answers() {
    (exec 3<>"/dev/tcp/$IP/$S3") 2>/dev/null
}

wait_until_ready() {
    local deadline=$((SECONDS + READY_WITHIN_S))
    until s3_answers && bucket_is_made; do
        if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$SERVER" 2>/dev/null; then
            tail -n 50 "$FOLDER/log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

if ! command -v weed >/dev/null; then
    echo "the program weed is not installed: the tests of buckets are skipped"
    exec "$@"
fi

IP=127.0.0.1
read -r MASTER MASTER_GRPC VOLUME VOLUME_GRPC FILER FILER_GRPC S3 S3_GRPC < <(free_ports 8)
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/s3.XXXXXX")
SERVER=""
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$FOLDER/data"
cat >"$FOLDER/users.json" <<'JSON'
{"identities": [
  {"name": "writer", "credentials": [{"accessKey": "writer", "secretKey": "secret of writer"}],
   "actions": ["Admin", "Read", "Write", "List"]},
  {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "secret of reader"}],
   "actions": ["Read", "List"]}
]}
JSON
# Runs in its folder, where it leaves a few files. It is killed when this script ends, even by
# SIGKILL. It must send no telemetry.
(cd "$FOLDER" && exec setpriv --pdeathsig=KILL weed -logtostderr server -dir="$FOLDER/data" -ip=$IP \
    -master.telemetry=false -master.port="$MASTER" -master.port.grpc="$MASTER_GRPC" \
    -master.volumeSizeLimitMB=256 -volume.max=100 -volume.port="$VOLUME" -volume.port.grpc="$VOLUME_GRPC" \
    -filer -filer.port="$FILER" -filer.port.grpc="$FILER_GRPC" -filer.localSocket="$FOLDER/filer.sock" \
    -s3 -s3.port="$S3" -s3.port.grpc="$S3_GRPC" -s3.autoCreateBucket=false -s3.port.iceberg=0 -s3.port.lance=0 \
    -s3.localSocket="$FOLDER/s3.sock" -s3.config="$FOLDER/users.json") >"$FOLDER/log" 2>&1 &
SERVER=$!
wait_until_ready
env -u AWS_SESSION_TOKEN AWS_ENDPOINT_URL="http://$IP:$S3" AWS_ALLOW_HTTP=true AWS_REGION=us-east-1 \
    AWS_ACCESS_KEY_ID=writer AWS_SECRET_ACCESS_KEY="secret of writer" \
    EVOLINK_RECEIVER_TEST_S3_READER="reader:secret of reader" \
    EVOLINK_RECEIVER_TEST_S3_URL="s3://$BUCKET" "$@"
