/* Source: System V ABI, gABI 4.1, chapters 4 and 5: the dynamic section holds offsets into a string
 * table, of which it gives the address in memory; the loadable segments say where that is in the
 * file. Fields are read by their places: the structs of elf.h are the host's. */
/* pure */
#include "muster/launcher/elf.h"

#include "muster/core/bytes.h"

#include <string.h>

#define HEADER_BYTES 64
#define SEGMENT_BYTES 56
#define ENTRY_BYTES 16
#define SEGMENTS_MAX 128 /* real programs have a dozen */
#define ENTRIES_MAX 4096

enum { SEGMENT_LOAD = 1, SEGMENT_DYNAMIC = 2 };
enum {
    ENTRY_END = 0,
    ENTRY_NEEDED = 1,
    ENTRY_STRINGS = 5,
    ENTRY_STRINGS_SIZE = 10,
    ENTRY_SONAME = 14
};

struct segment {
    uint32_t type;
    uint64_t offset, address, size_bytes; /* in the file */
};

struct image {
    const struct elf_file *file;
    struct segment segments[SEGMENTS_MAX];
    uint32_t segment_count;
    struct segment dynamic;
};

/* A table of strings; its offset is in the file. */
struct strings {
    uint64_t offset, size_bytes;
};

struct entry {
    uint64_t tag, value;
};

static bool read_segment(const struct elf_file *file, uint64_t offset, struct segment *ret_segment)
{
    uint8_t bytes[SEGMENT_BYTES];
    if (!file->read_at(file->arg, offset, bytes, sizeof bytes))
        return false;
    *ret_segment = (struct segment){.type = mst_get_le32(bytes),
                                    .offset = mst_get_le64(bytes + 8),
                                    .address = mst_get_le64(bytes + 16),
                                    .size_bytes = mst_get_le64(bytes + 32)};
    return true;
}

static bool read_image(const struct elf_file *file, struct image *ret_image)
{
    static const uint8_t magic[] = {0x7f, 'E', 'L', 'F', 2 /* 64 bits */, 1 /* little-endian */};
    uint8_t bytes[HEADER_BYTES];
    if (!file->read_at(file->arg, 0, bytes, sizeof bytes) || memcmp(bytes, magic, sizeof magic))
        return false;
    uint64_t offset = mst_get_le64(bytes + 32);
    uint16_t size_bytes = mst_get_le16(bytes + 54), count = mst_get_le16(bytes + 56);
    if (size_bytes != SEGMENT_BYTES || count > SEGMENTS_MAX || offset > UINT64_MAX / 2)
        return false;
    ret_image->file = file;
    ret_image->segment_count = count;
    bool is_dynamic = false;
    for (uint32_t i = 0; i < count; i++) {
        struct segment *segment = &ret_image->segments[i];
        if (!read_segment(file, offset + (uint64_t)i * SEGMENT_BYTES, segment))
            return false;
        if (segment->type == SEGMENT_DYNAMIC)
            ret_image->dynamic = *segment;
        is_dynamic = is_dynamic || segment->type == SEGMENT_DYNAMIC;
    }
    return is_dynamic;
}

/* Entry `index` of the dynamic section; one that ends it where there are no more. */
static struct entry entry_at(const struct image *image, uint32_t index)
{
    uint8_t bytes[ENTRY_BYTES];
    uint64_t at = (uint64_t)index * ENTRY_BYTES;
    const struct segment *dynamic = &image->dynamic;
    if (dynamic->size_bytes < ENTRY_BYTES || at > dynamic->size_bytes - ENTRY_BYTES ||
        dynamic->offset > UINT64_MAX - at ||
        !image->file->read_at(image->file->arg, dynamic->offset + at, bytes, sizeof bytes))
        return (struct entry){.tag = ENTRY_END};
    return (struct entry){mst_get_le64(bytes), mst_get_le64(bytes + 8)};
}

/* Where the byte at an address lies in the file. */
static bool find_offset(const struct image *image, uint64_t address, uint64_t *ret_offset)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct segment *segment = &image->segments[i];
        if (segment->type != SEGMENT_LOAD || address < segment->address)
            continue;
        uint64_t within = address - segment->address;
        if (within >= segment->size_bytes || segment->offset > UINT64_MAX - within)
            continue;
        *ret_offset = segment->offset + within;
        return true;
    }
    return false;
}

static bool find_strings(const struct image *image, struct strings *ret_strings)
{
    uint64_t address = 0;
    struct entry entry;
    *ret_strings = (struct strings){0};
    for (uint32_t i = 0; i < ENTRIES_MAX && (entry = entry_at(image, i)).tag != ENTRY_END; i++) {
        if (entry.tag == ENTRY_STRINGS)
            address = entry.value;
        if (entry.tag == ENTRY_STRINGS_SIZE)
            ret_strings->size_bytes = entry.value;
    }
    return find_offset(image, address, &ret_strings->offset);
}

static bool read_name(const struct image *image, const struct strings *strings, uint64_t at,
                      char name[ELF_NAME_BYTES])
{
    if (at >= strings->size_bytes || strings->offset > UINT64_MAX - at)
        return false;
    uint64_t left = strings->size_bytes - at;
    size_t size = left < ELF_NAME_BYTES ? (size_t)left : ELF_NAME_BYTES;
    return image->file->read_at(image->file->arg, strings->offset + at, name, size) &&
           memchr(name, '\0', size);
}

/* The first name of entries with that tag that is wanted. */
static bool find_name(const struct elf_file *file, uint64_t tag, bool (*is_wanted)(const char *),
                      char name[ELF_NAME_BYTES])
{
    struct image image;
    struct strings strings;
    struct entry entry;
    char found[ELF_NAME_BYTES];
    if (!read_image(file, &image) || !find_strings(&image, &strings))
        return false;
    for (uint32_t i = 0; i < ENTRIES_MAX && (entry = entry_at(&image, i)).tag != ENTRY_END; i++) {
        if (entry.tag != tag || !read_name(&image, &strings, entry.value, found) ||
            !is_wanted(found))
            continue;
        memcpy(name, found, strlen(found) + 1);
        return true;
    }
    return false;
}

bool elf_find_library(const struct elf_file *file, bool (*is_wanted)(const char *name),
                      char name[ELF_NAME_BYTES])
{
    return find_name(file, ENTRY_NEEDED, is_wanted, name);
}

static bool is_any(const char *name)
{
    (void)name;
    return true;
}

bool elf_name(const struct elf_file *file, char name[ELF_NAME_BYTES])
{
    return find_name(file, ENTRY_SONAME, is_any, name);
}
