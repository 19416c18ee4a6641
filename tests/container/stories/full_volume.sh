#!/usr/bin/env bash
# The volume fills up: callbacks are answered 503, and the container keeps running. When there is
# space again, they are answered 200 without a restart, and nothing that was acknowledged is lost.
source tests/container/story.sh

disk="$WORK/disk.img" mount="$WORK/data"
truncate -s 64M "$disk"
mkfs.ext4 -q -m 0 -E root_owner=65532:65532 "$disk"
mkdir -p "$mount"
mount -o loop "$disk" "$mount"
CLEANUP+=("umount $mount")
DATA_VOLUME="$mount:/data"

write_config <<CONF
[store]
min_free = "0B"
[reconcile]
first_poll_after = "1h"
CONF
start
figures=$(load fill --count 600 --at-once 16)
expect "submits answered 200" 600 "$(field "$figures" answers 200)"
figures=$(load burst --count 100)
figure "while there is room: $figures"
expect "callbacks answered 200" 100 "$(field "$figures" answers 200)"

# Takes every free block, and later also the blocks that the receiver releases from its reserve.
# Large callbacks use up the space inside the receiver's own files.
fill_up() {
    local number
    for number in $(seq 20); do
        dd if=/dev/zero of="$mount/filler.$number" bs=64K >/dev/null 2>&1 || true
        is_running || fail "the container is gone: exit code $(inspect State.ExitCode)"
        if load trickle --count 503 --seconds 5 --padding 100000 >"$WORK/full.json" 2>"$WORK/full.log"; then return; fi
    done
    fail "the volume does not fill up: $(cat "$WORK/full.log")"
}
fill_up
figure "when it is full: $(cat "$WORK/full.json")"
expect_alive
rm -f "$mount"/filler.*
figure "after room was made: $(load trickle --count 200 --seconds 60)"
figures=$(load burst --count 100)
figure "a burst of 100 then: $figures"
expect "callbacks answered 200" 100 "$(field "$figures" answers 200)"
expect_alive
figure "restarts: 0, $(load verify)"
kill_hard
start
figure "after kill -9: $(load verify)"
stop
