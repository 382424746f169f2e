# What the tests of the MPI drivers share; to be sourced. DRIVER is the program, MPIRUN the launcher,
# ALPS_TOOL the tool alps.
# shellcheck shell=bash
driver=${DRIVER:?DRIVER names the program}
mpirun=${MPIRUN:?MPIRUN names the launcher}
tool=${ALPS_TOOL:?ALPS_TOOL names the tool}
name=$(basename "$driver")
. "$(dirname "$0")/../support/program.sh"
. "$(dirname "$0")/../../mpi/env.sh"
export EMU_BASE_NS=100 # a busy machine's latency is not to be measured
# When a job fails Open MPI kills what is left of it, after a time in which it does nothing else.
grace=OMPI_MCA_odls_base_sigkill_timeout # the seconds
export $grace=0
export TMPDIR=$dir/tmp # Open MPI's session directories
mkdir "$TMPDIR"

job=
clean_up() {
    [ -z "$job" ] || kill "$job" 2>/dev/null
}

# ranks STATUS N OPTION...: a job of N ranks.
ranks() {
    local status=$1 number=$2
    shift 2
    run "$status" "$mpirun" --timeout 120 -np "$number" "$driver" "$@"
}

# processes PATTERN: those with such a command line, of this test and not of another meanwhile.
processes() {
    local pid
    for pid in $(pgrep -f -- "$1"); do
        if grep -qzFx "TMPDIR=$TMPDIR" "/proc/$pid/environ" 2>/dev/null; then
            echo "$pid"
        fi
    done
}

# left EXPRESSION...: such files in /dev/shm, but no heap whose process lives: another test's.
left() {
    local file pid
    find /dev/shm -maxdepth 1 "$@" | sort | while read -r file; do
        pid=$(sed -n 's/.*\/alps-mpi-[a-z]*\.\([0-9]*\)-.*/\1/p' <<<"$file")
        if [ -z "$pid" ] || ! grep -qs '^alps-mpi' "/proc/$pid/comm"; then
            echo "$file"
        fi
    done
}

heaps() {
    left -name "$name.*"
}
heaps_before=$(heaps)

# start SECONDS OPTION...: starts a job of three ranks that would take long, waits until it works,
# and sets job. Its ranks have some seconds to end when they are to.
start() {
    local seconds=$1
    shift
    : >"$dir/out"
    env $grace="$seconds" "$mpirun" -np 3 "$driver" --duration 100s --json "$dir/json-lines" "$@" \
        >"$dir/out" 2>"$dir/err" </dev/null &
    job=$!
    until grep -q '^# ' "$dir/out"; do
        kill -0 "$job" 2>/dev/null || break
        sleep 0.02
    done
}

# ended PID: it has, and has let go of its files.
ended() {
    local state
    state=$(ps -o state= -p "$1") || return 0
    [ "$state" = Z ]
}

# kill_ranks PATTERN: all of them at once, when the statistics of the heap $dir/kept match.
kill_ranks() {
    local pid pids
    until "$tool" stat --json "$dir/kept" 2>/dev/null | grep -q "$1"; do
        kill -0 "$job" 2>/dev/null || break
        sleep 0.05
    done
    mapfile -t pids < <(pgrep -P "$job" -f "$driver --duration 100s")
    kill -KILL "${pids[@]}"
    wait "$job"
    job=
    for pid in "${pids[@]}"; do
        until ended "$pid"; do
            sleep 0.05
        done
    done
    while [ -n "$(processes "$name --worker")" ]; do # they die with their ranks
        sleep 0.05
    done
}

# ends: the job does, not as if all were well, and nothing is left of it.
ends() {
    local status
    wait "$job"
    status=$?
    job=
    checks=$((checks + 1))
    [ "$status" -ne 0 ] || complain "a job that was killed succeeds"
    ! grep -q PASS "$dir/json-lines" || complain "results of a job that was killed are complete"
    equals "heaps after a kill" "$(heaps)" "$heaps_before"
    for _ in $(seq 100); do
        [ -n "$(processes "$driver --duration 100s|$name --worker")" ] || return 0
        sleep 0.1
    done
    complain "a process lives on: $(processes "$driver --duration 100s|$name --worker")"
}

# mpirun kills soon after it has sent the signal, so a rank may not come to say it: results that
# just end are incomplete as well.
count_mark() {
    if [ "$(tail -n 1 "$dir/json-lines")" = '{"record":"result","verdict":"INCOMPLETE"}' ]; then
        marks=$((marks + 1))
    fi
}

# dies_well OPTION...: a job with these options leaves nothing, however it is killed.
dies_well() {
    local delay victim pid marks=0
    for delay in 0 0.05 0.3; do
        start 1 "$@"
        sleep "$delay"
        kill -TERM "$job"
        ends
        count_mark
    done
    start 1 "$@"
    sleep 0.2
    kill -INT "$job"
    ends
    count_mark
    checks=$((checks + 1))
    [ "$marks" -gt 0 ] || complain "no interrupted run has said that it is incomplete"
    for victim in 0 2; do
        start 0 "$@"
        sleep 0.3
        pid=$(pgrep -f "$driver --duration 100s" -P "$job" | sed -n "$((victim + 1))p")
        kill -KILL "$pid" || complain "no rank $victim to kill"
        ends
    done
    is_json "$dir/json-lines"
    equals "the machine in the results of a killed run" \
        "$(lines '"record":"machine"' "$dir/json-lines")" 1
}
