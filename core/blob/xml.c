#include "muster/core/blob/xml.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16
#define NAME_BYTES 64

struct reader {
    XML_Parser parser;
    xml_fn fn;
    void *arg;
    int rc;
    size_t depth;
    char names[DEPTH_MAX][NAME_BYTES];
    size_t text_bytes;
    char text[XML_TEXT_MAX];
};

static void stop(struct reader *reader, int rc)
{
    reader->rc = rc;
    (void)XML_StopParser(reader->parser, XML_FALSE); /* fails only if it has stopped already */
}

/* S3 puts its elements into a name space, which expat is not asked to resolve. */
static const char *local_name(const char *name)
{
    const char *colon = strchr(name, ':');
    return colon ? colon + 1 : name;
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    struct reader *reader = arg;
    if (reader->depth == DEPTH_MAX) {
        stop(reader, -EBADMSG);
        return;
    }
    /* A name that is cut is none that anybody reads. */
    (void)snprintf(reader->names[reader->depth], NAME_BYTES, "%s", local_name(name));
    reader->depth++;
    reader->text_bytes = 0;
}

static void on_text(void *arg, const XML_Char *text, int length)
{
    struct reader *reader = arg;
    if (reader->text_bytes + (size_t)length >= sizeof reader->text) {
        stop(reader, -EBADMSG);
        return;
    }
    memcpy(reader->text + reader->text_bytes, text, (size_t)length);
    reader->text_bytes += (size_t)length;
}

static void on_end(void *arg, const XML_Char *name)
{
    (void)name; /* expat has checked that it is the innermost one's */
    struct reader *reader = arg;
    if (reader->rc != 0)
        return;
    reader->text[reader->text_bytes] = '\0';
    reader->depth--;
    const char *parent = reader->depth > 0 ? reader->names[reader->depth - 1] : "";
    int rc = reader->fn(reader->arg, parent, reader->names[reader->depth], reader->text);
    reader->text_bytes = 0;
    if (rc != 0)
        stop(reader, rc);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
                       const XML_Char *public_id, int has_internal_subset)
{
    (void)name; /* whatever it says, it is refused */
    (void)system_id;
    (void)public_id;
    (void)has_internal_subset;
    stop(arg, -EBADMSG);
}

int xml_read(const char *document, size_t length, xml_fn fn, void *arg)
{
    if (length > INT_MAX)
        return -EBADMSG;
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return -ENOMEM;
    reader->fn = fn;
    reader->arg = arg;
    reader->parser = XML_ParserCreate(NULL);
    int rc = -ENOMEM;
    if (reader->parser) {
        XML_SetUserData(reader->parser, reader);
        XML_SetElementHandler(reader->parser, on_start, on_end);
        XML_SetCharacterDataHandler(reader->parser, on_text);
        XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
        enum XML_Status status = XML_Parse(reader->parser, document, (int)length, 1);
        rc = reader->rc ? reader->rc : status == XML_STATUS_OK ? 0 : -EBADMSG;
    }
    XML_ParserFree(reader->parser);
    free(reader);
    return rc;
}
