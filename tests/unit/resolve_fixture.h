/* A pod for the resolver's tests: its environment, files and names, all in one struct. Texts that
 * are given are kept by pointer, except variables, which are copied. */
#ifndef MUSTER_TESTS_UNIT_RESOLVE_FIXTURE_H
#define MUSTER_TESTS_UNIT_RESOLVE_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "muster/core/resolve/resolve.h"

struct pod {
    struct mst_machine machine;
    struct mst_answer answer;
    char text[16384], *env[128];
    size_t used, env_count;
    const char *paths[8], *files[8];
    size_t file_count;
};

static const char *pod_read(void *arg, const char *path)
{
    const struct pod *pod = arg;
    for (size_t i = 0; i < pod->file_count; i++) {
        if (strcmp(pod->paths[i], path) == 0)
            return pod->files[i];
    }
    return NULL;
}

static inline void pod_init(struct pod *pod)
{
    memset(pod, 0, sizeof *pod);
    pod->machine = (struct mst_machine){
        .env = pod->env, .hostname = "some-host", .pod_ip = "", .read_file = pod_read, .arg = pod};
}

static inline void pod_set(struct pod *pod, const char *name, const char *value)
{
    char *var = pod->text + pod->used;
    int size = snprintf(var, sizeof pod->text - pod->used, "%s=%s", name, value);
    assert_true(size > 0 && pod->used + (size_t)size < sizeof pod->text && pod->env_count < 127);
    pod->used += (size_t)size + 1;
    pod->env[pod->env_count++] = var;
}

/* "A=1 B=2": values without blanks. */
static inline void pod_env(struct pod *pod, const char *vars)
{
    while (*vars) {
        char var[512], *equals;
        size_t size = strcspn(vars, " ");
        assert_true(size < sizeof var);
        memcpy(var, vars, size);
        var[size] = '\0';
        equals = strchr(var, '=');
        assert_non_null(equals);
        *equals = '\0';
        pod_set(pod, var, equals + 1);
        vars += size + strspn(vars + size, " ");
    }
}

static inline void pod_file(struct pod *pod, const char *path, const char *text)
{
    assert_true(pod->file_count < 8);
    pod->paths[pod->file_count] = path;
    pod->files[pod->file_count++] = text;
}

static inline int pod_resolve(struct pod *pod)
{
    int rc = mst_resolve(&pod->machine, NULL, &pod->answer);
    if (rc)
        print_message("refused: %s\n", pod->answer.err.text);
    return rc;
}

/* The pod's environment is refused, and the reason contains `text`. */
static inline void pod_refused(struct pod *pod, const char *text)
{
    assert_true(mst_resolve(&pod->machine, NULL, &pod->answer) < 0);
    assert_int_equal(pod->answer.plan.mode, MST_PLAN_ERROR);
    if (!strstr(pod->answer.err.text, text))
        print_error("\"%s\" is not in \"%s\"\n", text, pod->answer.err.text);
    assert_non_null(strstr(pod->answer.err.text, text));
}

#endif
