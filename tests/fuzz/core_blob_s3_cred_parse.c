/* Any AWS profile file and any answer of a credential service: what comes out is terminated, and
 * has both keys or none. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/blob/s3/cred_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

static void look(const struct cred *cred)
{
    expect(memchr(cred->access_key, '\0', sizeof cred->access_key) != NULL);
    expect(memchr(cred->token, '\0', sizeof cred->token) != NULL);
    expect(!cred->access_key[0] == !cred->secret_key[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct cred cred = {0};
    if (cred_parse_profile(text, "default", &cred) == 0)
        look(&cred);
    cred = (struct cred){0};
    if (cred_parse_json(text, size, &cred) == 0)
        look(&cred);
    (void)cred_parse_time(text); /* any time will do */
    free(text);
    return 0;
}
