/* pure */
#include "muster/launcher/wrapper.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Options as getopt(3) has them, which may be written together. Of long ones the value may be the
 * next word, too; those with a letter only need no name here but for that. */
struct wrapper {
    const char *name;
    const char *valued;      /* the letters of options with a value */
    const char *long_valued; /* and their long names, each with a blank around it */
    const char *ends;        /* letters by which it becomes no other program, or hides which */
    int operands;            /* before the program */
};

static const struct wrapper wrappers[] = {
    {"env", "uC", " unset chdir ", "S", 0},
    {"nice", "n", " adjustment ", "", 0},
    {"ionice", "cn", " class classdata ", "pPu", 0},
    {"chrt", "TPD", " sched-runtime sched-period sched-deadline ", "pm", 1},
    {"taskset", "", "", "p", 1},
    {"numactl", "iwpPmNC",
     " interleave weighted-interleave preferred preferred-many membind cpunodebind physcpubind ",
     "sSHL", 0},
    {"timeout", "ks", " kill-after signal ", "", 1},
    {"stdbuf", "ioe", " input output error ", "", 0},
    {"time", "fo", " format output ", "", 0},
    {"nohup", "", "", "", 0},
    {"setsid", "", "", "", 0},
};

static const struct wrapper *find(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        if (strcmp(wrappers[i].name, name) == 0)
            return &wrappers[i];
    }
    return NULL;
}

static bool is_among(const char *names, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = names; size > 0 && (at = strstr(at, name)); at++) {
        if (at > names && at[-1] == ' ' && at[size] == ' ')
            return true;
    }
    return false;
}

/* How many words an option is; 0: it ends the search. */
static int size_of(const struct wrapper *wrapper, const char *word)
{
    if (word[1] == '-')
        return strcmp(word, "--split-string") == 0 || strncmp(word, "--split-string=", 15) == 0 ? 0
               : is_among(wrapper->long_valued, word + 2)                                       ? 2
                                                                                                : 1;
    for (const char *letter = word + 1; *letter; letter++) {
        if (strchr(wrapper->ends, *letter))
            return 0;
        if (strchr(wrapper->valued, *letter))
            return letter[1] ? 1 : 2;
    }
    return 1;
}

static char *const *skip(const struct wrapper *wrapper, char *const *argv)
{
    int operands = wrapper->operands;
    bool takes_options = true, is_env = strcmp(wrapper->name, "env") == 0;
    for (argv++; *argv; argv++) {
        const char *word = *argv;
        if (takes_options && word[0] == '-') {
            int size = size_of(wrapper, word);
            takes_options = strcmp(word, "--") != 0;
            if (size == 0 || (size == 2 && !argv[1]))
                return NULL;
            argv += size - 1;
            continue;
        }
        takes_options = false;
        if (is_env && strchr(word, '='))
            continue;
        if (operands-- <= 0)
            return argv;
    }
    return NULL;
}

char *const *wrapper_program(char *const *argv)
{
    const struct wrapper *wrapper;
    while (argv && *argv && (wrapper = find(*argv)))
        argv = skip(wrapper, argv);
    return argv && *argv ? argv : NULL;
}
