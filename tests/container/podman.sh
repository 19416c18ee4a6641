# shellcheck shell=bash
# podman and buildah on a machine that may have no container daemon and no registry: settings that work in a virtual
# machine without systemd, a store of our own, and the base image made from Debian packages and the installed Rust.
# Sourced by base.sh, build.sh and run.sh. Root is needed: base images and limits are not to be had without it.

# Shared by all clones on the machine, because the base image takes a minute and a gigabyte. Apart from any other
# podman's, so that ending everything in it ends nothing of anyone else's.
IMAGES=/var/tmp/evolink-receiver-images
IMAGES_RUN=/run/evolink-receiver-images

# Everything after this has the store for itself: two runs at once would unmount it under each other. `podman_end` is
# for whoever holds the lock, so the trap that calls it comes after this.
podman_begin() {
    mkdir -p "$IMAGES/tmp" "$IMAGES_RUN"
    export TMPDIR="$IMAGES/tmp"
    exec 9>"$IMAGES/lock"
    flock --wait 900 9 || { echo "another run has kept $IMAGES for 15 minutes" >&2; return 1; }
    # crun wants a unified cgroup hierarchy, the journal may be absent, and the default limits may be above our own.
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

# What an interrupted run left behind goes too: nobody else uses this store while we hold its lock. The overlay driver
# binds its folder onto itself and leaves it so.
podman_end() {
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    podman volume prune --force >/dev/null 2>&1 || true
    buildah rm --all >/dev/null 2>&1 || true
    local folder
    for folder in "$IMAGES/store/overlay" "$IMAGES_RUN/storage/overlay-containers" "$IMAGES_RUN/storage"; do
        if mountpoint -q "$folder"; then umount "$folder" || true; fi
    done
}
