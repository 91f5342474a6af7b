/* pure */
#include "muster/launcher/exitcode.h"

#include "muster/core/cli/options.h"
#include "muster/core/libc.h"
#include "muster/launcher/job.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

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
