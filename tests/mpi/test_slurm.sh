#!/usr/bin/env bash
# The drivers under Slurm: a controller and a node of our own on the loopback, and srun.
PATH=$PATH:/usr/sbin
for program in slurmctld slurmd srun scancel; do
    if ! command -v $program >/dev/null; then
        echo "skipped mpi.slurm: $program is not installed (slurmctld, slurmd and slurm-client)"
        exit 77
    fi
done
. "$(dirname "$0")/ranks.sh"
drivers=$(dirname "$driver")

daemons=()
clean_up() {
    [ -z "$job" ] || kill "$job" 2>/dev/null
    [ ${#daemons[@]} -eq 0 ] || kill "${daemons[@]}" 2>/dev/null
    wait
}

# The node claims more processors than there may be, so that all tasks start at once.
host=$(hostname -s)
user=$(id -un)
port=$((20000 + $$ % 20000))
mkdir "$dir/state" "$dir/spool"
cat >"$dir/slurm.conf" <<CONF
ClusterName=alps
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
MpiDefault=pmix
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
NodeName=$host NodeAddr=127.0.0.1 CPUs=16
PartitionName=main Nodes=$host Default=YES
CONF
export SLURM_CONF=$dir/slurm.conf
for daemon in slurmctld slurmd; do
    $daemon -D >"$dir/$daemon.log" 2>&1 &
    daemons+=($!)
done
for _ in $(seq 200); do
    sinfo -h -o %T 2>/dev/null | grep -q idle && break
    sleep 0.1
done
if ! sinfo -h -o %T 2>/dev/null | grep -q idle; then
    echo "skipped mpi.slurm: no node of Slurm comes up here: $(tail -qn 1 "$dir"/slurm*.log)"
    exit 77
fi

# tasks STATUS N DRIVER OPTION...
tasks() {
    local status=$1 number=$2 program=$3
    shift 3
    run "$status" timeout 100 srun -Q -n "$number" "$drivers/alps-mpi-$program" "$@"
}

while read -r program arguments; do
    # shellcheck disable=SC2086 # words
    tasks 0 4 "$program" --warmup 1 --iterations 4 $arguments
    says '^RESULT: PASS$'
    equals "$program: verdicts" "$(lines '^RESULT' "$dir/out")" 1
    equals "$program: what is said on stderr" "$(cat "$dir/err")" ""
done <<'DRIVERS'
stress --workload all-to-all,private,neighbour,pairs --ranks 1,2,4
stress --emu cxl-switch --emu-mode virtual
shuffle
relocate
crash --blocks 300 --kill-interval 5ms
DRIVERS

# Only rank 0 speaks, before MPI_Init too. srun names the tasks that fail.
tasks 2 3 stress --bogus
equals "complaints" "$(lines '^alps-mpi-stress: .*--bogus' "$dir/err")" 1
tasks 0 3 stress --help
equals "helps" "$(lines '^usage: ' "$dir/out")" 1
tasks 1 3 stress --iterations 10 --inject-corruption
says '^RESULT: FAIL$'

# A job that is cancelled leaves nothing. srun keeps back what is said, so look at the results.
srun -n 3 "$driver" --duration 100s --json "$dir/json-lines" >"$dir/out" 2>"$dir/err" </dev/null &
job=$!
until [ -s "$dir/json-lines" ] || ! kill -0 "$job" 2>/dev/null; do
    sleep 0.05
done
sleep 0.3
scancel -u "$user"
ends
verdict
