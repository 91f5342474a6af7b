/* Fields: what the decoders of ckpt's JSON share. Every number is checked against its limit before
 * anyone computes with it.
 *
 * A text that lies in a root is sealed: its first field is the CRC32C of every byte behind that
 * field, so that it vouches for itself before anything in it is believed. Safe from any thread. */
#ifndef MUSTER_CKPT_FIELDS_H
#define MUSTER_CKPT_FIELDS_H

#include "muster/core/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a sealed text begins with, until it is sealed. */
#define FIELDS_SEAL "{\"crc32c\":\"00000000\""

/* Puts the checksum into a text that begins with FIELDS_SEAL. */
void fields_seal(char *text, size_t size_bytes);

/* 0; -EBADMSG the text is over `size_max`, does not begin with its checksum, or is not what that
 * says. */
int fields_check_seal(const char *text, size_t size_bytes, size_t size_max, struct mst_err *err);

/* 0 and a value to be ended by json_decref; -EBADMSG with the line. */
int fields_parse(const char *text, size_t size_bytes, json_t **ret_root, struct mst_err *err);

/* Both of a sealed text, as above. */
int fields_open(const char *text, size_t size_bytes, size_t size_max, json_t **ret_root,
                struct mst_err *err);

/* Whether the object is of `format`, version 1. 0; -ENOTSUP it is of a later version, naming it;
 * -EBADMSG it is not. */
int fields_check_format(const json_t *object, const char *format, struct mst_err *err);

/* Says which field is at fault. -EBADMSG. */
int fields_bad(struct mst_err *err, const char *field);

/* Each: 0; -EBADMSG the field is missing, of another type or over its limit. */
int fields_get_u64(const json_t *object, const char *key, uint64_t max, uint64_t *ret_value,
                   struct mst_err *err);
int fields_get_u32(const json_t *object, const char *key, uint32_t max, uint32_t *ret_value,
                   struct mst_err *err);
int fields_get_array(const json_t *object, const char *key, size_t max, const json_t **ret_array,
                     size_t *ret_count, struct mst_err *err);
int fields_get_crc(const json_t *object, const char *key, uint32_t *ret_crc, struct mst_err *err);

/* Sixteen digits. */
int fields_get_hex64(const json_t *object, const char *key, uint64_t *ret_value,
                     struct mst_err *err);

/* A text of printable ASCII that has room in `cap` bytes, with its NUL. */
int fields_get_text(const json_t *object, const char *key, char *ret_text, size_t cap,
                    struct mst_err *err);

/* The value of a lower-case hexadecimal digit; -1. */
int fields_hex_digit(char c);

/* `digits` (at most 8) lower-case hexadecimal digits, as encoders write them. */
bool fields_parse_hex32(const char *text, size_t digits, uint32_t *ret_value);

/* Sixteen of them. */
bool fields_parse_hex64(const char *text, uint64_t *ret_value);

/* Prints what stands between the quotes of a JSON string. */
void fields_print_escaped(FILE *out, const char *text);

/* Ends a stream of open_memstream. 0; -ENOMEM it ran out of memory on the way; *text is freed. */
int fields_close_text(FILE *out, char **text);

#endif
