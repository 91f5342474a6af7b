/* A number of bytes as people read it. */
#ifndef MUSTER_CORE_SIZE_TEXT_H
#define MUSTER_CORE_SIZE_TEXT_H

#include <stdint.h>

#define SIZE_TEXT_BYTES 16

/* "1.2 GiB", "17 B"; `text` is returned. Pure. */
const char *size_text(uint64_t size_bytes, char text[SIZE_TEXT_BYTES]);

#endif
