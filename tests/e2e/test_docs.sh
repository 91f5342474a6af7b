#!/bin/bash
# What the pages say is true: every command that they show is run, in a folder that has what it
# names, and the table below and the pages hold the same commands; blocks of code are compiled, and
# README.md's loop is examples/loop.c; options, programs, libraries and tests that they name are there.
source "$(dirname "$0")/lib.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
root=$(cd "$here/../.." && pwd)
cd "$root"
[ "$MUSTER_BIN" -ef build/bin ] || skip "the pages speak of the programs in build/bin: make build"
pages=(README.md */README.md launcher/man/*.[1-8] perf/*.1 dataio/tool/*.1 ckpt/tool/*.1)
"$here/documented.py" commands "${pages[@]}" >"$work/commands"
"$here/documented.py" inline "${pages[@]}" >"$work/inline"
grep -q "^README.md" "$work/commands" || fail "no commands in README.md"

# ---- how a command is run ------------------------------------------------------------------------

# What is not here, or is too large, and what stands in for it.
swaps=(10.0.0.1:29500 127.0.0.1:29513 head:29500 127.0.0.1:29513 PREFIX=/usr/local "PREFIX=$work/prefix"
    "--last-call 10" "--last-call 1" "-e 64M" "-e 64K" "-e 16M" "-e 64K" "-b 1M -e 1M" "-b 1K -e 1K"
    "--steps 900 --ckpt-every 100" "--steps 1000000 --ckpt-every 5"
    "gcide.dict.dz ck 5000" "gcide.dict.dz ck 300" "--steps 2000" "--steps 200"
    "--steps 300 --ckpt-every 100" "--steps 6 --ckpt-every 3"
    "--steps 300 --optimizer" "--steps 6 --optimizer" "--steps 300 --grad-dtype" "--steps 6 --grad-dtype")
folder=$work/scratch # where the next one is run

here_is() { # COMMAND: as it can be run here
    local command=$1 i
    for ((i = 0; i < ${#swaps[@]}; i += 2)); do
        command=${command//"${swaps[i]}"/"${swaps[i + 1]}"}
    done
    echo "$command"
}
# told PAGE COMMAND: the table knows that the page has it.
told() {
    grep -qxF -- "$1	$2" "$work/commands" || fail "$1 does not show: $2"
    echo "$1	$2" >>"$work/told"
}
does() { (cd "$folder" && exec bash -c "$(here_is "$1")"); }
# runs PAGE CODE COMMAND TEXT …: it ends with the code and says the texts.
runs() {
    told "$1" "$3"
    expect "$2" does "$3"
    mentions "${@:4}"
}
# begins PAGE COMMAND, ends CODE TEXT …: the same in the background, its pid in $job.
begins() {
    told "$1" "$2"
    (cd "$folder" && exec bash -c "$(here_is "$2")") >"$work/job.out" 2>&1 &
    job=$!
}
ends() {
    ended "$1" $job job
    [ $# = 1 ] || mentions "${@:2}"
}
# by PAGE TEST WORDS COMMAND: too much for here; the test runs it, in these words.
by() {
    told "$1" "$4"
    grep -qF -- "$3" "$here/$2" || fail "$2 does not run: $4"
}
# of_make PAGE COMMAND: a target that `make help` lists. They are what CI runs.
of_make() {
    local target=${2#make }
    told "$1" "$2"
    is_target "${target%% *}" || fail "make help does not list ${target%% *}"
}
make help >"$work/help"
is_target() { grep -q "^$1 " "$work/help"; }

# ---- the folder ----------------------------------------------------------------------------------

mkdir -p "$folder/build" "$folder/corpus" "$work/stubs"
ln -s "$MUSTER_BIN" "$folder/build/bin"
some_text 200000 "$folder/text"
gzip "$folder/text"
head -c 300000 /dev/urandom >"$folder/corpus/tokens"
printf '#!/bin/sh\n# A user'\''s program.\nexec loop text.gz ckpt.train "${2:-300}"\n' >"$folder/train"
chmod +x "$folder/train"
cmake --install build/release --prefix "$work/prefix" >"$work/install.out"
export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig

# What needs a cluster is done by stand-ins, which look at the files that they are given.
for program in docker kubectl kustomize; do
    cat >"$work/stubs/$program" <<'SH'
#!/bin/bash
echo "$(basename "$0") $*" >>"$STUBS/done"
for word; do
    [[ $word != *.yaml && $word != */Dockerfile ]] || [ -f "$word" ] || { echo "no $word"; exit 1; }
    [ "$before" != -k ] || [ -f "$word/kustomization.yaml" ] || { echo "no kustomization in $word"; exit 1; }
    before=$word
done
SH
    chmod +x "$work/stubs/$program"
done

# Launchers that need a cluster, or PyTorch: they start ranks, as many as the real ones, in the real
# ones' variables, all of them here.
cat >"$work/stubs/srun" <<'SH'
#!/bin/bash
nodes=$2 each=$4
for ((rank = 0; rank < nodes * each; rank++)); do
    SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_NNODES=$nodes SLURM_NTASKS=$((nodes * each)) SLURM_PROCID=$rank \
        SLURM_TASKS_PER_NODE="$each(x$nodes)" SLURM_NODEID=$((rank / each)) SLURM_LOCALID=$((rank % each)) \
        SLURM_JOB_NODELIST=localhost,127.0.0.1 "${@:5}" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
SH
cat >"$work/stubs/torchrun" <<'SH'
#!/bin/bash
declare -A given=([nnodes]=1 [node-rank]=0 [master-addr]=127.0.0.1)
while [ "$1" != --no-python ]; do
    given[${1#--}]=$2
    shift 2
done
shift
each=${given[nproc-per-node]}
for ((local = 0; local < each; local++)); do
    RANK=$((given[node-rank] * each + local)) LOCAL_RANK=$local WORLD_SIZE=$((given[nnodes] * each)) \
        LOCAL_WORLD_SIZE=$each GROUP_RANK=${given[node-rank]} MASTER_ADDR=${given[master-addr]} \
        MASTER_PORT=${given[master-port]} TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=0 "$@" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
SH
chmod +x "$work/stubs/srun" "$work/stubs/torchrun"

# ---- the table -----------------------------------------------------------------------------------

say "make"
of_make README.md "make demo"
of_make README.md "make test"
of_make README.md "make install PREFIX=/usr/local"
of_make examples/README.md "make build"
of_make perf/README.md "make build"
of_make perf/README.md "make deps-peers"
of_make perf/README.md "make bench"
of_make k8s-manifests/README.md "make cluster"
of_make k8s-manifests/README.md "make test-cluster"
of_make k8s-manifests/README.md "make cluster-down"

say "ranks on a node, and on two"
runs README.md 0 "muster run --nproc 4 -- build/bin/allreduce" "allreduce: OK on 4 ranks"
begins README.md "muster run --nnodes 2 --node-rank 0 --rdzv 10.0.0.1:29500 --nproc 4 -- build/bin/allreduce"
runs README.md 0 "muster run --nnodes 2 --node-rank 1 --rdzv 10.0.0.1:29500 --nproc 4 -- build/bin/allreduce"
ends 0 "allreduce: OK on 8 ranks"
runs launcher/man/muster.1 0 "muster run -- ./train --steps 1000" "final step=1000 "
rm -r "$folder/ckpt.train"
(cd "$folder" && exec muster run --nnodes 2 --node-rank 0 --rdzv 127.0.0.1:29513 -- ./train) >"$work/job.out" 2>&1 &
job=$!
runs launcher/man/muster.1 0 "muster run --nnodes 2 --node-rank 1 --rdzv head:29500 -- ./train"
ends 0 "final step=300 "

say "nodes that may come and go"
runs README.md 0 "muster run --nnodes 1:3 --node-rank 0 --rdzv 10.0.0.1:29500 --last-call 1 -- build/bin/train_lm --data text.gz --ckpt ckpt.1to3 --steps 200" \
    "last call for the others" "final step=200 "
rm -r "$folder/ckpt.train"
runs launcher/man/muster.1 0 "muster run --nnodes 1:3 --node-rank 0 --rdzv head:29500 --last-call 10 -- ./train" \
    "starts_in_s=1.0" "final step=300 "

say "preempted and resumed"
saved() { compgen -G "$folder/ckpt/step_*/MANIFEST.json"; }
begins README.md \
    "muster run --nproc 2 --grace 30 -- train_lm --data text.gz --ckpt ckpt --steps 900 --ckpt-every 100"
until_true saved
kill -TERM $job
ends 143
last=$(($(muster ckpt ls "$folder/ckpt" | awk 'NR == 2 { print $1 }') + 10))
swaps+=("--steps 900" "--steps $last")
runs README.md 0 "muster run --nproc 3 -- train_lm --data text.gz --ckpt ckpt --steps 900" \
    "saved by 2 ranks, now 3" "final step=$last "
runs README.md 0 "muster ckpt ls ckpt" " $last "
runs README.md 0 "muster ckpt verify ckpt"

say "examples"
runs examples/README.md 0 "build/bin/muster run --nproc 4 -- build/bin/allreduce" "allreduce: OK on 4 ranks"
runs examples/README.md 0 "build/bin/allreduce" "allreduce: OK on 1 ranks"
runs examples/README.md 0 \
    "build/bin/muster run --nproc 2 -- build/bin/loop /usr/share/dictd/gcide.dict.dz ck 5000" "final step=300 loss="
runs examples/README.md 0 "build/bin/muster run --nproc 2 -- build/bin/resume --ckpt ck.resume --steps 2000" \
    "final step=200 value="
runs examples/README.md 0 \
    "build/bin/muster run --nproc 2 -- build/bin/train_lm --data /usr/share/dictd/gcide.dict.dz --ckpt ck.lm --steps 300 --ckpt-every 100" \
    "final step=6 "
runs examples/README.md 0 \
    "build/bin/muster run --nproc 2 -- build/bin/train_lm --data /usr/share/dictd/gcide.dict.dz --ckpt ck.adamw --steps 300 --optimizer adamw" \
    "final step=6 "
runs examples/README.md 0 \
    "build/bin/muster run --nproc 2 -- build/bin/train_lm --data /usr/share/dictd/gcide.dict.dz --ckpt ck.bf16 --steps 300 --grad-dtype bf16 --micro-batches 4" \
    "final step=6 "

say "muster bench"
right="Out of bounds values : 0 OK"
for page in README.md perf/muster-bench.1; do
    runs $page 0 "muster bench allreduce --nproc 2 -b 8 -e 64M -f 4" "$right"
done
runs perf/muster-bench.1 0 "muster bench allreduce --nproc 4 -b 1M -e 1M -d all" "$right" bfloat16
runs perf/README.md 0 "build/bin/muster bench allreduce --nproc 2 -b 8 -e 64M -f 4 -n 20 -w 5" "$right"

say "over an MPI"
over_mpi=(README.md "MST_COMM=mpi mpirun -n 2 muster-bench allreduce -b 8 -e 16M -f 4" "$right"
    perf/muster-bench.1 "MST_COMM=mpi mpirun -n 2 muster-bench allreduce -b 8 -e 16M -f 4" "$right"
    examples/README.md "mpirun -n 4 build/bin/allreduce" "allreduce: OK on 4 ranks")
for ((i = 0; i < ${#over_mpi[@]}; i += 3)); do
    if command -v mpirun >/dev/null && compgen -G "$work/prefix/lib/libmuster-mpi-*.so" >/dev/null; then
        runs "${over_mpi[i]}" 0 "${over_mpi[@]:i + 1:2}"
    else
        told "${over_mpi[@]:i:2}"
        lacks "no MPI"
    fi
done

say "measurements"
folder=$root
runs perf/README.md 0 "perf/against --help" "perf/against [--json | --markdown] REV SUITE"
by perf/README.md test_against.sh '"$against" HEAD all' "perf/against main~20 launch comm"
by perf/README.md test_against.sh '"$against" --json HEAD launch' "perf/against --json v0.1 all"
by perf/README.md test_against.sh '"$against" --markdown --record "$OUT/record"' \
    "perf/against --markdown --record build/against/record"
by examples/README.md test_torch.sh 'muster run --nproc 2 -- "$python" examples/torch_tensor.py' \
    "LD_LIBRARY_PATH=build/lib build/bin/muster run --nproc 2 -- python3 examples/torch_tensor.py ck.torch"
by perf/README.md test_first_light.sh '"$light" --carry "$work/carried"' \
    "perf/gpu/first-light --carry DIR"
by perf/README.md test_first_light.sh '"$light" --carried "$work/carried"' \
    "perf/gpu/first-light --carried DIR"
by perf/README.md test_first_light.sh '"$light" --fake --out "$work/out"' \
    "perf/gpu/first-light --fake"

say "the cluster's, by stand-ins"
export STUBS=$work/stubs
PATH=$STUBS:$PATH
runs k8s-manifests/README.md 0 \
    "docker build -f k8s-manifests/Dockerfile -t REGISTRY/muster:0.1 . && docker push REGISTRY/muster:0.1"
folder=$root
runs k8s-manifests/README.md 0 "(cd k8s-manifests/image && kustomize edit set image muster=REGISTRY/muster:0.1)"
runs k8s-manifests/README.md 0 \
    'kubectl create secret generic muster-lm-indexed-secret --from-literal=secret="$(openssl rand -hex 32)"'
runs k8s-manifests/README.md 0 "kubectl apply -k k8s-manifests/overlays/indexedjob"
grep -qE '^kubectl .*=secret=[0-9a-f]{64}$' "$STUBS/done" || fail "no secret"
grep -qF "secretName: muster-lm-indexed-secret" k8s-manifests/overlays/indexedjob/job.yaml ||
    fail "nobody mounts the secret"
grep -qx "  - name: muster" k8s-manifests/image/kustomization.yaml || fail "no image muster to be set"
folder=$work/scratch
swaps+=("--master-addr 10.0.0.1" "--master-addr 127.0.0.1")
runs README.md 0 "torchrun --nproc-per-node 4 --master-port 29501 --no-python build/bin/allreduce" \
    "allreduce: OK on 4 ranks"
two_nodes="torchrun --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 --master-port 29501"
begins README.md "$two_nodes --nproc-per-node 4 --no-python build/bin/allreduce"
expect 0 does "${two_nodes/rank 0/rank 1} --nproc-per-node 4 --no-python build/bin/allreduce"
ends 0 "allreduce: OK on 8 ranks"
runs README.md 0 "srun --nodes 2 --ntasks-per-node 4 build/bin/allreduce" "allreduce: OK on 8 ranks"
PATH=${PATH#"$STUBS:"}

say "the loop is examples/loop.c, and is compiled and found as README.md says"
"$here/documented.py" block README.md c >"$work/loop.part"
sed '1,/README.md shows from here/d; /… to here. \*\//,$d' examples/loop.c | sed '${/^$/d}' >"$work/loop.source"
diff "$work/loop.source" "$work/loop.part" || fail "README.md's loop is not that of examples/loop.c"
told README.md "block c"
cp examples/loop.c "$folder/train.c"
runs README.md 0 'cc train.c $(pkg-config --cflags --libs muster)'
expect 0 env LD_LIBRARY_PATH="$work/prefix/lib" "$folder/a.out" "$folder/text.gz" "$folder/a.ckpt" 10
mentions "final step=10 "
runs README.md 0 'cc train.c $(pkg-config --cflags --libs muster-static)'
expect 0 "$folder/a.out" "$folder/text.gz" "$folder/b.ckpt" 10
told README.md "block cmake"
mkdir "$folder/project"
cp examples/loop.c "$folder/project/train.c"
{
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(train C)\n'
    "$here/documented.py" block README.md cmake
} >"$folder/project/CMakeLists.txt"
expect 0 cmake -S "$folder/project" -B "$folder/project/build" -DCMAKE_PREFIX_PATH="$work/prefix"
expect 0 cmake --build "$folder/project/build"
expect 0 "$folder/project/build/train" "$folder/text.gz" "$folder/a.ckpt" 20
mentions "resumed at step 10" "final step=20 "
told README.md "block dockerfile"
copied=$("$here/documented.py" block README.md dockerfile | awk '$1 == "COPY" { print $2 }')
grep -qF "\$portable/${copied#build/portable/}\" --version" "$here/test_portable.sh" || fail "nobody makes $copied"

say "datasets and checkpoints"
runs dataio/tool/muster-data.1 0 "muster data index /usr/share/dictd/gcide.dict.dz --elems 65 --stride 64" \
    samples fingerprint
runs dataio/tool/muster-data.1 0 "muster data verify corpus/ --elems 2049 --stride 2048" "corpus/tokens: ok"
told dataio/tool/muster-data.1 "block 1"
"$here/documented.py" block dataio/tool/muster-data.1 1 >"$folder/a.dataset.json"
cp "$folder/text.gz" "$folder/a.txt.gz"
export AWS_ENDPOINT_URL=http://127.0.0.1:1 AWS_ACCESS_KEY_ID=k AWS_SECRET_ACCESS_KEY=s
(cd "$folder" && expect 0 muster data ls a.dataset.json) # s3://b is away, its mirror beside is there
mentions a.txt.gz
lm() { # CKPT
    muster run --nproc 1 -- train_lm --data "$folder/text.gz" --batch 1 --steps 400 --ckpt-every 400 --ckpt "$1"
}
expect 0 lm "$folder/run"
runs ckpt/tool/muster-ckpt.1 0 "muster ckpt verify run/step_400"
told ckpt/tool/muster-ckpt.1 "block 1"
"$here/documented.py" block ckpt/tool/muster-ckpt.1 1 >"$folder/read.py"
if /usr/bin/python3 -c 'import h5py' 2>/dev/null; then
    (cd "$folder" && expect 0 /usr/bin/python3 read.py)
    mentions "[["
else
    lacks "no h5py"
fi
in_s3="muster ckpt verify s3://bucket/run/step_400"
in_both="muster data verify s3://bucket/corpus/,webhdfs://namenode:9870/corpus/"
told ckpt/tool/muster-ckpt.1 "$in_s3"
told dataio/tool/muster-data.1 "$in_both"

sort -u "$work/commands" >"$work/commands.sorted"
unknown=$(sort -u "$work/told" | comm -13 - "$work/commands.sorted")
[ -z "$unknown" ] || fail "no row of this table runs:
$unknown"

# ---- what is named, and is not a command to type -------------------------------------------------

say "options, subcommands, targets and tests that sentences name"
help_of() { "$MUSTER_BIN/$1" ${2:+"$2"} --help; } # PROGRAM [COMMAND]
help_options() { # PROGRAM [COMMAND]: "--name" and "-n", a line each
    help_of "$@" | sed -nE 's/^ +((-[a-zA-Z]), +)?(--[a-z_-]+)( .*)?$/\2 \3/p' | tr ' ' '\n' | sed '/^$/d' | sort -u
}
for command in run env status; do help_options muster $command; done >"$work/options"
for program in muster-bench muster-data muster-ckpt train_lm; do help_options $program; done >>"$work/options"
has_option() { grep -qxF -- "$1" "$work/options"; }
cut -f2- "$work/inline" | sort -u >"$work/spans"
while read -r span; do
    read -ra words <<<"$span"
    case $span in
    'ctest -R '*)
        pattern=${span#ctest -R }
        pattern=${pattern#\'}
        [ -z "${MUSTER_TESTS:-}" ] || ctest --test-dir "$MUSTER_TESTS/.." -N -R "${pattern%\'}" | grep 'Test *#' >/dev/null ||
            fail "no test is selected by $span"
        ;;
    'make '*) is_target "${words[1]}" || fail "make help does not list what a page names: $span" ;;
    'muster completion '*)
        for word in $(tr '|' ' ' <<<"${words[2]}"); do
            muster completion "$word" | grep muster >/dev/null || fail "no completion: $span"
        done
        ;;
    'muster '[a-z]*)
        muster --help | grep "^  ${words[1]} " >/dev/null || fail "no such command: $span"
        for word in $(tr '|' ' ' <<<"${words[2]:-}"); do
            [[ ! $word =~ ^[a-z]+$ || ${words[1]} =~ ^(run|bench)$ ]] || help_of "muster-${words[1]}" |
                grep "^  $word " >/dev/null || fail "muster ${words[1]} knows no $word: $span"
        done
        ;;
    esac
    # An option that stands alone is one of ours, too.
    [[ $span =~ ^(--|muster|train_lm) && $span != --fmad* ]] || continue # which is nvcc's
    for word in "${words[@]}"; do
        [[ ! $word =~ ^--[a-z] ]] || has_option "${word%%=*}" || fail "no program has $word: $span"
    done
done <"$work/spans"

say "man pages and --help tell the same options"
man_options() { # PAGE WHAT …: those of the lists and synopses that are so called
    local page=$1 what
    shift
    for what in "$@"; do
        "$here/documented.py" options "$page" | sed -n "s/^$what //p"
    done | grep -vx -- -- | sort -u
}
common=$(printf '%s\n' --help --version -h | sort)
same_options() { # NAME LIST LIST
    local difference
    difference=$(diff <(printf '%s\n' "$2" "$common" | sort -u) \
        <(printf '%s\n' "$3" "$common" | sort -u) | grep '^[<>]' || :)
    [ -z "$difference" ] || fail "$1: only the man page (<) or only --help (>) has
$difference"
}
for page in perf/muster-bench.1 dataio/tool/muster-data.1 ckpt/tool/muster-ckpt.1; do
    same_options $page "$(man_options $page list)" "$(help_options "$(basename $page .1)")"
done
page=launcher/man/muster.1
same_options "$page, run" "$(man_options $page list)" "$(help_options muster run)"
same_options "$page, status" "$(man_options $page status)" "$(help_options muster status)"
same_options "$page, env" "$(man_options $page env list | sort -u)" "$(help_options muster env)"

say "programs: each has --help, and 64 for what it does not understand"
mapfile -t installed < <(cd "$work/prefix/bin" && ls)
mapfile -t built < <(cd "$MUSTER_BIN" && ls --ignore='first_light_*') # parts of a script that has it
for program in "${built[@]}"; do
    expect 0 "$MUSTER_BIN/$program" --help
    [ -s "$work/last.out" ] || fail "$program --help says nothing"
    expect 64 "$MUSTER_BIN/$program" --no-such-option
    name=${program%-openmpi}
    name=${name%-mpich}
    if [ -e "$work/prefix/bin/$program" ]; then
        grep -qxF "$program" "$work/spans" || fail "no page names the installed $program"
    else
        grep -qF "\`$name\`" README.md && grep -qF "$name.c" examples/README.md ||
            fail "no page names the example $name"
    fi
done
for command in run env status bench data ckpt; do
    expect 0 "$work/prefix/bin/muster" $command --help
    grep -q "^| \`muster $command" README.md || fail "README.md's commands lack muster $command"
done
for program in $(sed -n '/^It puts down the programs/,/man pages/p' README.md | grep -o '`muster[a-z-]*`' | tr -d '`'); do
    [[ " ${installed[*]} " = *" $program "* ]] || fail "README.md says that $program is installed"
done

say "libraries: what README.md says is installed is, and loads what it says"
awk -F'|' '/^\| `-lmuster` is/ { table = 1; next } table && /^\| `lib/ { print $2 $3 "|" $4 }
    table && !/^\|/ { exit }' README.md | tr -d '`' >"$work/libraries"
[ "$(wc -l <"$work/libraries")" = 4 ] || fail "README.md's table of libraries"
while IFS='|' read -r named loaded; do
    for library in $(grep -oE 'libmuster-[a-z-]+\.so' <<<"$named $loaded"); do
        [ -e "$work/prefix/lib/$library" ] || [[ $library = *-mpi-* ]] || fail "$library is not installed"
    done
    library=$(grep -oE 'libmuster-[a-z]+\.so' <<<"$named" | head -n 1)
    LD_LIBRARY_PATH=$work/prefix/lib ldd "$work/prefix/lib/$library" >"$work/loads"
    for word in $(grep -oE 'lib[a-z0-9-]+|core' <<<"$loaded" | grep -v '^lib$'); do
        grep -qF "${word/#core/libmuster-core}" "$work/loads" || fail "$library does not load $word"
    done
done <"$work/libraries"
for header in $(grep -oE '<muster/[a-z/]+\.h>' README.md | tr -d '<>' | sort -u); do
    [ -e "$work/prefix/include/$header" ] || fail "$header is not installed"
done
no_leftovers

say "S3 and HDFS"
unset AWS_ENDPOINT_URL
source "$here/stores.sh"
start_stores 17370 19400 bucket
swaps+=(namenode:9870 "127.0.0.1:$((HDFS_PORT + 1))")
cp -r "$folder/corpus" "$S3_RUN/root/bucket"
curl -sfL -X PUT -T "$folder/corpus/tokens" -o "$work/put.out" \
    "http://127.0.0.1:$((HDFS_PORT + 1))/webhdfs/v1/corpus/tokens?op=CREATE&user.name=$(id -un)" ||
    fail "HDFS takes no file"
expect 0 does "$in_both"
mentions "s3://bucket/corpus/tokens: ok" "/corpus/tokens: ok"
expect 0 lm s3://bucket/run
expect 0 does "$in_s3"
no_leftovers
passed
