#!/usr/bin/env bash
# 1,500 submits, 64 at once, then bursts of 200 callbacks at once over TLS. One process answers them
# all with 200. After kill -9 and after SIGTERM everything that was acknowledged is there.
source tests/container/story.sh
TASKS=1500 BURSTS=5 SIZE=200 STORM=400

# No polls: the outcomes arrive only by callback.
write_config <<CONF
[reconcile]
first_poll_after = "1h"
CONF
start

figures=$(load fill --count "$TASKS" --at-once 64)
figure "submits, 64 at once: $figures"
expect "submits answered 200" "$TASKS" "$(field "$figures" answers 200)"
expect_alive

figures=$(load burst --bursts "$BURSTS" --count "$SIZE")
figure "callbacks, $SIZE at once: $figures"
expect "callbacks answered 200 at once" $((BURSTS * SIZE)) "$(field "$figures" answers 200)"
expect_alive
figure "memory of the process at most: $(peak_memory), restarts: 0"

kill_hard
start
figure "after kill -9: $(load verify)"

# Sends callbacks with EvoLink's retries while the receiver is killed and started again.
load storm --count "$STORM" --at-once 32 >"$WORK/storm.json" &
storm=$!
sleep 0.3
kill_hard
start
wait "$storm" || fail "the storm ended early"
figure "callbacks during a kill -9 and a start: $(cat "$WORK/storm.json")"
expect "callbacks of the storm that were acknowledged" "$STORM" "$(field "$(cat "$WORK/storm.json")" answers 200)"
figure "after it: $(load verify)"

stop
start
figures=$(load verify)
figure "after SIGTERM: $figures"
expect "acknowledged in all" $((BURSTS * SIZE + STORM)) "$(field "$figures" acknowledged)"
stop
