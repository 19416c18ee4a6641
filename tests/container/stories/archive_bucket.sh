#!/usr/bin/env bash
# Runs archive.sh with a bucket, and checks that no picture is on /data.
set -euo pipefail
if ! command -v weed >/dev/null; then
    echo "skipped: the program weed is not installed"
    exit 77
fi
if [ -z "${EVOLINK_RECEIVER_TEST_S3_URL:-}" ]; then exec tests/s3/with_server.sh bash "$0"; fi
ARCHIVE_URL="$EVOLINK_RECEIVER_TEST_S3_URL/container"
source tests/container/stories/archive.sh
data=$(podman volume inspect --format '{{.Mountpoint}}' "$NAME")
[ -d "$data" ] || fail "no volume at $data"
expect "pictures on /data" "" "$(find "$data" -path '*results/*' -type f)"
