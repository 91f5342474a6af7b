/* A command line as `muster run` reads it, and what that says: what the tests of the launcher's
 * options share. */
#ifndef MUSTER_TESTS_UNIT_OPTS_FIXTURE_H
#define MUSTER_TESTS_UNIT_OPTS_FIXTURE_H

#include "muster/core/err.h"
#include "muster/launcher/opts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct mst_answer answer;
static struct opts opts;
static struct mst_err err;

/* Parses "run" and `line`, words separated by single blanks. */
static inline int parse(const char *line)
{
    static char text[512];
    static char *argv[32];
    int argc = 0;
    assert_in_range(snprintf(text, sizeof text, "%s", line), 0, sizeof text - 1);
    argv[argc++] = text;
    for (char *c = text; *c; c++) {
        if (*c == ' ') {
            *c = '\0';
            argv[argc++] = c + 1;
        }
    }
    argv[argc] = NULL;
    opts_fini(&opts);
    opts = (struct opts){.answer = &answer};
    return opts_parse(argc, argv, &opts, &err);
}

#endif
