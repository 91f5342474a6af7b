#include "muster/launcher/flags.h"

#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/words.h"
#include "muster/launcher/msg.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/prefix.h"
#include "muster/launcher/rankenv.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail_pair(const char *one, const char *other, struct mst_err *err)
{
    return mst_err_set(err, -EINVAL, "%s and %s contradict one another: leave one out", one, other);
}

static bool read_count(const char *text, char end, int64_t *ret_count)
{
    char *rest;
    *ret_count = strtol(text, &rest, 10); /* one that is too long is out of range, too */
    return isdigit((unsigned char)*text) && *rest == end && *ret_count >= 1 &&
           *ret_count <= MSG_NODES_MAX;
}

bool flags_read_nodes(const char *text, int64_t *ret_least, int64_t *ret_most)
{
    const char *colon = strchr(text, ':');
    if (!colon) {
        bool is_count = read_count(text, '\0', ret_most);
        *ret_least = *ret_most;
        return is_count;
    }
    return read_count(text, ':', ret_least) && read_count(colon + 1, '\0', ret_most) &&
           *ret_least <= *ret_most;
}

int flags_settle(struct flags *flags, struct mst_err *err)
{
    if (flags->nodes)
        (void)flags_read_nodes(flags->nodes, &flags->node_least,
                               &flags->node_count); /* it was accepted */
    if (flags->from && mst_words_find(mst_schemes, flags->from) < 0)
        return mst_err_set(err, -EINVAL, "--from %.40s: no such scheme, see muster-env(7)",
                           flags->from);
    if (flags->standalone && flags->node_count > 1)
        return fail_pair("--standalone", "--nnodes", err);
    if (flags->standalone)
        flags->node_count = flags->node_least = 1;
    if (flags->master_addr && flags->rdzv)
        return fail_pair("--master-addr", "--rdzv", err);
    if (!flags->master_addr && flags->master_port > 0)
        return mst_err_set(err, -EINVAL, "--master-port needs --master-addr HOST");
    uint16_t port = flags->master_port > 0 ? (uint16_t)flags->master_port : MST_PORT_DEFAULT;
    if (flags->master_addr &&
        mst_sock_join(flags->master_addr, port, flags->rdzv_text, sizeof flags->rdzv_text))
        return mst_err_set(err, -EINVAL, "--master-addr %.64s: too long", flags->master_addr);
    if (flags->master_addr)
        flags->rdzv = flags->rdzv_text;
    return 0;
}

int flags_settle_output(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    if (flags->raw && flags->no_prefix)
        return fail_pair("--raw", "--no-prefix", err);
    if (opts->prefix && flags->no_prefix)
        return fail_pair("--prefix", "--no-prefix", err);
    opts->output = flags->raw ? OUTLOG_RAW : flags->no_prefix ? OUTLOG_PLAIN : OUTLOG_LINES;
    opts->feeds_rank0 = flags->input > 0;
    if (!opts->prefix)
        opts->prefix = PREFIX_DEFAULT;
    /* in a group of its own a rank that reads from the terminal is stopped */
    if (opts->feeds_rank0 && isatty(STDIN_FILENO))
        return mst_err_set(err, -EINVAL,
                           "--stdin 0: standard input is a terminal, which stays this program's: "
                           "redirect it, as by cat | muster run");
    return 0;
}

int flags_check_exports(const struct option_list *exports, struct mst_err *err)
{
    for (uint32_t i = 0; i < exports->count; i++) {
        const char *var = exports->texts[i];
        if (rankenv_decides(var))
            return mst_err_set(err, -EINVAL,
                               "--export %.64s: each rank gets its own %.*s from muster, or none: "
                               "leave it out",
                               var, (int)strcspn(var, "="), var);
    }
    return 0;
}

static bool is_exported(const struct option_list *exports, const char *var)
{
    size_t size = strcspn(var, "=") + 1;
    for (uint32_t i = 0; i < exports->count; i++) {
        if (strncmp(exports->texts[i], var, size) == 0)
            return true;
    }
    return false;
}

int flags_export(struct opts *opts, struct mst_err *err)
{
    size_t count = 0, kept = 0;
    while (opts->env[count])
        count++;
    if (opts->exports.count == 0)
        return 0;
    opts->merged_env = calloc(count + opts->exports.count + 1, sizeof *opts->merged_env);
    if (!opts->merged_env)
        return mst_err_set(err, -ENOMEM, "no memory for the environment of ranks");
    for (size_t i = 0; i < count; i++) {
        if (!is_exported(&opts->exports, opts->env[i]))
            opts->merged_env[kept++] = opts->env[i];
    }
    for (uint32_t i = 0; i < opts->exports.count; i++) {
        if (strchr(opts->exports.texts[i], '='))
            opts->merged_env[kept++] = (char *)opts->exports.texts[i]; /* of argv */
    }
    opts->env = opts->merged_env;
    return 0;
}
