/* The one sink for log lines, for programs only: libraries return errors and never print.
 * A line is written whole by one write(2) to stderr, so that lines of several processes do not mix:
 *   level=info rank=3 gen=2 msg="checkpoint committed" step=400
 * or, with MST_LOG_JSON, one JSON object. Safe from any thread after mst_log_init. */
#ifndef MUSTER_LAUNCHER_LOG_H
#define MUSTER_LAUNCHER_LOG_H

#include <stdint.h>

enum mst_log_level { MST_LOG_ERROR, MST_LOG_WARN, MST_LOG_INFO, MST_LOG_DEBUG };
enum mst_log_format { MST_LOG_KV, MST_LOG_JSON };

/* Sets what is printed from now on and in which form. Without a call: info and worse, as key=value.
 * Not thread-safe. */
void mst_log_init(enum mst_log_level level, enum mst_log_format format);

/* Sets the who of every later line: `role` ("agent", "rank"), its index, and the generation. `role`
 * is borrowed and must outlive the process's last line (a literal). Not thread-safe. */
void mst_log_who(const char *role, uint32_t index, uint32_t generation);

/* One line. `fields` is a printf format of further " key=value" pairs, or NULL for none; `message`
 * is quoted by the sink. Never fails; a line over 2 KiB is cut. */
void mst_log(enum mst_log_level level, const char *message, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

#endif
