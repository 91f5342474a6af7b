#include "muster/launcher/foreign.h"
#include "muster/launcher/opts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/err.h"

/* What opts_read fills is bigger, and starts with zeros as well. */
static _Alignas(64) char place[1 << 16];
static struct mst_err err;

/* What `muster run WORD 1 p` says; "" if it is understood. */
static const char *answer(const char *word)
{
    char text[64], value[] = "1", program[] = "p";
    char *argv[] = {program, text, value, program, NULL};
    struct command_line line;
    (void)snprintf(text, sizeof text, "%s", word); /* they are short */
    memset(place, 0, sizeof place);
    err = (struct mst_err){0};
    (void)options_parse(&run_options, 4, argv, place, &line, &err); /* it has the error */
    return err.text;
}

/* The options of torchrun 2.9 and what people use of mpirun (Open MPI 4 and 5, Hydra): each is
 * understood, or it is said what is to be done. */
static void test_no_option_of_others_is_unknown(void **state)
{
    (void)state;
    static const char *const others[] = {"--nnodes",
                                         "--nproc-per-node",
                                         "--rdzv-backend",
                                         "--rdzv-endpoint",
                                         "--rdzv-id",
                                         "--rdzv-conf",
                                         "--standalone",
                                         "--max-restarts",
                                         "--monitor-interval",
                                         "--start-method",
                                         "--event-log-handler",
                                         "--role",
                                         "-m",
                                         "--module",
                                         "--no-python",
                                         "--run-path",
                                         "--log-dir",
                                         "-r",
                                         "--redirects",
                                         "-t",
                                         "--tee",
                                         "--local-ranks-filter",
                                         "--node-rank",
                                         "--master-addr",
                                         "--master-port",
                                         "--local-addr",
                                         "--logs-specs",
                                         "--numa-binding",
                                         "--signals-to-handle",
                                         "--virtual-local-rank",
                                         "--duplicate-stdout-filters",
                                         "--duplicate-stderr-filters",
                                         "--nproc_per_node",
                                         "--local_addr",
                                         "-n",
                                         "-np",
                                         "--np",
                                         "-c",
                                         "-N",
                                         "-npernode",
                                         "--npernode",
                                         "--npersocket",
                                         "--pernode",
                                         "--map-by",
                                         "--rank-by",
                                         "--bind-to",
                                         "-bind-to",
                                         "--host",
                                         "-host",
                                         "-H",
                                         "--hostfile",
                                         "-hostfile",
                                         "--machinefile",
                                         "-machinefile",
                                         "--rankfile",
                                         "-x",
                                         "--mca",
                                         "-mca",
                                         "--wdir",
                                         "-wdir",
                                         "-wd",
                                         "--path",
                                         "--prefix",
                                         "--output-filename",
                                         "--output",
                                         "--tag-output",
                                         "--timestamp-output",
                                         "--merge-stderr-to-stdout",
                                         "--xml",
                                         "--timeout",
                                         "--report-bindings",
                                         "--report-uri",
                                         "--display-map",
                                         "--oversubscribe",
                                         "--nooversubscribe",
                                         "--allow-run-as-root",
                                         "--nolocal",
                                         "-q",
                                         "--quiet",
                                         "-v",
                                         "--verbose",
                                         "-V",
                                         "-d",
                                         "-s",
                                         "--tune",
                                         "--am",
                                         "--app",
                                         "--preload-binary",
                                         "--use-hwthread-cpus",
                                         "--cpus-per-proc",
                                         "--personality",
                                         "--launch-agent",
                                         "-f",
                                         "-hosts",
                                         "-ppn",
                                         "-perhost",
                                         "-rr",
                                         "-env",
                                         "-genv",
                                         "-envlist",
                                         "-genvlist",
                                         "-envall",
                                         "-genvall",
                                         "-envnone",
                                         "-genvnone",
                                         "-configfile",
                                         "-launcher",
                                         "-rmk",
                                         "-iface",
                                         "-membind",
                                         "-l",
                                         "-prepend-rank",
                                         "-prepend-pattern",
                                         "-outfile-pattern",
                                         "-errfile-pattern",
                                         "-order-nodes",
                                         "-usize",
                                         "-print-all-exitcodes",
                                         "-info",
                                         "-disable-auto-cleanup",
                                         "-gpus-per-proc",
                                         "-localhost",
                                         "--ntasks",
                                         "--ntasks-per-node",
                                         "--num_processes",
                                         "--num_machines",
                                         "--machine_rank",
                                         "--main_process_ip",
                                         "--main_process_port",
                                         "--num_gpus",
                                         "--num_nodes"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strstr(answer(others[i]), "unknown option"))
            fail_msg("%s", err.text);
    }
}

/* A row that says what an option of ours would, is never reached. */
static void test_no_row_hides_an_option(void **state)
{
    (void)state;
    char word[64];
    for (const struct option_foreign *row = foreign_options; row->words; row++) {
        size_t size;
        for (const char *words = row->words; *words; words += size + (words[size] == ' ')) {
            size = strcspn(words, " ");
            (void)snprintf(word, sizeof word, "%.*s", (int)size, words); /* they are short */
            const char *text = answer(word);
            if (strncmp(text, word, size) != 0 || strcmp(text + size + 2, row->advice) != 0)
                fail_msg("%s: \"%s\"", word, text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_option_of_others_is_unknown),
        cmocka_unit_test(test_no_row_hides_an_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
