/* Two nodes of two ranks each, and what libpmix is answered, which is kept here: what the tests of
 * muster-pmix share. */
#ifndef MUSTER_TESTS_UNIT_PMIX_FIXTURE_H
#define MUSTER_TESTS_UNIT_PMIX_FIXTURE_H

#include "muster/launcher/pmix/host.h"
#include "muster/launcher/pmix/parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pmix_nodes.h"

static const uint16_t sizes[] = {2, 2};
static const struct parts_layout layout = {sizes, 2};

static struct {
    int rc;
    char data[32];
    uint32_t count;
} answered;

void host_answer(struct host_event *event, int rc, char *data, size_t size_bytes)
{
    answered.rc = rc;
    answered.count++;
    assert_true(size_bytes < sizeof answered.data);
    memset(answered.data, 0, sizeof answered.data);
    if (size_bytes > 0)
        memcpy(answered.data, data, size_bytes);
    free(data);
    free(event->data);
    free(event->ranks);
    free(event);
}

#endif
