/* A web server that follows a script: its n-th connection gets the n-th reply, whatever was asked,
 * and ends with it. What was asked is kept for the test to look at. */
#ifndef MUSTER_TESTS_UNIT_HTTP_SCRIPT_H
#define MUSTER_TESTS_UNIT_HTTP_SCRIPT_H

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum script_end {
    SCRIPT_CLOSE,
    SCRIPT_RESET, /* the connection is reset instead of closed */
    SCRIPT_STALL, /* nothing more comes until the client gives up */
};

struct script_step {
    const char *reply;
    enum script_end end;
};

/* A host that no name server is asked for: a label has 63 bytes at most. */
#define SCRIPT_NO_HOST "nobody.a-label-that-is-longer-than-any-may-be-and-so-is-no-hosts-anywhere"

#define SCRIPT_STEPS_MAX 16

/* A whole reply, and a list of steps, of which each is {reply, end}. */
#define REPLY(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body
#define STEPS(...)                                                                                 \
    (const struct script_step[])                                                                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

#define SCRIPT_REQUEST_BYTES 8192

struct http_script {
    int fd;
    uint16_t port;
    pthread_t thread;
    const struct script_step *steps;
    size_t count;
    size_t served;                                         /* both once it has stopped */
    char requests[SCRIPT_STEPS_MAX][SCRIPT_REQUEST_BYTES]; /* head and body, cut, terminated */
};

static inline size_t script_body_bytes(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at ? (size_t)strtoul(at + 17, NULL, 10) : 0;
}

/* Reads one request to its end, so that closing the connection does not reset it. */
static inline void script_read(int fd, char *request)
{
    size_t used = 0, body_left = 0;
    char *end = NULL;
    while (!end && used < SCRIPT_REQUEST_BYTES - 1) {
        ssize_t got = recv(fd, request + used, SCRIPT_REQUEST_BYTES - 1 - used, 0);
        if (got <= 0)
            return;
        used += (size_t)got;
        request[used] = '\0';
        end = strstr(request, "\r\n\r\n");
    }
    if (strcasestr(request, "\r\nexpect: 100-continue"))
        (void)send(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    size_t have = used - (size_t)(end + 4 - request), want = script_body_bytes(request);
    body_left = want > have ? want - have : 0;
    while (body_left > 0) {
        char chunk[65536];
        ssize_t got = recv(fd, chunk, body_left < sizeof chunk ? body_left : sizeof chunk, 0);
        if (got <= 0)
            return;
        size_t keep = SCRIPT_REQUEST_BYTES - 1 - used;
        keep = (size_t)got < keep ? (size_t)got : keep;
        memcpy(request + used, chunk, keep);
        used += keep;
        request[used] = '\0';
        body_left -= (size_t)got;
    }
}

static inline void script_reply(int fd, const struct script_step *step)
{
    size_t length = strlen(step->reply), sent = 0;
    while (sent < length) {
        ssize_t wrote = send(fd, step->reply + sent, length - sent, MSG_NOSIGNAL);
        if (wrote <= 0)
            return;
        sent += (size_t)wrote;
    }
    char byte;
    if (step->end == SCRIPT_STALL)
        while (recv(fd, &byte, 1, 0) > 0)
            continue;
    const struct linger abrupt = {.l_onoff = 1};
    if (step->end == SCRIPT_RESET)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
}

static inline void *script_main(void *arg)
{
    struct http_script *script = arg;
    while (script->served < script->count) {
        int fd = accept(script->fd, NULL, NULL);
        if (fd < 0)
            break;
        script_read(fd, script->requests[script->served]);
        script_reply(fd, &script->steps[script->served++]);
        close(fd);
    }
    return NULL;
}

/* Takes a port, which replies may then name. */
static inline void script_bind(struct http_script *script)
{
    memset(script, 0, sizeof *script);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    script->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(script->fd, (struct sockaddr *)&address, length);
    rc |= listen(script->fd, 16);
    rc |= getsockname(script->fd, (struct sockaddr *)&address, &length);
    script->port = ntohs(address.sin_port);
    if (rc != 0)
        abort();
}

static inline void script_run(struct http_script *script, const struct script_step *steps,
                              size_t count)
{
    assert(count <= SCRIPT_STEPS_MAX);
    script->steps = steps;
    script->count = count;
    if (pthread_create(&script->thread, NULL, script_main, script) != 0)
        abort();
}

static inline void script_start(struct http_script *script, const struct script_step *steps,
                                size_t count)
{
    script_bind(script);
    script_run(script, steps, count);
}

/* Ends it, also before its last step; `served` and `requests` may be looked at then. */
static inline void script_stop(struct http_script *script)
{
    shutdown(script->fd, SHUT_RDWR);
    pthread_join(script->thread, NULL);
    close(script->fd);
}

#endif
