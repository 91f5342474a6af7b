/* Json_text: texts from outside as JSON strings. */
#ifndef MUSTER_LAUNCHER_JSON_TEXT_H
#define MUSTER_LAUNCHER_JSON_TEXT_H

#include <jansson.h>

/* Arguments and variables may hold any byte, and JSON only Unicode: a byte that is no UTF-8 becomes
 * '?'. A new reference; NULL: no memory. */
json_t *json_text(const char *text);

#endif
