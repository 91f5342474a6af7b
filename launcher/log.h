/* Log: all that the launcher says once its command line is understood, a line at a time:
 *   time=2026-01-31T23:59:59.123Z level=info agent=1 gen=2 msg="generation started" world=8
 * or, with LOG_JSON, one JSON object. A line goes whole to stderr, or into the agent's sink behind
 * what its ranks said, so that nobody who does not read holds the agent up. UTF-8 whatever it is
 * made of, without control characters. One thread, that of the sink. */
#ifndef MUSTER_LAUNCHER_LOG_H
#define MUSTER_LAUNCHER_LOG_H

#include <stdint.h>

struct sink;

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* What people call them, NULL-ended. */
extern const char *const log_levels[], *const log_formats[];

/* Sets what is printed from now on and in which form. Without a call: info and worse, as text.
 * Not thread-safe. */
void log_init(enum log_level level, enum log_format format);

/* Sets the who of every later line: `role` ("agent", "rank"), its index, and the generation. `role`
 * is borrowed and must outlive the process's last line (a literal). Not thread-safe. */
void log_who(const char *role, uint32_t index, uint32_t generation);

/* Lines go there from now on; NULL: to stderr, for which a line waits two seconds at most. Borrowed
 * until then. */
void log_to(struct sink *sink);

#define LOG_QUOTED_MAX 512

struct log_quoted {
    char text[LOG_QUOTED_MAX];
};

/* `text` as a value of log_line, in quotes and with its own escaped, so that it cannot end there
 * and forge the pairs behind it: " because=%s", log_quote(why).text. Cut if it is long. Pure. */
struct log_quoted log_quote(const char *text);

/* One line. `fields` is a printf format of further " key=value" pairs, or NULL for none; `message`
 * is quoted by the sink, and a text that another than this program chose by log_quote. Never fails;
 * a line over 2 KiB is cut. */
void log_line(enum log_level level, const char *message, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

#endif
