#!/usr/bin/env bash
# Boots a guest with four NUMA nodes, two of them without CPUs, and runs there what needs them.
# TESTBED, TOPOLOGY_FILE, TEST, HUGE_TEST, TOPOLOGY and ALPS_TOOL name what is used, DRIVERS the
# directory that the MPI drivers are in if they were built.
. "$(dirname "$0")/../support/program.sh"

# What needs no guest: wrong usage, bad topologies.
run 0 "$TESTBED" --help
says '^usage: emu-testbed run '
run 2 "$TESTBED"
run 2 "$TESTBED" run --numa "$TOPOLOGY_FILE"
warns 'no -- PROGRAM'
run 2 "$TESTBED" run --numa /nowhere -- true
warns 'cannot read /nowhere'
run 2 "$TESTBED" run --numa "$TOPOLOGY_FILE" --timeout x -- true
warns "not a number of seconds: 'x'"
bad_topology() {
    printf 'node 0 cpus 1 memory 256M\n%b\n' "$1" >"$dir/bad.numa"
    run 2 "$TESTBED" run --numa "$dir/bad.numa" -- true
    warns "bad\.numa:2: $2"
}
bad_topology 'nude 1' "unknown word 'nude'"
bad_topology 'node 1 memory 12' "not a size like 512M or 1G: '12'"
bad_topology 'node 1 memory 256M' 'neither cpus nor an initiator'
bad_topology 'node 0 cpus 1 memory 256M' 'node 0 again, first in line 1'
bad_topology 'node 1 memory 256M initiator 7' 'the initiator must be a node with CPUs'
bad_topology 'distance 0 5 20' 'there is no node 5'
bad_topology 'distance 0 0 11' 'the distance of a node to itself is 10'

"$TESTBED" probe >"$dir/out" 2>"$dir/err"
case $? in
0) ;;
77)
    echo "skipped numa.guest: $(tail -1 "$dir/err")"
    exit 77
    ;;
*) complain "emu-testbed probe failed" ;;
esac

# In the guest, which has a /dev/shm of its own; $OUT comes back.
job=$(cat <<'JOB'
set -eu
"$TEST" >"$OUT/tests" 2>&1 || echo "$TEST failed" >>"$OUT/problems"
"$TOPOLOGY" >"$OUT/topology" 2>&1 || echo "$TOPOLOGY failed" >>"$OUT/problems"
"$TOPOLOGY" --json - --verify 16M >"$OUT/lines" 2>&1 || echo "--verify failed" >>"$OUT/problems"
far=$("$TOPOLOGY" --far)
mkdir /tmp/huge
mount -t hugetlbfs none /tmp/huge
echo 100 >/proc/sys/vm/nr_hugepages
ALPS_TEST_DIR=/tmp/huge "$HUGE_TEST" 'hugetlb.*' >"$OUT/huge" 2>&1 ||
    echo "$HUGE_TEST failed" >>"$OUT/problems"
umount /tmp/huge
echo 0 >/proc/sys/vm/nr_hugepages
"$ALPS_TOOL" create --size 64M --nodes "$far" /dev/shm/heap >"$OUT/nodes"
"$ALPS_TOOL" nodes /dev/shm/heap >>"$OUT/nodes" || echo "alps nodes failed" >>"$OUT/problems"
[ -n "$DRIVERS" ] || exit 0
. "$DRIVER_ENVIRONMENT"
while read -r driver arguments; do
    # shellcheck disable=SC2086 # words
    mpirun -np 2 "$DRIVERS/alps-mpi-$driver" --emu-mode numa --iterations 4 --warmup 1 --size 96M \
        $arguments --json "$OUT/$driver" >"$OUT/$driver.out" 2>&1 </dev/null ||
        echo "alps-mpi-$driver failed: $(tail -n 5 "$OUT/$driver.out")" >>"$OUT/problems"
done <<DRIVERS
stress --blocks 500 --hints mixed
relocate
crash --blocks 300
shuffle --bytes 1M
DRIVERS
JOB
)
mkdir "$dir/back"
if [ ! -x "$DRIVERS/alps-mpi-stress" ]; then
    echo "no MPI drivers were built: none runs in the guest"
    DRIVERS=
fi
DRIVER_ENVIRONMENT=$(realpath "$(dirname "$0")/../../mpi/env.sh")
export TEST HUGE_TEST TOPOLOGY ALPS_TOOL DRIVERS DRIVER_ENVIRONMENT
run 0 timeout 280 "$TESTBED" run --numa "$TOPOLOGY_FILE" --timeout 270 --output "$dir/back" -- \
    bash -c "$job"
cat "$dir/back/tests" "$dir/back/huge" "$dir/back/topology" "$dir/back/nodes"
[ ! -e "$dir/back/problems" ] || complain "in the guest: $(cat "$dir/back/problems")"
for tests in tests huge; do
    grep -Eq '^[1-9][0-9]* passed, 0 failed, 0 skipped$' "$dir/back/$tests" ||
        complain "$tests in the guest"
done
grep '^{' "$dir/back/lines" >"$dir/lines"
is_json "$dir/lines"
grep -Eq '"record":"plan","compute":"0,1","far":"[23,]+"' "$dir/lines" || complain "the plan"
if [ -n "$DRIVERS" ]; then
    for name in stress relocate crash shuffle; do
        is_json "$dir/back/$name"
        equals "$name: the end of the results" "$(tail -n 1 "$dir/back/$name")" \
            '{"record":"result","verdict":"PASS"}'
    done
    equals "elements moved to another node" \
        "$(lines '"record":"repetition".*"migrated":[1-9]' "$dir/back/relocate")" 1
fi
verdict
