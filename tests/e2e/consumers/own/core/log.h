/* The project's own, as many projects have one. */
#define OWN_LOG(text) puts("own log: " text)
