# shellcheck shell=bash
# podman and buildah on a machine that may have no container daemon and no registry. This file has
# settings that work in a virtual machine without systemd, a separate image store, and the base
# image, which is built from Debian packages and the installed Rust. base.sh, build.sh and run.sh
# source it. It needs root, because base images and limits require it.

# All clones on the machine share this store, because building the base image takes a minute and a
# gigabyte. It is separate from any other podman store, so ending everything in it affects no other
# program.
IMAGES=/var/tmp/evolink-receiver-images
IMAGES_RUN=/run/evolink-receiver-images

# From here on this run has the store for itself, because two runs at once would unmount it under
# each other. Only the holder of the lock may call `podman_end`, so set the trap that calls it after
# this.
podman_begin() {
    mkdir -p "$IMAGES/tmp" "$IMAGES_RUN"
    export TMPDIR="$IMAGES/tmp"
    exec 9>"$IMAGES/lock"
    flock --wait 900 9 || { echo "another run has kept $IMAGES for 15 minutes" >&2; return 1; }
    # crun needs a unified cgroup hierarchy, the journal may be absent, and the default limits may
    # be higher than ours.
    cat >"$IMAGES/containers.conf" <<CONF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$IMAGES_RUN/libpod"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
CONF
    cat >"$IMAGES/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$IMAGES/store"
runroot = "$IMAGES_RUN/storage"
CONF
    export CONTAINERS_CONF="$IMAGES/containers.conf" CONTAINERS_STORAGE_CONF="$IMAGES/storage.conf"
    export BUILDAH_ISOLATION=chroot
}

# Also removes what an interrupted run left behind: no other run uses this store while we hold its
# lock. The overlay driver bind-mounts its folder onto itself and leaves that mount.
podman_end() {
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    podman volume prune --force >/dev/null 2>&1 || true
    buildah rm --all >/dev/null 2>&1 || true
    local folder
    for folder in "$IMAGES/store/overlay" "$IMAGES_RUN/storage/overlay-containers" "$IMAGES_RUN/storage"; do
        if mountpoint -q "$folder"; then umount "$folder" || true; fi
    done
}
