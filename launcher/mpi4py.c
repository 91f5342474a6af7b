/* Source: mpi4py 4.1.2, mpi4py/_mpiabi.py: a wheel holds a module for each family, and looks for
 * libmpi in lib of the environment's, the user's and the interpreter's prefix, and then as the
 * dynamic loader does. One that is built for an MPI is linked with its library. The folders are
 * those of Python's site.py, and of Debian's. */
#include "muster/launcher/mpi4py.h"

#include "muster/core/file.h"
#include "muster/launcher/mpi.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOADER_CACHE "/etc/ld.so.cache"

/* Where one interpreter looks. An empty text is no place. */
struct places {
    char version[32];          /* "python3.11" */
    char venv[PATH_MAX];       /* the prefix of an environment of its own */
    char user[PATH_MAX];       /* ~/.local */
    char base[PATH_MAX];       /* the interpreter's prefix */
    bool is_closed;            /* the environment sees its own packages only */
    const char *package_paths; /* PYTHONPATH */
    const char *library_paths; /* LD_LIBRARY_PATH */
};

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* "P/bin/python3" becomes "P". */
static bool cut_two(char *path)
{
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
    return true;
}

static bool says(const char *path, const char *text)
{
    char bytes[1024] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
    mst_file_close(&fd);
    return size > 0 && strstr(bytes, text);
}

static bool find_places(const char *python, char *const *env, struct places *places)
{
    char config[PATH_MAX + 16];
    const char *home = mpi_value_in(env, "HOME"), *user = mpi_value_in(env, "PYTHONUSERBASE");
    *places = (struct places){.package_paths = mpi_value_in(env, "PYTHONPATH"),
                              .library_paths = mpi_value_in(env, "LD_LIBRARY_PATH")};
    if (!realpath(python, places->base))
        return false;
    const char *name = strrchr(places->base, '/') + 1;
    if (strncmp(name, "python3.", 8) != 0 || strlen(name) >= sizeof places->version)
        return false;
    memcpy(places->version, name, strlen(name) + 1);
    if (!cut_two(places->base))
        return false;
    (void)snprintf(places->venv, PATH_MAX, "%s", python);
    bool is_venv = cut_two(places->venv);
    (void)snprintf(config, sizeof config, "%s/pyvenv.cfg", places->venv);
    is_venv = is_venv && access(config, F_OK) == 0;
    if (!is_venv)
        places->venv[0] = '\0';
    places->is_closed = is_venv && !says(config, "include-system-site-packages = true");
    if (places->is_closed)
        return true;
    if (user)
        (void)snprintf(places->user, PATH_MAX, "%s", user);
    else if (home)
        (void)snprintf(places->user, PATH_MAX, "%s/.local", home);
    return true;
}

/* ---- its package ----------------------------------------------------------------------------- */

static bool has_package(const char *folder, size_t size, char *package)
{
    return size > 0 && snprintf(package, PATH_MAX, "%.*s/mpi4py", (int)size, folder) < PATH_MAX &&
           is_folder(package);
}

static bool has_package_in(const char *prefix, const char *middle, const char *version,
                           char *package)
{
    char folder[PATH_MAX];
    int size = snprintf(folder, sizeof folder, "%s/%s%s", prefix, middle, version);
    return prefix[0] && size < (int)sizeof folder && has_package(folder, (size_t)size, package);
}

static bool find_package(const struct places *places, char *package)
{
    char site[48], local[64];
    const char *base = places->is_closed ? "" : places->base;
    for (const char *at = places->package_paths; at && *at; at += *at == ':') {
        size_t size = strcspn(at, ":");
        if (has_package(at, size, package))
            return true;
        at += size;
    }
    (void)snprintf(site, sizeof site, "%s/site-packages", places->version);
    (void)snprintf(local, sizeof local, "%s/dist-packages", places->version);
    return has_package_in(places->venv, "lib/", site, package) ||
           has_package_in(places->user, "lib/", site, package) ||
           has_package_in(base, "lib/", site, package) ||
           has_package_in(base, "local/lib/", local, package) ||
           has_package_in(base, "lib/", "python3/dist-packages", package);
}

bool mpi4py_is_module(const char *name)
{
    const char *at = strstr(name, "/mpi4py/MPI.");
    return at && strstr(at, ".so");
}

/* ---- the library that it looks for ----------------------------------------------------------- */

/* What is of a name: nothing; a library of MPI; or a file that ends the search for the name, as it
 * can be loaded by none (in wheels of MPI, `libmpi.so` is a text for ld). */
enum found { NOTHING, LIBRARY, OTHER };

static enum found take_file(const char *path, char *library)
{
    if (access(path, F_OK))
        return NOTHING;
    return mpi_file_is(path, library) ? LIBRARY : OTHER;
}

static enum found take_in(const char *folder, size_t size, const char *name, char *library)
{
    char path[PATH_MAX];
    bool fits = size > 0 &&
                snprintf(path, sizeof path, "%.*s/%s", (int)size, folder, name) < (int)sizeof path;
    return fits ? take_file(path, library) : NOTHING;
}

/* The paths stand in it one behind the other, each with a NUL. */
static enum found take_from(const char *bytes, size_t size_bytes, const char *name, char *library)
{
    char path[PATH_MAX];
    const char *end = bytes + size_bytes, *at = bytes;
    size_t name_size = strlen(name) + 1; /* its NUL, too */
    enum found found = NOTHING;
    while (found == NOTHING && (at = memmem(at, (size_t)(end - at), name, name_size))) {
        const char *first = at;
        while (first > bytes && first[-1] && at - first < PATH_MAX)
            first--;
        at += name_size;
        if (*first == '/' && at[-(ptrdiff_t)name_size - 1] == '/' &&
            snprintf(path, sizeof path, "%s", first) < (int)sizeof path)
            found = take_file(path, library);
    }
    return found;
}

static enum found take_cached(const char *name, char *library)
{
    struct stat info;
    enum found found = NOTHING;
    int fd = open(LOADER_CACHE, O_RDONLY | O_CLOEXEC);
    void *bytes = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 0)
        bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    mst_file_close(&fd);
    if (bytes == MAP_FAILED)
        return NOTHING;
    found = take_from(bytes, (size_t)info.st_size, name, library);
    (void)munmap(bytes, (size_t)info.st_size); /* it is ours */
    return found;
}

static enum found take_loaded(const struct places *places, const char *name, char *library)
{
    static const char *const folders[] = {"/lib64", "/usr/lib64", "/lib", "/usr/lib"};
    enum found found = NOTHING;
    for (const char *at = places->library_paths; at && *at && found == NOTHING; at += *at == ':') {
        size_t size = strcspn(at, ":");
        found = take_in(at, size, name, library);
        at += size;
    }
    if (found == NOTHING)
        found = take_cached(name, library);
    for (size_t i = 0; i < sizeof folders / sizeof *folders && found == NOTHING; i++)
        found = take_in(folders[i], strlen(folders[i]), name, library);
    return found;
}

static bool find_library(const struct places *places, char *library)
{
    static const char *const names[] = {"libmpi.so", "libmpi.so.12", "libmpi.so.40"};
    const char *const prefixes[] = {places->venv, places->user,
                                    strcmp(places->base, "/usr") != 0 ? places->base : ""};
    char folder[PATH_MAX + 8];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        int size = snprintf(folder, sizeof folder, "%s/lib", prefixes[i]);
        for (size_t k = 0; k < 3 && prefixes[i][0]; k++) {
            if (take_in(folder, (size_t)size, names[k], library) == LIBRARY)
                return true;
        }
    }
    for (size_t k = 0; k < 3; k++) {
        if (take_loaded(places, names[k], library) == LIBRARY)
            return true;
    }
    return false;
}

bool mpi4py_finds(const char *python, char *const *env, char *library)
{
    struct places places;
    char package[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    if (!find_places(python, env, &places) || !find_package(&places, package))
        return false;
    DIR *folder = opendir(package);
    const struct dirent *entry;
    bool is_wheel = false, found = false;
    while (folder && !found && (entry = readdir(folder))) {
        const char *name = entry->d_name;
        (void)snprintf(path, sizeof path, "%s/%s", package, name);
        if (!mpi4py_is_module(path))
            continue;
        is_wheel = is_wheel || strncmp(name, "MPI.mpich.", 10) == 0 ||
                   strncmp(name, "MPI.openmpi.", 12) == 0 || strncmp(name, "MPI.mpiabi.", 11) == 0;
        found = !is_wheel && mpi_file_needs(path, library);
    }
    if (folder)
        (void)closedir(folder); /* only read */
    return found || (is_wheel && find_library(&places, library));
}
