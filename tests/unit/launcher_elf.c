/* A program of a few bytes, put together here: what its dynamic section names, and every way in
 * which it can be cut or lie. */
#include "muster/launcher/elf.h"

#include "muster/core/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "elf_bytes.h"

#define BASE UINT64_C(0x400000)
#define SEGMENTS 64
#define DYNAMIC (SEGMENTS + 2 * 56)
#define STRINGS (DYNAMIC + 5 * 16)

/* NEEDED libc, NEEDED libmpi, then where the strings are. */
struct program {
    uint8_t bytes[512];
    size_t size_bytes;
};

static const char strings[] = "\0libc.so.6\0libmpi.so.40";

static void put_segment(uint8_t *at, uint32_t type, uint64_t offset, uint64_t size_bytes)
{
    mst_put_le32(at, type);
    mst_put_le64(at + 8, offset);
    mst_put_le64(at + 16, BASE + offset);
    mst_put_le64(at + 32, size_bytes);
}

static void put_entry(uint8_t *at, uint64_t tag, uint64_t value)
{
    mst_put_le64(at, tag);
    mst_put_le64(at + 8, value);
}

static struct program make(void)
{
    struct program program = {.size_bytes = STRINGS + sizeof strings};
    uint8_t *bytes = program.bytes;
    memcpy(bytes,
           "\x7f"
           "ELF\2\1\1",
           7);
    mst_put_le64(bytes + 32, SEGMENTS);
    mst_put_le16(bytes + 54, 56);
    mst_put_le16(bytes + 56, 2);
    put_segment(bytes + SEGMENTS, 1, 0, program.size_bytes);
    put_segment(bytes + SEGMENTS + 56, 2, DYNAMIC, 5 * 16);
    put_entry(bytes + DYNAMIC, 1, 1);
    put_entry(bytes + DYNAMIC + 16, 1, 11);
    put_entry(bytes + DYNAMIC + 32, 5, BASE + STRINGS);
    put_entry(bytes + DYNAMIC + 48, 10, sizeof strings);
    memcpy(bytes + STRINGS, strings, sizeof strings);
    return program;
}

static bool is_mpi(const char *name)
{
    return strncmp(name, "libmpi", 6) == 0;
}

static bool is_any(const char *name)
{
    return name[0] != '\0';
}

static bool find(struct program *program, bool (*is_wanted)(const char *), char *name)
{
    struct elf_bytes all = {program->bytes, program->size_bytes};
    struct elf_file file = {.read_at = elf_bytes_read_at, .arg = &all};
    return elf_find_library(&file, is_wanted, name);
}

static bool finds_mpi(struct program program)
{
    char name[ELF_NAME_BYTES] = "untouched";
    bool found = find(&program, is_mpi, name);
    assert_string_equal(name, found ? "libmpi.so.40" : "untouched");
    return found;
}

static void the_first_that_is_wanted_is_named(void **state)
{
    (void)state;
    struct program program = make();
    char name[ELF_NAME_BYTES];
    assert_true(finds_mpi(program));
    assert_true(find(&program, is_any, name));
    assert_string_equal(name, "libc.so.6");
}

static void a_program_cut_anywhere_names_none(void **state)
{
    (void)state;
    struct program program = make();
    for (size_t size_bytes = 0; size_bytes < STRINGS + sizeof strings; size_bytes++) {
        program.size_bytes = size_bytes;
        assert_false(finds_mpi(program));
    }
}

static void what_is_no_program_of_this_kind_names_none(void **state)
{
    (void)state;
    static const size_t places[] = {0, 1, 4 /* 32 bits */, 5 /* big-endian */, 54, 57};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct program program = make();
        program.bytes[places[i]] ^= 3;
        assert_false(finds_mpi(program));
    }
    struct program still = make();
    put_segment(still.bytes + SEGMENTS + 56, 4, DYNAMIC, 80); /* linked statically */
    assert_false(finds_mpi(still));
}

static void numbers_that_lie_lead_nowhere(void **state)
{
    (void)state;
    static const uint64_t lies[] = {STRINGS + sizeof strings, UINT64_MAX, UINT64_MAX - BASE,
                                    UINT64_MAX / 2, 0};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct program program = make();
        mst_put_le64(program.bytes + 32, lies[i] ? lies[i] : 1); /* the segments */
        assert_false(finds_mpi(program));
        program = make();
        mst_put_le64(program.bytes + SEGMENTS + 56 + 8, lies[i]); /* the dynamic section */
        assert_false(finds_mpi(program));
        program = make();
        mst_put_le64(program.bytes + DYNAMIC + 24, lies[i]); /* a name */
        assert_false(finds_mpi(program));
        program = make();
        mst_put_le64(program.bytes + DYNAMIC + 40, lies[i]); /* the strings */
        assert_false(finds_mpi(program));
    }
}

/* Sizes are limits, not promises: what lies before the end is read. */
static void a_table_that_claims_too_much_is_read_as_far_as_it_goes(void **state)
{
    (void)state;
    struct program program = make();
    program.size_bytes = sizeof program.bytes;
    mst_put_le64(program.bytes + DYNAMIC + 56, UINT64_MAX);
    mst_put_le64(program.bytes + SEGMENTS + 56 + 32, UINT64_MAX);
    assert_true(finds_mpi(program));
    for (size_t cut = 0; cut < sizeof strings; cut++) {
        mst_put_le64(program.bytes + DYNAMIC + 56, cut);
        assert_false(finds_mpi(program));
    }
}

static void a_library_has_a_name(void **state)
{
    (void)state;
    struct program program = make();
    struct elf_bytes all = {program.bytes, program.size_bytes};
    struct elf_file file = {.read_at = elf_bytes_read_at, .arg = &all};
    char name[ELF_NAME_BYTES] = "x";
    assert_false(elf_name(&file, name));
    assert_string_equal(name, "x");
    put_entry(program.bytes + DYNAMIC, 14, 11);
    assert_true(elf_name(&file, name));
    assert_string_equal(name, "libmpi.so.40");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_library_has_a_name),
        cmocka_unit_test(the_first_that_is_wanted_is_named),
        cmocka_unit_test(a_program_cut_anywhere_names_none),
        cmocka_unit_test(what_is_no_program_of_this_kind_names_none),
        cmocka_unit_test(numbers_that_lie_lead_nowhere),
        cmocka_unit_test(a_table_that_claims_too_much_is_read_as_far_as_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
