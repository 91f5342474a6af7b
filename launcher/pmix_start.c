#include "muster/launcher/pmix_start.h"

#include "muster/core/file.h"
#include "muster/core/scratch.h"
#include "muster/core/version.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/pmix/fds.h"
#include "muster/launcher/rankenv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NAME "muster-pmix"

/* What muster-pmix is called with. */
struct words {
    char name[sizeof NAME], version[32], folder[64], remove[sizeof PMIX_REMOVE];
    char *argv[5];
};

static void say(struct words *words, const struct rankenv_facts *facts, bool do_remove)
{
    *words = (struct words){.name = NAME, .remove = PMIX_REMOVE};
    (void)snprintf(words->version, sizeof words->version, "%s", mst_version());
    (void)snprintf(words->folder, sizeof words->folder, NAME "-%016" PRIx64 "-%" PRIu32 "-%" PRIu32,
                   facts->job_nonce, facts->generation, facts->node);
    char *argv[] = {words->name, words->version, words->folder, do_remove ? words->remove : NULL,
                    NULL};
    for (size_t i = 0; i < sizeof argv / sizeof *argv; i++)
        words->argv[i] = argv[i];
}

/* Of the user's environment it gets this only: what a library of PMIx would take from that is for
 * the ranks'. */
static void say_place(char *place, size_t cap)
{
    (void)snprintf(place, cap, "TMPDIR=%s", mst_scratch_dir()); /* one that is cut is none */
}

/* ---- who clears up --------------------------------------------------------------------------- */

static _Noreturn void tidy(const char *program, const struct rankenv_facts *facts, int life_fd)
{
    struct words words;
    char byte, place[4096], *env[] = {place, NULL};
    (void)setsid(); /* cannot fail for a new process: a SIGKILL to the agent's group passes it by */
    helper_begin("muster-tidy", &life_fd, 1);
    if (read(STDIN_FILENO, &byte, sizeof byte) > 0)
        _exit(0); /* muster-pmix has done it */
    say(&words, facts, true);
    say_place(place, sizeof place);
    execve(program, words.argv, env);
    _exit(exitcode_of_exec(errno));
}

int pmix_open(struct pmix_process *ret_process, const char *program,
              const struct rankenv_facts *facts)
{
    int fds[2];
    *ret_process = (struct pmix_process){.life_fd = -1};
    if (pipe2(fds, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        tidy(program, facts, fds[0]);
    int rc = pid < 0 ? -errno : 0;
    mst_file_close(&fds[0]);
    if (rc)
        mst_file_close(&fds[1]);
    else
        *ret_process = (struct pmix_process){.tidy_pid = pid, .life_fd = fds[1]};
    return rc;
}

void pmix_close(struct pmix_process *process)
{
    if (process->tidy_pid)
        mst_file_close(&process->life_fd);
}

/* ---- muster-pmix ----------------------------------------------------------------------------- */

/* It is told who the node's first rank is. Job-level data goes to the ranks by their connections,
 * and lies in no file. */
static int lay_out(struct rankenv *env, const struct rankenv_facts *facts, char *place, size_t cap)
{
    static char store[] = "PMIX_MCA_gds=hash";
    struct rankenv_facts its = *facts;
    its.secret_fd = PMIX_SECRET_FD;
    its.page_fd = its.shm_fd = -1;
    say_place(place, cap);
    return rankenv_init_contract(env, (char *[]){place, store, NULL}, &its);
}

/* As fds.h has them. */
static int source_of(size_t at, const struct pmix_process *process,
                     const struct rankenv_facts *facts, const int *theirs)
{
    switch (at) {
    case 0: return theirs[0];
    case 1:
    case 2: return STDERR_FILENO;
    case PMIX_SECRET_FD: return facts->secret_fd;
    case PMIX_LIFE_FD: return process->life_fd;
    default: return theirs[1 + at - PMIX_FIRST_RANK_FD];
    }
}

/* Behind all the descriptors that they will be, their numbers ascend. It has something to clear up
 * when the agent dies, and hears of that by descriptor 0. */
_Noreturn void pmix_become(const struct pmix_process *process, const char *program,
                           const struct rankenv_facts *facts, const int *theirs)
{
    char place[4096];
    struct rankenv env;
    struct words words;
    size_t count = PMIX_FIRST_RANK_FD + facts->local_size;
    int *fds = malloc(count * sizeof *fds), above = (int)count;
    for (size_t i = 0; fds && i < count; i++) {
        fds[i] = fcntl(source_of(i, process, facts, theirs), F_DUPFD, above);
        if (fds[i] < 0)
            _exit(EXITCODE_INTERNAL);
        above = fds[i] + 1;
    }
    if (!fds || lay_out(&env, facts, place, sizeof place))
        _exit(EXITCODE_INTERNAL);
    helper_begin(NAME, fds, count);
    say(&words, facts, false);
    execve(program, words.argv, env.vars);
    _exit(exitcode_of_exec(errno));
}
