/* pure */
#include "muster/launcher/exitcode.h"

#include "muster/core/cli/options.h"
#include "muster/core/libc.h"
#include "muster/launcher/job.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

static_assert(EXITCODE_DRAINED == MST_EXIT_DRAINED, "ranks and agent say drained alike");
static_assert(EXITCODE_USAGE == OPTIONS_EXIT_USAGE, "all programs say wrong usage alike");

static const struct {
    int code;
    const char *meaning;
} meanings[] = {
    {EXITCODE_OK, "finished"},
    {EXITCODE_USAGE, "wrong usage"},
    {EXITCODE_INTERNAL, "the agent ran out of resources"},
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

int exitcode_of_exec(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR: return EXITCODE_NOT_FOUND;
    case EACCES:
    case EPERM:
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

const char *exitcode_describe(int code, char *text, size_t cap)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == code) {
            snprintf(text, cap, "%s", meanings[i].meaning);
            return text;
        }
    }
    const char *signal_name = code > 128 ? libc_signal_name(code - 128) : NULL;
    if (signal_name)
        snprintf(text, cap, "killed by SIG%s", signal_name);
    else
        snprintf(text, cap, "exit code %d", code);
    return text;
}
