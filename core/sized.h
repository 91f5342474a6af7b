/* Sized structs: how options and results of the public headers may grow. Such a struct begins with
 * `uint32_t struct_bytes`, which its _INIT macro sets to the size that the program was compiled
 * with; fields are only ever added at its end, and zero is every field's default. So a program and
 * a library of different minor versions understand each other, or one of them says why not. There
 * is no padding at the end, where a field would not change the size, and none between fields that
 * are added: an older library takes what is set behind its own for a field that it does not know,
 * and nobody sets the bytes of padding. _INIT names every field, so that no compiler warns of what
 * it leaves out. */
/* pure */
#ifndef MUSTER_CORE_SIZED_H
#define MUSTER_CORE_SIZED_H

#include <stddef.h>

struct mst_err;

/* Copies `given`, which may be NULL (all defaults), to *ret_known, `known_bytes` of this library's
 * form. Fields that the program does not know are zero. 0; -EINVAL struct_bytes was not set, or is
 * a size that ends inside a field, naming the macro `init`; -ENOTSUP the program sets a field that
 * this library does not know. */
int mst_sized_take(void *ret_known, size_t known_bytes, const void *given, const char *init,
                   struct mst_err *err);

/* Copies `known`, a result, to *ret_given as far as the program knows its fields; what the program
 * knows beyond that is zeroed. ret_given->struct_bytes stays. 0; -EINVAL it was not set, or cuts a
 * field. */
int mst_sized_give(void *ret_given, const void *known, size_t known_bytes);

#endif
