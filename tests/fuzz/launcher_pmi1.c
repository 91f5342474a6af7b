/* Lines of a rank, each answered by one line or none; and the same bytes as what another node has
 * put. What was put is what a fence carries, and is taken in as it is. */
#include "muster/core/err.h"
#include "muster/launcher/pmi1.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t local_sizes[] = {2, 1};

static void check_reply(const char *reply)
{
    const char *end = strchr(reply, '\n');
    if (reply[0] && (!end || end[1] != '\0'))
        abort();
}

static void talk(struct pmi1_board *board, char *text)
{
    struct pmi1_rank rank = {.state = PMI1_OUTSIDE};
    char reply[PMI1_LINE_BYTES], *rest = NULL;
    struct mst_err err;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (pmi1_answer(board, &rank, line, reply, &err))
            return;
        check_reply(reply);
        if (rank.state == PMI1_FENCED)
            rank.state = PMI1_INSIDE;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pmi1_board board, other;
    struct mst_err err;
    char *text = malloc(size + 1);
    if (!text || pmi1_board_init(&board, "job", local_sizes, 2, &err) ||
        pmi1_board_init(&other, "job", local_sizes, 2, &err))
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    talk(&board, text);
    if (pmi1_board_learn(&other, board.fresh, board.fresh_bytes, &err))
        abort();
    (void)pmi1_board_learn(&board, (const char *)data, size, &err); /* any bytes */
    pmi1_board_fini(&board);
    pmi1_board_fini(&other);
    free(text);
    return 0;
}
