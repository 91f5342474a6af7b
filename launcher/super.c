/* pure */
#include "muster/launcher/super.h"

#include <assert.h>

#define SPAWN SUPER_DO_SPAWN
#define FAILED SUPER_DO_FAILED
#define WORD SUPER_DO_ABORT_WORD
#define TERM SUPER_DO_TERM
#define KILL SUPER_DO_KILL
#define ARM SUPER_DO_ARM
#define ABANDON SUPER_DO_ABANDON
#define DOWN SUPER_DO_DOWN
#define DONE SUPER_DO_DONE
#define QUIT SUPER_DO_QUIT

/* Only RUNNING tells of a failure: later deaths are its consequences. A state without ranks cannot
 * see ranks die; those pairs, like a START while ranks live, stay where they are. */
static const struct {
    enum super_state next;
    unsigned actions;
} table[SUPER_STATE_COUNT][SUPER_EVENT_COUNT] = {
    [SUPER_IDLE] = {[SUPER_START] = {SUPER_RUNNING, SPAWN},
                    [SUPER_RANK_OK] = {SUPER_IDLE, 0},
                    [SUPER_LAST_OK] = {SUPER_IDLE, 0},
                    [SUPER_RANK_BAD] = {SUPER_IDLE, 0},
                    [SUPER_LAST_BAD] = {SUPER_IDLE, 0},
                    [SUPER_ABORT] = {SUPER_IDLE, DOWN},
                    [SUPER_TIMER] = {SUPER_IDLE, 0},
                    [SUPER_END] = {SUPER_OVER, QUIT},
                    [SUPER_LINK_LOST] = {SUPER_OVER, QUIT},
                    [SUPER_GRACE_OVER] = {SUPER_OVER, QUIT}},
    [SUPER_RUNNING] = {[SUPER_START] = {SUPER_RUNNING, 0},
                       [SUPER_RANK_OK] = {SUPER_RUNNING, 0},
                       [SUPER_LAST_OK] = {SUPER_DONE, DONE},
                       [SUPER_RANK_BAD] = {SUPER_LEAVING, FAILED | WORD | ARM},
                       [SUPER_LAST_BAD] = {SUPER_IDLE, FAILED | DOWN},
                       [SUPER_ABORT] = {SUPER_LEAVING, WORD | ARM},
                       [SUPER_TIMER] = {SUPER_RUNNING, 0},
                       [SUPER_END] = {SUPER_LEAVING, WORD | ARM},
                       [SUPER_LINK_LOST] = {SUPER_LEAVING, WORD | ARM},
                       [SUPER_GRACE_OVER] = {SUPER_TERMINATING, WORD | TERM | ARM}},
    [SUPER_LEAVING] = {[SUPER_START] = {SUPER_LEAVING, 0},
                       [SUPER_RANK_OK] = {SUPER_LEAVING, 0},
                       [SUPER_LAST_OK] = {SUPER_IDLE, DOWN},
                       [SUPER_RANK_BAD] = {SUPER_LEAVING, 0},
                       [SUPER_LAST_BAD] = {SUPER_IDLE, DOWN},
                       [SUPER_ABORT] = {SUPER_LEAVING, 0},
                       [SUPER_TIMER] = {SUPER_TERMINATING, TERM | ARM},
                       [SUPER_END] = {SUPER_LEAVING, 0},
                       [SUPER_LINK_LOST] = {SUPER_LEAVING, 0},
                       [SUPER_GRACE_OVER] = {SUPER_KILLING, KILL | ARM}},
    [SUPER_TERMINATING] = {[SUPER_START] = {SUPER_TERMINATING, 0},
                           [SUPER_RANK_OK] = {SUPER_TERMINATING, 0},
                           [SUPER_LAST_OK] = {SUPER_IDLE, DOWN},
                           [SUPER_RANK_BAD] = {SUPER_TERMINATING, 0},
                           [SUPER_LAST_BAD] = {SUPER_IDLE, DOWN},
                           [SUPER_ABORT] = {SUPER_TERMINATING, 0},
                           [SUPER_TIMER] = {SUPER_KILLING, KILL | ARM},
                           [SUPER_END] = {SUPER_TERMINATING, 0},
                           [SUPER_LINK_LOST] = {SUPER_TERMINATING, 0},
                           [SUPER_GRACE_OVER] = {SUPER_KILLING, KILL | ARM}},
    [SUPER_KILLING] = {[SUPER_START] = {SUPER_KILLING, 0},
                       [SUPER_RANK_OK] = {SUPER_KILLING, 0},
                       [SUPER_LAST_OK] = {SUPER_IDLE, DOWN},
                       [SUPER_RANK_BAD] = {SUPER_KILLING, 0},
                       [SUPER_LAST_BAD] = {SUPER_IDLE, DOWN},
                       [SUPER_ABORT] = {SUPER_KILLING, 0},
                       [SUPER_TIMER] = {SUPER_STUCK, KILL | ARM},
                       [SUPER_END] = {SUPER_KILLING, 0},
                       [SUPER_LINK_LOST] = {SUPER_KILLING, 0},
                       [SUPER_GRACE_OVER] = {SUPER_KILLING, 0}},
    [SUPER_STUCK] = {[SUPER_START] = {SUPER_STUCK, 0},
                     [SUPER_RANK_OK] = {SUPER_STUCK, 0},
                     [SUPER_LAST_OK] = {SUPER_IDLE, DOWN},
                     [SUPER_RANK_BAD] = {SUPER_STUCK, 0},
                     [SUPER_LAST_BAD] = {SUPER_IDLE, DOWN},
                     [SUPER_ABORT] = {SUPER_STUCK, 0},
                     [SUPER_TIMER] = {SUPER_IDLE, ABANDON | DOWN},
                     [SUPER_END] = {SUPER_STUCK, 0},
                     [SUPER_LINK_LOST] = {SUPER_STUCK, 0},
                     [SUPER_GRACE_OVER] = {SUPER_STUCK, 0}},
    [SUPER_DONE] = {[SUPER_START] = {SUPER_DONE, 0},
                    [SUPER_RANK_OK] = {SUPER_DONE, 0},
                    [SUPER_LAST_OK] = {SUPER_DONE, 0},
                    [SUPER_RANK_BAD] = {SUPER_DONE, 0},
                    [SUPER_LAST_BAD] = {SUPER_DONE, 0},
                    [SUPER_ABORT] = {SUPER_IDLE, DOWN},
                    [SUPER_TIMER] = {SUPER_DONE, 0},
                    [SUPER_END] = {SUPER_OVER, QUIT},
                    [SUPER_LINK_LOST] = {SUPER_OVER, QUIT},
                    [SUPER_GRACE_OVER] = {SUPER_OVER, QUIT}},
    [SUPER_OVER] = {[SUPER_START] = {SUPER_OVER, 0},
                    [SUPER_RANK_OK] = {SUPER_OVER, 0},
                    [SUPER_LAST_OK] = {SUPER_OVER, 0},
                    [SUPER_RANK_BAD] = {SUPER_OVER, 0},
                    [SUPER_LAST_BAD] = {SUPER_OVER, 0},
                    [SUPER_ABORT] = {SUPER_OVER, 0},
                    [SUPER_TIMER] = {SUPER_OVER, 0},
                    [SUPER_END] = {SUPER_OVER, 0},
                    [SUPER_LINK_LOST] = {SUPER_OVER, 0},
                    [SUPER_GRACE_OVER] = {SUPER_OVER, 0}},
};

unsigned super_step(struct super *super, enum super_event event)
{
    assert(super->state < SUPER_STATE_COUNT && event < SUPER_EVENT_COUNT);
    enum super_state next = table[super->state][event].next;
    unsigned actions = table[super->state][event].actions;
    if (event == SUPER_END || event == SUPER_LINK_LOST || event == SUPER_GRACE_OVER)
        super->ending = true;
    if (super->ending && next == SUPER_IDLE) {
        next = SUPER_OVER;
        actions |= QUIT;
    }
    assert(!(actions & SPAWN) || next == SUPER_RUNNING);
    assert(!(actions & (DOWN | DONE)) || !super_has_ranks(next));
    super->state = next;
    return actions;
}

bool super_has_ranks(enum super_state state)
{
    return state == SUPER_RUNNING || state == SUPER_LEAVING || state == SUPER_TERMINATING ||
           state == SUPER_KILLING || state == SUPER_STUCK;
}

const char *super_name(enum super_state state)
{
    static const char *const names[SUPER_STATE_COUNT] = {
        "waiting", "running", "leaving", "terminating", "killing", "stuck", "done", "over"};
    assert(state < SUPER_STATE_COUNT);
    return names[state];
}
