/* The project's own. */
#define OWN_COMM 1
