#include "muster/dataio/dataset.h"

#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/dataio/mirror.h"
#include "muster/dataio/record.h"
#include "muster/dataio/source.h"
#include "muster/dataio/uris.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DATASET_SUFFIX ".dataset.json"

/* ---- building -------------------------------------------------------------------------------- */

static int no_memory(struct mst_err *err)
{
    return mst_err_set(err, -ENOMEM, "no memory for the list of sources");
}

void dataset_source_fini(struct dataset_source *source)
{
    for (size_t i = 0; i < source->mirror_count; i++)
        free(source->mirrors[i]);
    free(source->mirrors);
    free(source->listed);
    free(source->name);
    *source = (struct dataset_source){0};
}

void dataset_close(struct dataset *dataset)
{
    for (size_t i = 0; dataset && i < dataset->source_count; i++)
        dataset_source_fini(&dataset->sources[i]);
    if (dataset)
        free(dataset->sources);
    free(dataset);
}

static int add_mirror(struct dataset_source *source, const char *uri, struct mst_err *err)
{
    if (source->mirror_count == MIRROR_COUNT_MAX)
        return mst_err_set(err, -EINVAL, "%.100s: at most %u mirrors", uri, MIRROR_COUNT_MAX);
    if (!source->mirrors)
        source->mirrors = calloc(MIRROR_COUNT_MAX, sizeof *source->mirrors);
    if (!source->mirrors || !(source->mirrors[source->mirror_count] = strdup(uri)))
        return no_memory(err);
    source->mirror_count++;
    return 0;
}

static int set_name(struct dataset_source *source, const char *path, struct mst_err *err)
{
    const char *slash = strrchr(path, '/');
    source->name = strdup(slash ? slash + 1 : path);
    return source->name ? 0 : no_memory(err);
}

/* Named as the last part of the first mirror. */
static int name_by_mirror(struct dataset_source *source, struct mst_err *err)
{
    assert(source->mirrors && source->mirror_count > 0); /* a source has one at least */
    char folder[URI_BYTES_MAX], name[URI_BYTES_MAX];
    int rc = uris_split(source->mirrors[0], folder, name);
    if (rc)
        return mst_err_set(err, rc, "\"%.100s\": not a URI, or too long", source->mirrors[0]);
    return set_name(source, name, err);
}

/* A name decides how the bytes of all mirrors are read: one of gzip under another name would be
 * trained on as it lies. (The other way round shows: what is no gzip does not inflate.) */
static int check_gzip(const struct dataset_source *source, struct mst_err *err)
{
    for (size_t i = 0; i < source->mirror_count && !record_is_gzip(source->name); i++) {
        const char *uri = source->mirrors[i];
        if (uris_ends_with(uri, ".gz") || uris_ends_with(uri, ".dz"))
            return mst_err_set(err, -EINVAL,
                               "%.*s is gzip, and %.100s, of which it is to be a mirror, is not: "
                               "mirrors are the same bytes; give the source the name of its form",
                               (int)mst_least(uris_shown_bytes(uri), 100), uri, source->name);
    }
    return 0;
}

/* Room for one more source, empty. */
static struct dataset_source *append(struct dataset *dataset, struct mst_err *err)
{
    size_t count = dataset->source_count;
    struct dataset_source *sources = dataset->sources;
    if (count == DATASET_SOURCES_MAX) {
        mst_err_set(err, -EINVAL, "more than %u sources", DATASET_SOURCES_MAX);
        return NULL;
    }
    if ((count & (count - 1)) == 0) /* grows at powers of two */
        sources = realloc(sources, (count ? 2 * count : 1) * sizeof *sources);
    if (!sources) {
        no_memory(err);
        return NULL;
    }
    dataset->sources = sources;
    sources[count] = (struct dataset_source){0};
    dataset->source_count++;
    return &sources[count];
}

static int split_list(const char *uris, struct dataset_source *ret_source, struct mst_err *err)
{
    char *list = strdup(uris), *rest = list;
    int rc = list ? 0 : no_memory(err);
    while (rc == 0 && rest) {
        const char *uri = strsep(&rest, ",");
        rc = *uri ? add_mirror(ret_source, uri, err)
                  : mst_err_set(err, -EINVAL, "\"%.100s\": an empty URI between commas", uris);
    }
    free(list);
    return rc;
}

/* ---- folders --------------------------------------------------------------------------------- */

struct listing {
    struct dataset *dataset;
    const struct dataset_source *self; /* whose mirrors are folders */
    size_t mirror;                     /* that is listed */
    uint32_t timeout_ms;               /* of each request; 0 = blob.h's */
    struct mst_err *err;
};

/* Files are looked at when they are opened: that costs no way to a server and back. */
static int keep_listed(const struct listing *listing, struct dataset_source *source,
                       const struct mst_blob_info *info)
{
    if (uris_is_local(listing->self->mirrors[listing->mirror]) || !*info->version)
        return 0;
    source->listed = malloc(sizeof *info);
    if (!source->listed)
        return no_memory(listing->err);
    *source->listed = *info;
    source->listed_mirror = listing->mirror;
    return 0;
}

static int add_listed(void *arg, const char *key, const struct mst_blob_info *info)
{
    struct listing *listing = arg;
    if (uris_text_ends_with(key, strlen(key), ".idx"))
        return 0;
    struct dataset_source *source = append(listing->dataset, listing->err);
    int rc = source ? set_name(source, key, listing->err) : -ENOMEM;
    if (rc == 0)
        rc = keep_listed(listing, source, info);
    char uri[URI_BYTES_MAX];
    for (size_t i = 0; rc == 0 && i < listing->self->mirror_count; i++) {
        rc = uris_child(listing->self->mirrors[i], key, uri);
        rc = rc ? mst_err_set(listing->err, rc, "%.100s: name too long", key)
                : add_mirror(source, uri, listing->err);
    }
    return rc;
}

static int list_mirror(struct listing *listing)
{
    const char *folder = listing->self->mirrors[listing->mirror];
    struct mst_blob_opts opts = {.timeout_ms = listing->timeout_ms,
                                 .fail_fast = listing->self->mirror_count > 1,
                                 .skip_hidden = true};
    struct mst_blob *blob = NULL;
    int rc = mst_blob_open(folder, &opts, &blob, listing->err);
    if (rc == 0)
        rc = mst_blob_list(blob, "", add_listed, listing, MST_NEVER,
                           listing->err); /* each request has its own time */
    listing->dataset->hidden_count = blob ? mst_blob_hidden_count(blob) : 0;
    mst_blob_close(blob);
    return rc;
}

static void drop_sources(struct dataset *dataset)
{
    while (dataset->source_count)
        dataset_source_fini(&dataset->sources[--dataset->source_count]);
    free(dataset->sources);
    dataset->sources = NULL;
}

/* The first mirror that answers tells the names for all. */
static int list_folder(const struct dataset_source *self, struct feed *feed,
                       struct dataset *dataset, struct mst_err *err)
{
    struct mst_err fault = {0};
    struct listing listing = {
        .dataset = dataset, .self = self, .timeout_ms = feed_timeout_ms(feed), .err = &fault};
    int rc = -EINVAL;
    for (size_t i = 0; rc && i < self->mirror_count; i++) {
        struct mst_err before = fault;
        drop_sources(dataset);
        listing.mirror = i;
        rc = list_mirror(&listing);
        if (i > 0)
            mst_err_wrap(&fault, "%.120s; and", before.text);
    }
    if (rc)
        return mst_err_set(err, rc, "%s", fault.text);
    if (dataset->source_count == 0)
        rc = mst_err_set(err, -EINVAL,
                         "%.*s: no file there that could be a source; %" PRIu64
                         " names that begin with . or _ do not count",
                         (int)uris_shown_bytes(self->mirrors[0]), self->mirrors[0],
                         dataset->hidden_count);
    return rc;
}

/* ---- dataset files --------------------------------------------------------------------------- */

static int bad_file(struct mst_err *err, const char *what)
{
    return mst_err_set(err, -EBADMSG, "not a dataset file: %s", what);
}

/* A relative URI lies beside every mirror of the dataset file. */
static int add_beside(struct dataset_source *source, const struct dataset_source *self,
                      const char *uri, struct mst_err *err)
{
    if (*uri == '\0')
        return bad_file(err, "a mirror is empty");
    if (!uris_is_relative(uri))
        return add_mirror(source, uri, err);
    char absolute[URI_BYTES_MAX];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < self->mirror_count; i++)
        rc = uris_sibling(self->mirrors[i], uri, absolute) < 0
                 ? bad_file(err, "a mirror's URI is too long")
                 : add_mirror(source, absolute, err);
    return rc;
}

static int decode_mirrors(const json_t *mirrors, const struct dataset_source *self,
                          struct dataset_source *source, struct mst_err *err)
{
    int rc = json_is_array(mirrors) && json_array_size(mirrors) ? 0 : -EBADMSG;
    if (rc)
        return bad_file(err, "\"mirrors\" is not a list of URIs");
    size_t i;
    json_t *mirror;
    json_array_foreach(mirrors, i, mirror)
    {
        rc = json_is_string(mirror) ? add_beside(source, self, json_string_value(mirror), err)
                                    : bad_file(err, "a mirror is not a string");
        if (rc)
            return rc;
    }
    return 0;
}

static int decode_source(json_t *object, const struct dataset_source *self,
                         struct dataset_source *source, struct mst_err *err)
{
    const char *name = NULL;
    json_t *mirrors = NULL;
    json_error_t error;
    if (json_unpack_ex(object, &error, 0, "{s?s, s?o!}", "name", &name, "mirrors", &mirrors))
        return bad_file(err, error.text);
    if (!mirrors && !(name && *name))
        return bad_file(err, "a source has neither name nor mirrors");
    int rc = mirrors ? decode_mirrors(mirrors, self, source, err)
                     : add_beside(source, self, name, err);
    if (rc)
        return rc;
    rc = name && *name ? set_name(source, name, err) : name_by_mirror(source, err);
    return rc ? rc : check_gzip(source, err);
}

static int decode_sources(json_t *root, const struct dataset_source *self, struct dataset *dataset,
                          struct mst_err *err)
{
    json_t *sources, *object;
    json_error_t error;
    int version;
    if (json_unpack_ex(root, &error, 0, "{s:i, s:o!}", "version", &version, "sources", &sources))
        return bad_file(err, error.text);
    if (version != 1)
        return bad_file(err, "its version is not 1");
    if (!json_is_array(sources) || json_array_size(sources) == 0)
        return bad_file(err, "\"sources\" is not a list of sources");
    size_t i;
    json_array_foreach(sources, i, object)
    {
        struct dataset_source *source = append(dataset, err);
        int rc = source ? decode_source(object, self, source, err) : -ENOMEM;
        if (rc)
            return rc;
    }
    return 0;
}

int dataset_decode(const char *text, size_t size_bytes, const struct dataset_source *self,
                   struct dataset **ret_dataset, struct mst_err *err)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    json_error_t error;
    json_t *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &error);
    int rc;
    if (!dataset)
        rc = no_memory(err);
    else if (!root)
        rc = mst_err_set(err, -EBADMSG, "not a dataset file: line %d: %s", error.line, error.text);
    else
        rc = decode_sources(root, self, dataset, err);
    json_decref(root);
    if (rc == -EINVAL) { /* a bad URI, or too many: it is the file that is wrong */
        rc = -EBADMSG;
        if (err)
            err->code = rc;
    }
    if (rc) {
        dataset_close(dataset);
        return rc;
    }
    *ret_dataset = dataset;
    return 0;
}

static int read_file(const struct dataset_source *self, struct feed *feed,
                     struct dataset **ret_dataset, struct mst_err *err)
{
    uint8_t *text = NULL;
    uint64_t size_bytes = 0;
    int rc = source_slurp(self, feed, DATASET_FILE_MAX, &text, &size_bytes, err);
    if (rc)
        return rc;
    rc = dataset_decode((const char *)text, (size_t)size_bytes, self, ret_dataset, err);
    if (rc)
        mst_err_wrap(err, "%.*s", (int)uris_shown_bytes(self->mirrors[0]), self->mirrors[0]);
    free(text);
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* A file is a dataset of itself; `self` is moved into it. */
static int wrap_file(struct dataset_source *self, struct dataset *dataset, struct mst_err *err)
{
    struct dataset_source *source = append(dataset, err);
    int rc = source ? name_by_mirror(self, err) : -ENOMEM;
    if (rc == 0)
        rc = check_gzip(self, err);
    if (source) {
        *source = *self;
        *self = (struct dataset_source){0};
    }
    return rc;
}

/* Mirrors of folders are folders. */
static int check_kinds(const struct dataset_source *self, const char *end, struct mst_err *err)
{
    bool first = uris_ends_with(self->mirrors[0], end);
    for (size_t i = 1; i < self->mirror_count; i++)
        if (uris_ends_with(self->mirrors[i], end) != first)
            return mst_err_set(err, -EINVAL,
                               "%.100s and %.100s cannot be mirrors: only one ends in %s",
                               self->mirrors[0], self->mirrors[i], end);
    return 0;
}

static int resolve(struct dataset_source *self, struct feed *feed, struct dataset **ret_dataset,
                   struct mst_err *err)
{
    int rc = check_kinds(self, "/", err);
    rc = rc ? rc : check_kinds(self, DATASET_SUFFIX, err);
    if (rc)
        return rc;
    if (uris_ends_with(self->mirrors[0], DATASET_SUFFIX))
        return read_file(self, feed, ret_dataset, err);
    struct dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return no_memory(err);
    rc = uris_ends_with(self->mirrors[0], "/") ? list_folder(self, feed, dataset, err)
                                               : wrap_file(self, dataset, err);
    if (rc) {
        dataset_close(dataset);
        return rc;
    }
    *ret_dataset = dataset;
    return 0;
}

int dataset_open(const char *uris, struct feed *feed, struct dataset **ret_dataset,
                 struct mst_err *err)
{
    struct dataset_source self = {0};
    int rc = split_list(uris, &self, err);
    if (rc == 0)
        rc = resolve(&self, feed, ret_dataset, err);
    dataset_source_fini(&self);
    return rc;
}

int dataset_companion(const struct dataset_source *source, size_t cut, const char *suffix,
                      struct dataset_source *ret_source, struct mst_err *err)
{
    struct dataset_source companion = {0};
    char uri[URI_BYTES_MAX];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < source->mirror_count; i++)
        rc = uris_replace_end(source->mirrors[i], cut, suffix, uri) < 0
                 ? mst_err_set(err, -EINVAL, "%.100s: name too long", source->mirrors[i])
                 : add_mirror(&companion, uri, err);
    if (rc == 0)
        rc = name_by_mirror(&companion, err);
    if (rc) {
        dataset_source_fini(&companion);
        return rc;
    }
    *ret_source = companion;
    return 0;
}
