#include "muster/core/blob/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more item of `item_bytes`. The array, or NULL, which leaves it as it was. */
static void *grow(void *items, size_t count, size_t *cap, size_t item_bytes)
{
    if (count < *cap)
        return items;
    size_t wanted = *cap ? *cap * 2 : 64;
    void *grown = reallocarray(items, wanted, item_bytes);
    if (grown)
        *cap = wanted;
    return grown;
}

int blob_listing_add(struct blob_listing *listing, const char *key,
                     const struct mst_blob_info *info)
{
    struct listing_item *items = grow(listing->items, listing->count, &listing->cap,
                                      sizeof *listing->items);
    if (!items)
        return -ENOMEM;
    listing->items = items;
    char *copy = strdup(key);
    if (!copy)
        return -ENOMEM;
    items[listing->count++] = (struct listing_item){.key = copy, .info = *info};
    return 0;
}

int blob_listing_visit(struct blob_listing *listing, const char *folder)
{
    char **folders = grow(listing->folders, listing->folder_count, &listing->folder_cap,
                          sizeof *listing->folders);
    if (!folders)
        return -ENOMEM;
    listing->folders = folders;
    folders[listing->folder_count] = strdup(folder);
    if (!folders[listing->folder_count])
        return -ENOMEM;
    listing->folder_count++;
    return 0;
}

char *blob_listing_next(struct blob_listing *listing)
{
    return listing->folder_count ? listing->folders[--listing->folder_count] : NULL;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct listing_item *)a)->key, ((const struct listing_item *)b)->key);
}

int blob_listing_tell(struct blob_listing *listing, mst_blob_each_fn each, void *arg)
{
    if (listing->count > 0)
        qsort(listing->items, listing->count, sizeof *listing->items, by_key);
    int rc = 0;
    for (size_t i = 0; i < listing->count && rc == 0; i++)
        rc = each(arg, listing->items[i].key, &listing->items[i].info);
    return rc;
}

void blob_listing_fini(struct blob_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->items[i].key);
    for (size_t i = 0; i < listing->folder_count; i++)
        free(listing->folders[i]);
    free(listing->items);
    free(listing->folders);
    *listing = (struct blob_listing){0};
}
