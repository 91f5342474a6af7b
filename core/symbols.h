/* Functions of a library that is loaded at run time. Inline, so that only who loads one needs the
 * dynamic linker. */
#ifndef MUSTER_CORE_SYMBOLS_H
#define MUSTER_CORE_SYMBOLS_H

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* Fills *ret_pointers, a struct of `count` function pointers, with what `library` has under these
 * names, in their order. NULL, or the first name that it does not have; then some are filled. */
static inline const char *mst_symbols_find(void *library, const char *const *names, size_t count,
                                           void *ret_pointers)
{
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(library, names[i]);
        if (!symbol)
            return names[i];
        memcpy((char *)ret_pointers + i * sizeof symbol, &symbol, sizeof symbol);
    }
    return NULL;
}

#endif
