/* What the resolver's answer is to a program that is no rank of `muster run`: the world of a rank
 * that another launcher started, a world of one, or no world at all. */
/* pure */
#ifndef MUSTER_CORE_WORLD_ANSWER_H
#define MUSTER_CORE_WORLD_ANSWER_H

struct mst_answer;
struct mst_err;
struct mst_world;

/* Changes *world, a world of one, into what the answer means. 0; with text, and *world as it was:
 * -EINVAL if the answer is an error, its numbers fit no world, or nobody has started the ranks of
 * its plan; -ENOTSUP if this is a rank of an unknown number of them. */
int world_from_answer(const struct mst_answer *answer, struct mst_world *world,
                      struct mst_err *err);

/* The scheme of the launcher that started this rank: of several that say the same the one whose MPI
 * connects the ranks, as wrappers set the variables of others. The answer is of mode rank. */
const char *world_launcher(const struct mst_answer *answer);

#endif
