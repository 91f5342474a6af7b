#include "muster/ckpt/verdict.h"

#include "muster/ckpt/word.h"
#include "muster/core/kv/kv.h"
#include "muster/core/least.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t verdict_encode(const struct mst_err *verdict, char text[VERDICT_BYTES_MAX])
{
    int size = snprintf(text, VERDICT_BYTES_MAX, "%d %s", verdict->code, verdict->text);
    return mst_least((uint64_t)size, VERDICT_BYTES_MAX - 1);
}

int verdict_decode(const char *text, size_t size_bytes, struct mst_err *ret_verdict)
{
    char copy[VERDICT_BYTES_MAX];
    if (size_bytes >= sizeof copy)
        return -EBADMSG;
    memcpy(copy, text, size_bytes);
    copy[size_bytes] = '\0';
    char *end;
    long code = strtol(copy, &end, 10);
    if (end == copy || *end != ' ' || code > 0 || code < -4095)
        return -EBADMSG;
    ret_verdict->code = (int)code;
    snprintf(ret_verdict->text, sizeof ret_verdict->text, "%.*s", (int)sizeof ret_verdict->text - 1,
             end + 1);
    return 0;
}

int verdict_post(struct mst_kv *kv, const char *key, const struct mst_err *verdict,
                 uint64_t deadline_ns)
{
    char text[VERDICT_BYTES_MAX];
    size_t size = verdict_encode(verdict, text);
    return mst_kv_set(kv, key, text, size, deadline_ns);
}

int verdict_await(const struct word *word, uint64_t deadline_ns, struct mst_err *ret_verdict)
{
    char text[VERDICT_BYTES_MAX];
    size_t size = 0;
    int rc = word_await(word, text, sizeof text, &size, deadline_ns);
    if (rc == 0)
        rc = verdict_decode(text, size, ret_verdict);
    if (rc < 0)
        return mst_err_set(ret_verdict, rc, "no word from rank %" PRIu32 ": %s", word->from,
                           mst_err_meaning(rc));
    return ret_verdict->code;
}
