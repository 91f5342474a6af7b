/* Whatever a dataset file holds, every source that comes out of it has a name and mirrors that can
 * be split. */
#include "muster/dataio/dataset.h"
#include "muster/dataio/mirror.h"
#include "muster/dataio/uris.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_source(const struct dataset_source *source)
{
    if (!source->name || strchr(source->name, '/') || source->mirror_count < 1 ||
        source->mirror_count > MIRROR_COUNT_MAX)
        abort();
    for (size_t i = 0; i < source->mirror_count; i++)
        if (!*source->mirrors[i])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static char *const folders[] = {"s3://bucket/x.dataset.json?q", "dir/x.dataset.json"};
    char *mirrors[2] = {folders[0], folders[1]};
    struct dataset_source self = {.mirrors = mirrors, .mirror_count = 2}, companion;
    struct dataset *dataset = NULL;
    if (dataset_decode((const char *)data, size_bytes, &self, &dataset, NULL))
        return 0;
    if (dataset->source_count == 0)
        abort();
    for (size_t i = 0; i < dataset->source_count; i++) {
        check_source(&dataset->sources[i]);
        if (dataset_companion(&dataset->sources[i], 0, ".idx", &companion, NULL) == 0)
            dataset_source_fini(&companion);
    }
    dataset_close(dataset);
    return 0;
}
