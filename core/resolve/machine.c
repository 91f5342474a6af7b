#include "muster/core/resolve/machine.h"

#include "muster/core/file.h"
#include "muster/core/resolve/hardware.h"
#include "muster/core/resolve/parser.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (4u << 20) /* a hostfile of the largest world is below */

void machine_fini(struct machine *machine)
{
    free(machine->text);
    machine->text = NULL;
}

/* A file over the limit is none of those that are meant. */
static char *read_text(const char *path)
{
    FILE *file = mst_file_read(path);
    char *text = file ? malloc(FILE_BYTES_MAX) : NULL;
    size_t size = text ? fread(text, 1, FILE_BYTES_MAX, file) : 0;
    if (text && (size == FILE_BYTES_MAX || ferror(file))) {
        free(text);
        text = NULL;
    }
    if (text)
        text[size] = '\0';
    if (file)
        (void)fclose(file); /* read only, as the folder below */
    return text;
}

static char *read_names(const char *path)
{
    DIR *folder = opendir(path);
    char *text = NULL;
    size_t size = 0;
    FILE *out = folder ? open_memstream(&text, &size) : NULL;
    for (struct dirent *entry; out && (entry = readdir(folder));)
        (void)fprintf(out, "%s\n", entry->d_name); /* fclose tells of no memory */
    if (out && fclose(out)) {
        free(text);
        text = NULL;
    }
    if (folder)
        (void)closedir(folder);
    return text;
}

static const char *read_file(void *arg, const char *path)
{
    struct machine *machine = arg;
    char full[4096];
    int size = snprintf(full, sizeof full, "%s%s", machine->root, path);
    machine_fini(machine);
    if (size <= 0 || (size_t)size >= sizeof full)
        return NULL;
    machine->text = full[size - 1] == '/' ? read_names(full) : read_text(full);
    return machine->text;
}

void machine_init(struct machine *machine, char *const *env, const char *root)
{
    static char *const none[] = {NULL};
    *machine = (struct machine){.facts = {.env = env ? env : none,
                                          .hostname = machine->hostname,
                                          .pod_ip = "",
                                          .read_file = read_file,
                                          .arg = machine},
                                .root = root};
    if (gethostname(machine->hostname, sizeof machine->hostname) ||
        !memchr(machine->hostname, '\0', sizeof machine->hostname))
        machine->hostname[0] = '\0';
}

static void count_hardware(void *arg)
{
    struct mst_machine *facts = &((struct machine *)arg)->facts;
    facts->count = NULL;
    facts->gpu_count = hardware_gpu_count("/dev", resolve_value(facts, "CUDA_VISIBLE_DEVICES"),
                                          resolve_value(facts, "NVIDIA_VISIBLE_DEVICES"));
    facts->core_count = hardware_core_count("");
}

void machine_look(struct machine *machine)
{
    struct mst_machine *facts = &machine->facts;
    const char *pod_ip = resolve_text(facts, "POD_IP");
    facts->pod_ip = pod_ip ? pod_ip : "";
    facts->count = count_hardware;
}
