#!/usr/bin/env bash
# Builds the project's unchanged Dockerfile and copies the program out of the image, so that later
# steps can run the shipped program without compiling it again. Run base.sh first. Usage: build.sh
# TAG BINARY
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/container/podman.sh
tag=$1 binary=$2
podman_begin
trap podman_end EXIT

# A machine may reach its package registry through its own certificate authority. Only the builder's
# commands see that authority, and only while they run.
authorities=/etc/ssl/certs/ca-certificates.crt
mounts=()
if [ -e "$authorities" ]; then mounts=(--volume "$authorities:$authorities:ro"); fi
buildah bud --pull-never --format=docker --layers "${mounts[@]}" --tag "$tag" \
    --build-arg EVOLINK_RECEIVER_COMMIT="$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" .

container=$(buildah from --pull-never "$tag")
mkdir -p "$(dirname "$binary")"
cp "$(buildah mount "$container")/evolink-receiver" "$binary"
# Removes layers of earlier builds that no tag uses any more.
podman image prune --force --filter until=168h >/dev/null
echo "$tag: $(podman image inspect --format '{{.Size}}' "$tag") bytes, program $(stat -c %s "$binary") bytes, built in $SECONDS s"
