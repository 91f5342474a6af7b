/* pure */
#include "muster/launcher/exitcode.h"

#include "muster/core/cli/options.h"
#include "muster/core/libc.h"
#include "muster/launcher/job.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static_assert(EXITCODE_DRAINED == MST_EXIT_DRAINED, "ranks and agent say drained alike");
static_assert(EXITCODE_SAVE_LOST == MST_EXIT_SAVE_LOST, "ranks and agent say alike what was lost");
static_assert(EXITCODE_USAGE == OPTIONS_EXIT_USAGE, "all programs say wrong usage alike");

static const struct {
    int code;
    const char *meaning;
} meanings[] = {
    {EXITCODE_OK, "finished"},
    {EXITCODE_USAGE, "wrong usage"},
    {EXITCODE_INTERNAL, "the agent ran out of resources, or exit code 70"},
    {EXITCODE_SAVE_LOST, "finished, but the last checkpoint is lost"},
    {EXITCODE_DEADLINE, "the job's deadline has passed"},
    {EXITCODE_CONFIG, "configuration error"},
    {EXITCODE_NOT_EXECUTABLE, "program is not executable"},
    {EXITCODE_NOT_FOUND, "program not found"},
    {EXITCODE_RENDEZVOUS, "rendezvous failed or node lost"},
    {EXITCODE_DRAINED, "preempted, to be resumed"},
};

int exitcode_of_death(bool killed, int value)
{
    return killed ? 128 + value : value;
}

static bool is_the_jobs_own(int code)
{
    return code == EXITCODE_RENDEZVOUS || code == EXITCODE_DRAINED;
}

/* ---- who asks for it ------------------------------------------------------------------------- */

const char *const exitcode_profiles[] = {"plain",   "kubeflow", "jobset", "flyte", "slurm",
                                         "volcano", "paddle",   "batch",  NULL};

enum {
    KEEP = -1,  /* the code that it has */
    BELOW = -2, /* the same, and 1 for what would be taken for an interruption */
};

/* A column an end, as the enum counts: done, drained, save lost, refused, retryable, for good, no
 * memory, lost node, deadline. */
static const int codes[EXITCODE_PROFILE_COUNT][EXITCODE_END_COUNT] = {
    [EXITCODE_PLAIN] = {0, 143, 74, KEEP, KEEP, KEEP, KEEP, 138, 124},
    [EXITCODE_KUBEFLOW] = {0, 143, 74, KEEP, KEEP, BELOW, 71, 138, 124},
    [EXITCODE_JOBSET] = {0, 143, 74, KEEP, KEEP, KEEP, 71, 138, 124},
    [EXITCODE_FLYTE] = {0, 137, 74, KEEP, KEEP, BELOW, 71, 137, 124},
    [EXITCODE_SLURM] = {0, 143, 74, KEEP, KEEP, KEEP, 71, 138, 124},
    [EXITCODE_VOLCANO] = {0, 143, 74, KEEP, KEEP, KEEP, 71, 138, 124},
    [EXITCODE_PADDLE] = {0, 101, 74, KEEP, 101, BELOW, 71, 101, 124},
    [EXITCODE_BATCH] = {0, 143, 74, KEEP, KEEP, KEEP, 71, 138, 124},
};

int exitcode_in(enum exitcode_profile profile, enum exitcode_end end, int code)
{
    assert(profile < EXITCODE_PROFILE_COUNT && end < EXITCODE_END_COUNT);
    int told = codes[profile][end];
    if (told == BELOW)
        return code < 128 ? code : 1;
    return told == KEEP ? code : told;
}

enum exitcode_end exitcode_end_of(int code)
{
    switch (code) {
    case EXITCODE_OK: return EXITCODE_END_DONE;
    case EXITCODE_DRAINED: return EXITCODE_END_DRAINED;
    case EXITCODE_SAVE_LOST: return EXITCODE_END_SAVE_LOST;
    case EXITCODE_RENDEZVOUS: return EXITCODE_END_LOST_NODE;
    case EXITCODE_DEADLINE: return EXITCODE_END_DEADLINE;
    case EXITCODE_INTERNAL: return EXITCODE_END_REFUSED;
    default: return exitcode_is_final(code) ? EXITCODE_END_REFUSED : EXITCODE_END_RETRYABLE;
    }
}

enum exitcode_end exitcode_end_of_rank(int code, bool no_memory, bool is_hopeless)
{
    if (no_memory)
        return EXITCODE_END_NO_MEMORY;
    if (exitcode_is_final(code))
        return EXITCODE_END_REFUSED;
    return is_hopeless || code < 128 ? EXITCODE_END_FOR_GOOD : EXITCODE_END_RETRYABLE;
}

enum exitcode_profile exitcode_guess(const char *scheduler)
{
    static const struct {
        const char *name; /* how it begins */
        enum exitcode_profile profile;
    } known[] = {
        /* of no operator that is known to be there */
        {"PyTorchJob (v1.3) or by hand", EXITCODE_PLAIN},
        {"PyTorchJob", EXITCODE_KUBEFLOW},
        {"TFJob", EXITCODE_KUBEFLOW},
        {"MXJob", EXITCODE_KUBEFLOW},
        {"PaddleJob", EXITCODE_KUBEFLOW},
        {"JAXJob", EXITCODE_KUBEFLOW},
        {"XGBoostJob", EXITCODE_KUBEFLOW},
        {"TrainJob", EXITCODE_JOBSET}, /* its runtime is a JobSet */
        {"JobSet", EXITCODE_JOBSET},
        {"Flyte", EXITCODE_FLYTE},
        {"Slurm", EXITCODE_SLURM},
        {"Volcano", EXITCODE_VOLCANO},
        {"Indexed Job", EXITCODE_BATCH},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(scheduler, known[i].name, strlen(known[i].name)) == 0)
            return known[i].profile;
    }
    return EXITCODE_PLAIN;
}

/* ---- what it is called ----------------------------------------------------------------------- */

int exitcode_of_failure(int code)
{
    return is_the_jobs_own(code) ? 1 : code;
}

int exitcode_of_exec(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG: return EXITCODE_NOT_FOUND;
    case EACCES:
    case EPERM:
    case E2BIG:
    case EINVAL:
    case ELIBBAD:
    case ENOEXEC:
    case EISDIR:
    case ELOOP: return EXITCODE_NOT_EXECUTABLE;
    default: return EXITCODE_INTERNAL;
    }
}

bool exitcode_is_final(int code)
{
    return code == EXITCODE_USAGE || code == EXITCODE_CONFIG || code == EXITCODE_NOT_FOUND ||
           code == EXITCODE_NOT_EXECUTABLE;
}

static const char *meaning_of(int code)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == code)
            return meanings[i].meaning;
    }
    return NULL;
}

static const char *signal_of(int code)
{
    return code > 128 ? libc_signal_name(code - 128) : NULL;
}

static const char *describe(const char *meaning, int code, char *text, size_t cap)
{
    if (meaning)
        snprintf(text, cap, "%s", meaning);
    else if (signal_of(code))
        snprintf(text, cap, "killed by SIG%s, or exit code %d", signal_of(code), code);
    else
        snprintf(text, cap, "exit code %d", code);
    return text;
}

const char *exitcode_describe(int code, char *text, size_t cap)
{
    return describe(meaning_of(code), code, text, cap);
}

static const char *meaning_of_rank(int code)
{
    bool special = code == EXITCODE_NOT_FOUND || code == EXITCODE_NOT_EXECUTABLE ||
                   code == EXITCODE_SAVE_LOST;
    return special ? meaning_of(code) : NULL;
}

const char *exitcode_describe_rank(int code, char *text, size_t cap)
{
    return describe(meaning_of_rank(code), code, text, cap);
}

const char *exitcode_describe_death(bool killed, int code, char *text, size_t cap)
{
    if (killed && signal_of(code))
        snprintf(text, cap, "killed by SIG%s", signal_of(code));
    else if (killed)
        snprintf(text, cap, "killed by signal %d", code - 128);
    else if (meaning_of_rank(code))
        snprintf(text, cap, "%s", meaning_of_rank(code));
    else
        snprintf(text, cap, "exit code %d", code);
    return text;
}
