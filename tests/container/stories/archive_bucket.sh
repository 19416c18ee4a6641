#!/usr/bin/env bash
# The story of archive.sh with a bucket: nothing of a picture is on /data.
set -euo pipefail
if ! command -v weed >/dev/null; then
    echo "skipped: the program weed is not installed"
    [ -z "${CI:-}" ]
    exit
fi
if [ -z "${EVOLINK_RECEIVER_TEST_S3_URL:-}" ]; then exec tests/s3/with_server.sh bash "$0"; fi
ARCHIVE_URL="$EVOLINK_RECEIVER_TEST_S3_URL/container"
source tests/container/stories/archive.sh
data=$(podman volume inspect --format '{{.Mountpoint}}' "$NAME")
expect "pictures on /data" "" "$(find "$data" -path '*results/*' -type f)"
