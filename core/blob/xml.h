/* xml: the flat documents that S3, STS and Hadoop write, element by element, over expat. */
#ifndef MUSTER_CORE_BLOB_XML_H
#define MUSTER_CORE_BLOB_XML_H

#include <stddef.h>

#define XML_TEXT_MAX 16384 /* bytes of one element's text, terminator included */

/* Told at the end of each element: its name, its parent's ("" for the root) and its own text, which
 * is "" for an element that has others inside. 0 goes on; anything else ends the reading. */
typedef int (*xml_fn)(void *arg, const char *parent, const char *name, const char *text);

/* Reads a document. 0; what `fn` answered; -EBADMSG: not XML, a DOCTYPE (nobody sends one, and
 * entities are how small documents grow large), too deep, or a text over XML_TEXT_MAX; -ENOMEM. */
int xml_read(const char *document, size_t length, xml_fn fn, void *arg);

#endif
