#include "muster/launcher/pmix_rank.h"

#include "muster/core/err.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/pmix_env.h"
#include "muster/launcher/program.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a variable says; NULL: it is another one. */
static const char *value_of(const char *var, const char *name)
{
    size_t size = strlen(name);
    return strncmp(var, name, size) == 0 && var[size] == '=' ? var + size + 1 : NULL;
}

static int hear(int fd, char bytes[PMIX_ENV_BYTES], char *vars[PMIX_ENV_VARS])
{
    ssize_t size;
    do
        size = recv(fd, bytes, PMIX_ENV_BYTES, 0);
    while (size < 0 && errno == EINTR);
    if (size <= 0)
        return size < 0 ? -errno : -ECONNRESET;
    return pmix_env_decode(bytes, (size_t)size, vars);
}

/* Whether the user says something else, which counts: the agent leaves nothing of what is the
 * job's. */
static bool is_named_in(char *const *env, const char *var)
{
    size_t size = strcspn(var, "=") + 1;
    while (*env && strncmp(*env, var, size) != 0)
        env++;
    return *env != NULL;
}

/* The environment of the program, and in `bytes` what of it muster-pmix tells. The descriptor stays
 * open in the program: its end is how muster-pmix knows of the rank's. */
static int make_env(char *const *inherited, char bytes[PMIX_ENV_BYTES], char ***ret_env)
{
    char *vars[PMIX_ENV_VARS] = {NULL};
    const char *number = NULL;
    size_t count = 0, kept = 0;
    for (; inherited[count]; count++) {
        const char *value = value_of(inherited[count], PMIX_RANK_FD);
        number = value ? value : number;
    }
    int told = number ? hear((int)strtol(number, NULL, 10), bytes, vars) : -EINVAL;
    if (told < 0)
        return told;
    char **env = calloc(count + (size_t)told + 1, sizeof *env);
    if (!env)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!value_of(inherited[i], PMIX_RANK_FD))
            env[kept++] = inherited[i];
    }
    for (int i = 0; i < told && vars[i]; i++) { /* as many as there are */
        if (!is_named_in(inherited, vars[i]))
            env[kept++] = vars[i];
    }
    *ret_env = env;
    return 0;
}

int pmix_rank(char **argv, char *const *inherited)
{
    struct mst_err err = {0};
    char bytes[PMIX_ENV_BYTES], **env = NULL;
    int rc = make_env(inherited, bytes, &env);
    if (rc == -ECONNRESET) /* muster-pmix has died: the agent says of what */
        return EXITCODE_CONFIG;
    if (rc) {
        fprintf(stderr, "muster: muster-pmix has not told this rank how to find the others: %s\n",
                mst_err_meaning(rc));
        return EXITCODE_CONFIG;
    }
    execvpe(argv[0], argv, env);
    rc = -errno;
    free(env);
    (void)program_refuse(argv[0], rc, &err);
    fprintf(stderr, "muster: %s\n", err.text);
    return exitcode_of_exec(-rc);
}
