#!/usr/bin/env bash
# Heaps in files on a DAX file system, whose node dies. HEAP is node_heap; PLACE and GENERATION are
# tests of the API that run there.
NODES=1
. "$(dirname "$0")/nodes.sh"
export PATH=$PATH:/usr/sbin:/sbin # where mkfs and mount may be
command -v mkfs.ext4 >"$dir/out" || skip "no mkfs.ext4; it is in Debian's package e2fsprogs"
begin_nodes --fsdax --timeout 280
on 1 grep -qw ext4 /proc/filesystems || skip "the guest's kernel has no ext4"
on 1 grep -qx 1 /sys/block/pmem0/queue/dax ||
    skip "the guest's kernel has no memory for file systems (fsdax)"

export HEAP_FILE=/run/pmem/heap
mount_memory() {
    run 0 on 1 mkdir -p /run/pmem
    run 0 on 1 mount -t ext4 -o dax=always /dev/pmem0 /run/pmem
}
# A small file system would have blocks of 1 KiB, and DAX needs pages.
run 0 on 1 mkfs.ext4 -q -b 4096 /dev/pmem0
mount_memory
[ "$failures" -eq 0 ] || verdict

# ---- all kinds of heaps ----

# shellcheck disable=SC2016 # for the shell there
run 0 on 1 sh -c 'cd /run/pmem && ALPS_TEST_DIR=. "$PLACE" "place.*" "memory.*" &&
    ALPS_TEST_DIR=. "$GENERATION" "commit.*" "recover.*" "walk.*"'
says '^[1-9][0-9]* passed, 0 failed, 0 skipped$'

# ---- the node dies while a durable heap is open ----

# is_ready: the process with blocks of its own, whose end will come without warning.
is_ready() {
    [ -e "$share/zombie.ready" ]
}
run 0 alps 1 create --durable --size 32M --capacity 128M "$HEAP_FILE"
run 0 on 1 "$HEAP" fill 200
run 0 alps 1 commit --closed "$HEAP_FILE"
on 1 "$HEAP" zombie >"$dir/zombie" 2>&1 &
zombie=$!
await 60 "the process that is to die" is_ready
# Linux keeps the file's tables up to date behind each page that is written: MAP_SYNC, here "sf".
on 1 sh -c 'cat /proc/[0-9]*/smaps' >"$dir/smaps" 2>"$dir/err"
awk -v heap="$HEAP_FILE" '$NF == heap { ours = 1 } ours && /^VmFlags:/ { print; ours = 0 }' \
    "$dir/smaps" >"$dir/out"
says '^VmFlags:.* sf( |$)'
run 0 "$TESTBED" kill "$session" 1
wait $zombie
run 0 "$TESTBED" boot "$session" 1
mount_memory
run 0 alps 1 bulk-free --closed "$HEAP_FILE"
run 0 alps 1 check "$HEAP_FILE"
run 0 on 1 "$HEAP" take
says '^200 blocks$'
run 0 alps 1 stat --json "$HEAP_FILE"
equals "blocks that are left" "$(field live_blocks)" 0
run 0 alps 1 check "$HEAP_FILE"
verdict
