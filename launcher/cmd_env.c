#include "launcher/cmd.h"
#include "launcher/exitcode.h"
#include "launcher/opts.h"

#include "core/err.h"

#include <jansson.h>
#include <stdio.h>

static const char help[] = "usage: muster env [--json] [OPTIONS of muster run]\n"
                           "\n"
                           "Shows which world the environment (and options) mean: how many nodes\n"
                           "and ranks, who this node is, and where node 0 listens.\n";

static void print_json(const struct opts *opts)
{
    json_t *root = json_pack("{s:s, s:i, s:i, s:i, s:s, s:i, s:s, s:i, s:i, s:b}", "source",
                             opts->source, "nodes", (int)opts->node_count, "node",
                             (int)opts->node_rank, "local_size", (int)opts->local_size,
                             "local_size_from", opts->local_size_reason, "world_size",
                             (int)(opts->node_count * opts->local_size), "rdzv_host",
                             opts->rdzv_host, "rdzv_port", (int)opts->rdzv_port, "max_restarts",
                             (int)opts->max_restarts, "secret", opts->secret_bytes > 0);
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

static void print_text(const struct opts *opts)
{
    printf("source        %s\n", opts->source);
    printf("nodes         %u\n", opts->node_count);
    printf("node          %u\n", opts->node_rank);
    printf("local_size    %u (%s)\n", opts->local_size, opts->local_size_reason);
    printf("world_size    %u%s\n", opts->node_count * opts->local_size,
           opts->node_count > 1 ? " if every node has as many ranks as this one" : "");
    if (opts->node_count > 1)
        printf("rendezvous    %s:%u\n", opts->rdzv_host, opts->rdzv_port);
    printf("max_restarts  %u\n", opts->max_restarts);
    printf("secret        %s\n", opts->secret_bytes > 0 ? "yes" : "none");
}

int cmd_env(int argc, char **argv)
{
    struct opts opts;
    struct mst_err err = {0};

    int code = opts_parse(argc, argv, &opts, &err);
    if (code) {
        fprintf(stderr, "muster env: %s\n", err.text);
        return code;
    }
    if (opts.help)
        fputs(help, stdout);
    else if (opts.json)
        print_json(&opts);
    else
        print_text(&opts);
    return EXITCODE_OK;
}
