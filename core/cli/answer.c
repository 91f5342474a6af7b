#include "muster/core/cli/options.h"

#include "muster/core/err.h"
#include "muster/core/version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int options_finish(const struct options *options, int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "%s: cannot write the answer: %s\n", options->program, mst_err_meaning(errno));
    return EXIT_FAILURE;
}

int options_answer(const struct options *options, int rc, const struct mst_err *err)
{
    char text[OPTIONS_HELP_MAX];
    if (rc == OPTIONS_HELP) {
        fputs(options_help(options, text), stdout);
        return options_finish(options, EXIT_SUCCESS);
    }
    if (rc == OPTIONS_VERSION) {
        printf("%s %s\n", options->program, MUSTER_VERSION);
#ifdef MUSTER_STATIC
        printf("static: names are resolved by resolv.conf and hosts, without nsswitch\n");
#endif
        return options_finish(options, EXIT_SUCCESS);
    }
    if (rc >= OPTIONS_BASH) {
        options_complete(options, rc, stdout);
        return options_finish(options, EXIT_SUCCESS);
    }
    fprintf(stderr, "%s: %s; see %s --help\n", options->program, err->text, options->program);
    return OPTIONS_EXIT_USAGE;
}

struct command_line options_or_exit(const struct options *options, int argc, char **argv,
                                    void *place)
{
    struct command_line line;
    struct mst_err err = {0};
    int rc = options_parse(options, argc, argv, place, &line, &err);
    if (rc)
        exit(options_answer(options, rc, &err));
    return line;
}
