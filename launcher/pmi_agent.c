#include "muster/launcher/pmi_agent.h"

#include "muster/core/clock.h"
#include "muster/launcher/pmi.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEATH_MS 1000

bool pmi_agent_is_gone(void)
{
    uint32_t rank;
    return recv(STDIN_FILENO, &rank, sizeof rank, MSG_PEEK | MSG_DONTWAIT) == 0;
}

bool pmi_agent_hear(uint32_t *ret_rank)
{
    uint32_t rank;
    ssize_t size = recv(STDIN_FILENO, &rank, sizeof rank, MSG_DONTWAIT);
    *ret_rank = size == sizeof rank ? rank : UINT32_MAX;
    return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

void pmi_agent_tell(const struct pmi_failure *failure)
{
    (void)send(STDIN_FILENO, failure, sizeof *failure, MSG_NOSIGNAL);
}

/* (void): one that does not read has heard enough of them. */
int pmi_agent_beat(const char *doing)
{
    static const char *told;
    static uint64_t due_ns;
    if (told != doing || mst_deadline_passed(due_ns)) {
        struct pmi_failure note = {0};
        (void)mst_err_set(&note.err, -EINPROGRESS, "%s", doing);
        (void)send(STDIN_FILENO, &note, sizeof note, MSG_DONTWAIT | MSG_NOSIGNAL);
        told = doing;
        due_ns = mst_deadline_ms(PMI_LOOK_MS);
    }
    return mst_deadline_left_ms(due_ns);
}

/* Until it closes its end, or the deadline. */
static void await_end(uint64_t deadline_ns)
{
    struct pollfd agent = {.fd = STDIN_FILENO, .events = POLLIN};
    uint32_t rank;
    while (poll(&agent, 1, mst_deadline_left_ms(deadline_ns)) > 0 && pmi_agent_hear(&rank))
        continue;
}

void pmi_agent_leave(const struct pmi_failure *failure)
{
    if (failure->err.code == -ECONNRESET)
        await_end(mst_deadline_ms(DEATH_MS));
    if (failure->err.code == 0)
        return;
    pmi_agent_tell(failure);
    await_end(MST_NEVER);
}
