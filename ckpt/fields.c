#include "muster/ckpt/fields.h"

#include "muster/core/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SEAL_BYTES (sizeof FIELDS_SEAL - 1)
#define DIGITS_AT (SEAL_BYTES - 9)

void fields_seal(char *text, size_t size_bytes)
{
    char digits[9];
    snprintf(digits, sizeof digits, "%08" PRIx32,
             mst_crc32c(0, text + SEAL_BYTES, size_bytes - SEAL_BYTES));
    memcpy(text + DIGITS_AT, digits, 8);
}

/* The first field must come first, byte for byte: it is what makes the rest trustworthy. */
int fields_check_seal(const char *text, size_t size_bytes, size_t size_max, struct mst_err *err)
{
    if (size_bytes <= SEAL_BYTES || size_bytes > size_max)
        return mst_err_set(err, -EBADMSG, "%zu bytes are too few, or too many", size_bytes);
    uint32_t said;
    if (memcmp(text, FIELDS_SEAL, DIGITS_AT) != 0 || text[SEAL_BYTES - 1] != '"' ||
        !fields_parse_hex32(text + DIGITS_AT, 8, &said))
        return mst_err_set(err, -EBADMSG, "does not start with its checksum");
    uint32_t is = mst_crc32c(0, text + SEAL_BYTES, size_bytes - SEAL_BYTES);
    if (is != said)
        return mst_err_set(err, -EBADMSG, "checksum %08" PRIx32 ", its head says %08" PRIx32, is,
                           said);
    return 0;
}

int fields_parse(const char *text, size_t size_bytes, json_t **ret_root, struct mst_err *err)
{
    json_error_t error;
    json_t *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return mst_err_set(err, -EBADMSG, "line %d: %s", error.line, error.text);
    *ret_root = root;
    return 0;
}

int fields_open(const char *text, size_t size_bytes, size_t size_max, json_t **ret_root,
                struct mst_err *err)
{
    int rc = fields_check_seal(text, size_bytes, size_max, err);
    return rc == 0 ? fields_parse(text, size_bytes, ret_root, err) : rc;
}

int fields_check_format(const json_t *object, const char *format, struct mst_err *err)
{
    const char *said = json_string_value(json_object_get(object, "format"));
    if (!said || strcmp(said, format) != 0)
        return fields_bad(err, "format");
    uint64_t version = 0;
    int rc = fields_get_u64(object, "version", INT64_MAX, &version, err);
    if (rc == 0 && version > 1)
        return mst_err_set(err, -ENOTSUP,
                           "version %" PRIu64 ": this build reads 1, use the one that wrote it",
                           version);
    return rc == 0 && version == 0 ? fields_bad(err, "version") : rc;
}

int fields_bad(struct mst_err *err, const char *field)
{
    return mst_err_set(err, -EBADMSG, "field \"%s\" is missing or out of range", field);
}

int fields_get_u64(const json_t *object, const char *key, uint64_t max, uint64_t *ret_value,
                   struct mst_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max)
        return fields_bad(err, key);
    *ret_value = (uint64_t)json_integer_value(value);
    return 0;
}

int fields_get_u32(const json_t *object, const char *key, uint32_t max, uint32_t *ret_value,
                   struct mst_err *err)
{
    uint64_t value = 0;
    int rc = fields_get_u64(object, key, max, &value, err);
    if (rc == 0)
        *ret_value = (uint32_t)value;
    return rc;
}

int fields_get_array(const json_t *object, const char *key, size_t max, const json_t **ret_array,
                     size_t *ret_count, struct mst_err *err)
{
    const json_t *array = json_object_get(object, key);
    if (!json_is_array(array) || json_array_size(array) > max)
        return fields_bad(err, key);
    *ret_array = array;
    *ret_count = json_array_size(array);
    return 0;
}

int fields_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fields_parse_hex32(const char *text, size_t digits, uint32_t *ret_value)
{
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = fields_hex_digit(text[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    *ret_value = value;
    return true;
}

bool fields_parse_hex64(const char *text, uint64_t *ret_value)
{
    uint32_t high, low;
    if (!fields_parse_hex32(text, 8, &high) || !fields_parse_hex32(text + 8, 8, &low))
        return false;
    *ret_value = (uint64_t)high << 32 | low;
    return true;
}

int fields_get_crc(const json_t *object, const char *key, uint32_t *ret_crc, struct mst_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (json_string_length(value) != 8 || !fields_parse_hex32(json_string_value(value), 8, ret_crc))
        return fields_bad(err, key);
    return 0;
}

int fields_get_hex64(const json_t *object, const char *key, uint64_t *ret_value,
                     struct mst_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (json_string_length(value) != 16 || !fields_parse_hex64(json_string_value(value), ret_value))
        return fields_bad(err, key);
    return 0;
}

int fields_get_text(const json_t *object, const char *key, char *ret_text, size_t cap,
                    struct mst_err *err)
{
    const json_t *value = json_object_get(object, key);
    size_t length = json_string_length(value);
    if (!json_is_string(value) || length >= cap)
        return fields_bad(err, key);
    for (const char *c = json_string_value(value); *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            return fields_bad(err, key);
    memcpy(ret_text, json_string_value(value), length + 1);
    return 0;
}

void fields_print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
}

int fields_close_text(FILE *out, char **text)
{
    int failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        free(*text);
        *text = NULL;
        return -ENOMEM;
    }
    return 0;
}
