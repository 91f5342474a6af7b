/* pure */
#include "core/resolve.h"

#include "core/err.h"

#include <errno.h>
#include <stddef.h>

static const resolve_parse_fn parsers[] = {resolve_pet, resolve_pytorch_legacy, NULL};

int mst_resolve(mst_env_fn get, void *arg, struct mst_plan *ret_plan, struct mst_err *err)
{
    const struct resolve_env env = {get, arg};

    for (const resolve_parse_fn *parse = parsers; *parse; parse++) {
        struct mst_plan plan = {.node_count = 1};
        int result = (*parse)(&env, &plan, err);
        if (result < 0)
            return result;
        if (result > 0) {
            *ret_plan = plan;
            return 0;
        }
    }
    *ret_plan = (struct mst_plan){.source = "none", .node_count = 1};
    return 0;
}

const char *resolve_text(const struct resolve_env *env, const char *name)
{
    const char *text = env->get(env->arg, name);
    return text && *text ? text : NULL;
}

int resolve_number(const struct resolve_env *env, const char *name, uint32_t low, uint32_t high,
                   uint32_t *ret_value, struct mst_err *err)
{
    const char *text = resolve_text(env, name);
    uint64_t value = 0;

    if (!text)
        return 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || value > UINT32_MAX)
            return mst_err_set(err, -EINVAL, "%s=%.40s is not a number: set it to %u … %u", name,
                               text, low, high);
        value = value * 10 + (uint64_t)(*c - '0');
    }
    if (value < low || value > high)
        return mst_err_set(err, -EINVAL, "%s=%.40s is out of range: set it to %u … %u", name, text,
                           low, high);
    *ret_value = (uint32_t)value;
    return 1;
}
