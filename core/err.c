#include "muster/core/err.h"

#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES (sizeof((struct mst_err *)0)->text - 1)
#define LONG_BYTES 4608 /* a text with a path in it, before it is cut */
#define HEAD_BYTES 112  /* of a text that is cut, in front of the gap */
#define GAP "…"

/* Bytes of the UTF-8 sequence that starts with `lead`; 1 for anything that starts none. */
static size_t sequence_bytes(unsigned char lead)
{
    if (lead >= 0xF0)
        return 4;
    if (lead >= 0xE0)
        return 3;
    return lead >= 0xC0 ? 2 : 1;
}

/* Drops a character that a cut left incomplete at the end of `text`. */
static void drop_partial_character(char *text)
{
    size_t length = strlen(text), lead = length;
    while (lead > 0 && length - lead < 4 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
        lead--;
    if (lead > 0 && sequence_bytes((unsigned char)text[lead - 1]) > length - lead + 1)
        text[lead - 1] = '\0';
}

/* Takes out of the middle of `text` what is too much: a text begins with the object and ends with
 * what to do, and the values between them are what grows. */
static void cut_middle(char *text, size_t size)
{
    const char *tail = text + size - (TEXT_BYTES - HEAD_BYTES - strlen(GAP));
    text[HEAD_BYTES] = '\0';
    drop_partial_character(text);
    while (((unsigned char)*tail & 0xC0) == 0x80)
        tail++;
    size_t head = strlen(text);
    memcpy(text + head, GAP, strlen(GAP));
    memmove(text + head + strlen(GAP), tail, strlen(tail) + 1);
}

/* Through a second buffer, because an argument may be the text that is about to be replaced. */
static void set_text(struct mst_err *err, const char *format, va_list args)
{
    char text[LONG_BYTES];
    int length = vsnprintf(text, sizeof text, format, args);
    if (length < 0)
        text[0] = '\0';
    if (length >= (int)sizeof text)
        drop_partial_character(text);
    if (length > (int)TEXT_BYTES)
        cut_middle(text, strlen(text));
    memcpy(err->text, text, strlen(text) + 1);
}

int mst_err_set(struct mst_err *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    err->code = code;
    return code;
}

int mst_err_wrap(struct mst_err *err, const char *format, ...)
{
    if (!err)
        return 0;
    struct mst_err cause = *err;
    va_list args;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    struct mst_err object = *err;
    return mst_err_set(err, cause.code, "%s: %s", object.text, cause.text);
}

/* The text of the system, in no locale's language: strerror_l with "C", which is a constant of the
 * libc, so that nothing is made or freed. That of a number that is no errno would not last. */
static const char *system_text(int errno_value)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const char *text = plain ? strerror_l(errno_value, plain) : "unknown error";
    return strncmp(text, "Unknown", 7) == 0 ? "unknown error" : text;
}

const char *mst_err_meaning(int code)
{
    if (code > 0)
        code = -code;
    switch (code) {
    case 0: return "no error";
    case -EINVAL: return "an argument or option is out of range";
    case -ENOMEM: return "memory or a memory budget is used up";
    case -ETIMEDOUT: return "the deadline passed";
    case -ECONNRESET: return "a peer is lost or the generation was aborted";
    case -EPROTO: return "a peer broke the protocol or called another collective";
    case -EBADMSG: return "stored or received bytes fail their checksum or format";
    case -ESTALE: return "the generation is over";
    case -EACCES: return "permission denied";
    case -ECANCELED: return "aborted or closed by this process";
    case -ENOSPC: return "no room left";
    case -ENOENT: return "does not exist";
    case -EEXIST: return "exists already";
    case -EAGAIN: return "not yet";
    case -ENOTSUP: return "not supported by this back end or build";
    case -EIO: return "input or output failed";
    default: break;
    }
    return code >= -MST_ERRNO_MAX ? system_text(-code) : "unknown error";
}
