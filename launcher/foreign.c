/* pure */
#include "muster/launcher/foreign.h"

#include <stddef.h>

#define NO_EQUIVALENT "there is nothing like it here: leave it out"

const struct option_foreign foreign_options[] = {
    /* where */
    {"--hostfile --machinefile --default-hostfile --host --hosts --machine -H -f -w --nodelist "
     "--include --exclude --configfile --app --rankfile -rf --localhost",
     "start muster run on each host, with --nnodes, --node-rank and --rdzv"},
    {"--num-nodes --num-machines", "see --nnodes"},
    {"--machine-rank", "see --node-rank"},
    {"--main-process-ip", "see --master-addr"},
    {"--main-process-port", "see --master-port"},
    {"--local-addr --iface --node-ip",
     "other nodes reach this one by the address that it dials node 0 from: leave it out"},
    {"--port-range", "see --rdzv: its port is the only one that others must know"},
    {"--rdzv-backend", "there is one rendezvous: leave it out"},
    {"--rdzv-conf", "see --rdzv-timeout and --peer-timeout"},
    {"--launcher --launcher-exec --bootstrap --bootstrap-exec --rmk --launch-agent --rsh --ssh "
     "--ompi-server --dvm --personality",
     "no other host is dialled to start ranks there: start muster run on each host"},

    /* how many */
    {"--ppn --perhost --npernode --ntasks-per-node --tasks-per-node --num-gpus --gpus-per-node",
     "see --nproc"},
    {"-N", "see --nproc (ranks on a node), or --nnodes (nodes)"},
    {"-c --n --ntasks --num-processes", "see --np"},
    {"--pernode", "write --nproc 1"},
    {"--npersocket --map-by --rank-by --bynode --byslot --bysocket --order-nodes --rr --grr "
     "--slot-list --distribution",
     "ranks are numbered node by node: leave it out, or see --nproc"},
    {"--oversubscribe --nooversubscribe --overload-allowed",
     "any number of ranks is started: leave it out"},
    {"--usize --nousize --nolocal --skip-launch-node", NO_EQUIVALENT},

    /* what */
    {"--module -m", "write python -m MODULE as the program"},
    {"--no-python --run-path --start-method", "programs are started as they are: leave it out"},
    {"--role", "there is one kind of ranks: leave it out"},
    {"--virtual-local-rank", "each rank sees all GPUs and takes that of LOCAL_RANK: leave it out"},
    {"--wdir --wd -wd --chdir -D --set-cwd-to-session-dir",
     "ranks start in this folder: cd there before"},
    {"--path", "a program is looked for in PATH: set that"},
    {"--genv --env --envlist --genvlist --export-env", "see --export"},
    {"--genvall --envall", "ranks inherit every variable: leave it out"},
    {"--genvnone --envnone", "ranks inherit every variable: start muster run by env -i"},
    {"--mca --gmca --omca --pmixmca --prtemca --am --tune",
     "ranks are connected by no MPI: leave it out"},
    {"--preload-binary --preload-files -s", "nothing is copied: the program must be on each host"},

    /* care */
    {"--monitor-interval", "deaths are seen at once: leave it out"},
    {"--signals-to-handle", "see --term, and muster(1) on signals"},
    {"--event-log-handler --logs-specs", "see --log-format"},
    {"--timeout", "nothing limits the whole job: start muster run by timeout -s TERM S"},
    {"--enable-recovery --disable-recovery --continuous --disable-auto-cleanup --dac "
     "--silent-abort",
     "see --max-restarts"},
    {"--ckpoint-interval --ckpoint-prefix --ckpointlib", "see SIGUSR1 in muster(1)"},
    {"--bind-to --bind-to-core --bind-to-socket --bind-to-none --cpu-bind --membind "
     "--numa-binding --cpus-per-proc --cpus-per-rank --cpus-per-task --use-hwthread-cpus "
     "--cpu-set --gpus-per-proc --gpus --gpu-bind",
     "see --bind"},
    {"--display-map --display-allocation --display --print-rank-map --do-not-launch --info",
     "see --dry-run and --report-bindings"},
    {"--allow-run-as-root", "any user may: leave it out"},

    /* output */
    {"--tee -t", "output goes to the terminal and, with --log-dir, to files: leave it out"},
    {"--redirects -r --output-filename --output --outfile-pattern --errfile-pattern --outfile "
     "--errfile",
     "see --log-dir"},
    {"--local-ranks-filter --duplicate-stdout-filters --duplicate-stderr-filters",
     "see --raw and --log-dir"},
    {"--tag-output -l --label --prepend-rank",
     "each line has its rank in front: leave it out, or see --prefix"},
    {"--prepend-pattern", "see --prefix"},
    {"--timestamp-output", "see --prefix, with %t"},
    {"--merge-stderr-to-stdout", "write 2>&1 behind the command"},
    {"--stream-buffering --demux", "lines go out at once: leave it out"},
    {"--verbose -v --debug-devel --debug-daemons -d --report-pid --report-uri --show-progress "
     "--print-all-exitcodes",
     "see --log-level, and muster status"},
    {"--quiet -q", "write --log-level error"},
    {"-V", "see --version"},
    {"--xml", "see --log-format json"},
    {"--tv --debug --debugger --get-stack-traces --report-state-on-timeout",
     "SIGQUIT to muster run logs where each rank stands"},
    {NULL, NULL},
};
