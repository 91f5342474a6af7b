#!/bin/bash
# What muster says about the environments of operators, and what muster run does in them.
source "$(dirname "$0")/lib.sh"
muster=$(command -v muster)
bare() { env -i PATH="$PATH" "$@"; }

say "every recorded environment through the program"
for vectors in env-vectors env-vectors-2; do
    expect 0 /usr/bin/python3 -B "$here/env_vectors.py" "$muster" "$here/../data/$vectors.json"
    tail -n 1 "$work/last.out"
    expect 0 /usr/bin/python3 -B "$here/world_vectors.py" "$MUSTER_TESTS/world_of" "$here/../data/$vectors.json"
    tail -n 1 "$work/last.out"
done

say "an explanation for people"
expect 0 bare PET_NNODES=2 PET_NODE_RANK=1 PET_MASTER_ADDR=tj-node-0-0.tj JOB_COMPLETION_INDEX=1 \
    muster env --explain
mentions "found: TrainJob (torch), scheme pet" "PET_NODE_RANK=1" "found: Indexed Job" "won: pet"
expect 78 bare PET_NNODES=2 PET_NODE_RANK=1 PET_MASTER_ADDR=m JOB_COMPLETION_INDEX=0 \
    muster env --explain
mentions "refused: the node rank is 1 by pet but 0 by index" "--from pet"
expect 0 bare PET_NNODES=2 PET_NODE_RANK=1 PET_MASTER_ADDR=m JOB_COMPLETION_INDEX=0 \
    muster env --from pet
mentions "node_rank       1"
expect 78 bare muster env --from slurm
mentions SLURM_JOB_ID
expect 64 bare muster run --from nosuch -- true
mentions "--from nosuch: no such scheme"
expect 78 bare MST_FROM=nosuch muster run -- true
mentions "MST_FROM=nosuch: no such scheme"
expect 0 bare muster env --explain
mentions "no variable of an operator"

say "bytes that are no text"
expect 78 bare PET_NNODES=$'\xff\xfe' muster env --json
mentions '"error": "PET_NNODES=??:' '"candidates": ['
/usr/bin/python3 -c 'import json, sys; json.load(open(sys.argv[1]))["candidates"][0]' "$work/last.out"

say "a word too many"
expect 64 bare muster env --json bogus
mentions "unexpected argument bogus"

say "flags stand above the environment"
expect 0 bare JOB_COMPLETION_INDEX=1 muster env --json --nnodes 2 --node-rank 1 --rdzv h:9 --nproc 3
mentions '"world_size": 6' '"master_addr": "h"' '"master_port": 9'
mentions '"overruled": "Indexed Job is there, but nothing says' '"refused": null'
operator="PET_NNODES=2 PET_NODE_RANK=1 PET_NPROC_PER_NODE=4 PET_MASTER_ADDR=m"
expect 0 bare $operator muster run --nnodes 1 --nproc 1 -- true
mentions 'overruled="nodes 2, node rank 1, ranks per node 4 (pet)"'
[ "$(grep -c overruled= "$work/last.out")" = 1 ] || fail "not one line"
expect 0 bare RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 muster run --nproc 2 -- sh -c 'echo $RANK of $WORLD_SIZE'
mentions 'overruled="rank 0 of 1 (torchrun)"' "[0] 0 of 2" "[1] 1 of 2"

say "but a rank of several is none of theirs"
several="RANK=1 LOCAL_RANK=1 WORLD_SIZE=4 LOCAL_WORLD_SIZE=2"
expect 64 bare $several muster run --nproc 3 -- true
mentions "--nproc 3 is not what torchrun says" "--from none"
expect 64 bare $several muster run --nnodes 1 -- true
expect 64 bare $several muster run --node-rank 1 -- true
expect 0 bare $several muster run --nproc 2 --nnodes 2 --node-rank 0 -- true
expect 0 bare $several muster run --nproc 3 --from none -- sh -c 'echo $RANK of $WORLD_SIZE'
mentions "[2] 2 of 3"

say "a rank whose variables a wrapper took is not alone"
expect 1 bare muster run --nproc 2 --max-restarts 0 -- env -i "$(command -v allreduce)"
mentions "cleared the environment"
expect 0 bare muster run --nproc 2 -- env -i MST_WORLD=single "$(command -v allreduce)"

say "what is missing is told at once"
expect 0 bare $operator muster env
mentions "missing         MST_JOB_SECRET_FILE"
expect 78 bare $operator muster env --check
expect 0 bare $operator MST_JOB_SECRET=hush muster env --check
expect 0 bare $operator muster env --check --insecure
expect 78 bare muster env --nnodes 2 --check --json
mentions '"--node-rank R"' '"--rdzv HOST:PORT"' '"MST_JOB_SECRET_FILE, or --insecure"'
expect 64 bare muster run --nnodes 2 -- true
mentions "--node-rank R; --rdzv HOST:PORT; MST_JOB_SECRET_FILE, or --insecure"

say "muster env ends as muster run would"
expect 78 bare PET_NNODES=1:3 PET_RDZV_ENDPOINT=h:1 muster env
mentions "1 to 3 nodes"
expect 78 bare K_MPI_JOB_ROLE=worker muster env --json
mentions '"mode": "wait_for_launcher"' '"refused": "MPIJob v2'

say "a world of one to three nodes"
elastic="PET_NNODES=1:3 PET_RDZV_ENDPOINT=j-worker-0:1 PET_NPROC_PER_NODE=2"
expect 0 bare $elastic muster env --explain --hostname j-worker-1
mentions "  nodes: 1 to 3" "elastic_min     1" "elastic_max     3" "node_rank       1"
expect 0 bare $elastic muster run --insecure --dry-run --hostname j-worker-1 -- true
mentions "world: up to 6 ranks on 1 to 3 nodes (scheme pet), 2 here (environment), this is node 1"
expect 0 bare $elastic muster run --insecure --dry-run --json --hostname j-worker-1 --spares 2 -- true
mentions '"nodes": 3' '"nodes_min": 1' '"spares": 2'
expect 64 bare $elastic muster run -n 6 --insecure --dry-run --hostname j-worker-1 -- true
mentions "counts the ranks of a fixed world"

say "a pod's folder of host lists"
mkdir -p "$work/root/etc/volcano"
printf 'j-master-0.j\n' >"$work/root/etc/volcano/master.host"
printf 'j-big-0.j\nj-big-1.j\n' >"$work/root/etc/volcano/big.host"
expect 0 bare VC_TASK_INDEX=1 muster env --json --root "$work/root" --hostname j-big-1 --local-gpus 2
mentions '"world_size": 6' '"node_rank": 2' '"master_addr": "j-master-0.j"' '"role": "big"'
expect 78 bare VC_TASK_INDEX=1 muster env --json --root "$work/root" --hostname j-small-1

say "muster run in modes where there is nothing to start"
expect 78 bare K_MPI_JOB_ROLE=worker muster run -- true
mentions "let its launcher start ranks here"
expect 78 bare PET_NNODES=1:3 PET_RDZV_ENDPOINT=h:1 muster run -- true
mentions "1 to 3 nodes"
expect 78 bare JOB_COMPLETION_INDEX=0 muster run -- true
mentions "MST_NNODES"

say "a pod beside the world runs its program alone, with what its operator said"
cluster='{"cluster":{"worker":["a:1","c:1"],"ps":["b:1"]},"task":{"type":"ps","index":0}}'
beside() { bare TF_CONFIG="$cluster" DMLC_NUM_WORKER=2 "$@"; }
expect 0 beside muster run -- env
mentions 'role="ps"' MST_WORLD=single "TF_CONFIG=$cluster" DMLC_NUM_WORKER=2
! grep -E '(^|[] ])(RANK|MST_RANK|MST_PAGE_FD|WORLD_SIZE)=' "$work/last.out" || fail "it was told of a world"
expect 0 beside muster run --nproc 4 --rdzv-timeout 9 -- allreduce
mentions "OK on 1 ranks" 'there are no ranks here: these options do nothing" options="--nproc, --rdzv-timeout"'
expect 0 beside muster run --mpi=pmix -- true
mentions 'options="--mpi"'
expect 5 beside muster run --max-restarts 0 -- sh -c 'exit 5'
mentions 'because="exit code 5"'
expect 0 beside muster run --max-restarts 1 -- sh -c '[ -e "$0" ] || { touch "$0"; exit 5; }' "$work/again"
expect 0 beside muster run --dry-run -- true
mentions "beside the world: ps (scheme tfjob), one program" "rank 0: MST_WORLD=single"
expect 0 beside muster env --check --json
mentions '"mode": "no_collective"' '"refused": null'
mkfifo "$work/fifo"
env -i PATH="$PATH" TF_CONFIG="$cluster" muster run -- \
    sh -c 'trap "exit 0" TERM; echo "up $$"; read -r _ <"$0"' "$work/fifo" >"$work/job.out" 2>&1 &
job=$!
until_true grep -q "up [0-9]" "$work/job.out"
kill -TERM "$job"
ended 143 "$job" job
! pgrep -f "$work/fifo" || fail "the program lives on"

say "a misspelt role is no pod beside the world"
misspelt() { bare TF_CONFIG="${cluster/\"ps\",/\"wroker\",}" "$@"; }
expect 78 misspelt muster run -- true
mentions 'task.type is \"wroker\", and this job knows worker, ps, evaluator: correct it'
expect 78 misspelt muster env --check
! misspelt allreduce >"$work/last.out" 2>&1 || fail "it trained alone"
mentions 'task.type is "wroker"'

say "a rank of another launcher stays one"
expect 3 bare RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 muster run -- sh -c '[ $RANK = 1 ] && exit 3'
expect 0 bare RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 muster run --log-dir "$work/logs" -- true
mentions 'these options do nothing" options="--log-dir"'
expect 0 bare RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 muster run --max-restarts 0 --prefix x -- true
mentions 'options="--max-restarts, --prefix"'
expect 0 bare PMI_RANK=1 PMI_SIZE=2 PET_NNODES=2 RANK=0 MASTER_ADDR=m muster run -- env
mentions RANK=1 WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 HOROVOD_SIZE=2 PADDLE_TRAINER_ID=1 MST_FROM=pmi1 \
    JAX_PROCESS_ID=1 DMLC_NUM_WORKER=2
expect 127 bare PMI_RANK=0 PMI_SIZE=2 muster run -- "$work/absent"
expect 0 bare OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 muster run --dry-run -- true
mentions "rank 0 already, by ompi"

real() { # MPI LAUNCHER …: two ranks of it, which muster run does not multiply
    local mpi=$1
    shift
    command -v "$1" >/dev/null || { say "no $1 here"; return 0; }
    say "ranks of the real $1"
    expect 0 bare "$@" -n 2 muster run -- sh -c 'muster env; echo one of them'
    [ "$(grep -c '^mode  *rank$' "$work/last.out")" = 2 ] || fail "not two ranks"
    [ "$(grep -c '^one of them$' "$work/last.out")" = 2 ] || fail "not two programs"
    mentions "world_size      2" "local_rank      0" "local_rank      1"
    [ -e "$(dirname "$library")/libmuster-mpi-$mpi.so" ] || return 0
    say "whose program meets the others by MPI, which variables of others do not hide"
    expect 0 bare "$@" -n 2 muster run -- allreduce
    mentions "OK on 2 ranks"
}
library=$(ldd "$(command -v allreduce)" | awk '/libmuster-comm\.so/ { print $3 }')
real openmpi mpirun.openmpi --allow-run-as-root --oversubscribe
real mpich mpiexec.hydra

say "a rank of muster run stays one too"
expect 0 bare muster run --nproc 2 -- muster run -- sh -c 'echo $RANK of $WORLD_SIZE'
mentions "0 of 2" "1 of 2"
no_leftovers
