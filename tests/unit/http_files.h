/* A web server with one file, whatever is asked for, that a test can break in mid-run. */
#ifndef MUSTER_TESTS_UNIT_HTTP_FILES_H
#define MUSTER_TESTS_UNIT_HTTP_FILES_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum files_mode {
    FILES_GOOD,
    FILES_DEAD,      /* connections are closed without an answer */
    FILES_TRUNCATED, /* bodies end in the middle */
    FILES_MISSING,   /* 404 */
    FILES_DENIED,    /* 403: at once, and asking again does not help */
    FILES_CHANGED,   /* the file is another than before */
    FILES_SILENT,    /* requests are read and not answered */
};

#define FILES_CONNECTIONS 64

struct http_files {
    const uint8_t *data;
    size_t size_bytes;
    atomic_int mode;
    atomic_uint requests; /* answered */
    uint16_t port;
    char uri[64]; /* of the file */
    int fd, stop[2];
    pthread_t thread;
    struct pollfd polled[FILES_CONNECTIONS + 2];
    nfds_t polled_count;
};

static inline bool files_send(int fd, const void *data, size_t size_bytes)
{
    size_t sent = 0;
    while (sent < size_bytes) {
        ssize_t wrote = send(fd, (const char *)data + sent, size_bytes - sent, MSG_NOSIGNAL);
        if (wrote <= 0)
            return false;
        sent += (size_t)wrote;
    }
    return true;
}

/* False: the connection ends. */
static inline bool files_answer(struct http_files *files, int fd, const char *request)
{
    const char *range = strcasestr(request, "\r\nrange: bytes=");
    const char *match = strcasestr(request, "\r\nif-match: ");
    int mode = atomic_load(&files->mode), version = mode == FILES_CHANGED ? 2 : 1;
    bool is_head = strncmp(request, "HEAD", 4) == 0;
    size_t first = 0, last = files->size_bytes - 1;
    atomic_fetch_add(&files->requests, 1);
    if (mode == FILES_DEAD)
        return false;
    if (mode == FILES_SILENT)
        return true;
    char head[512];
    if (mode == FILES_MISSING || mode == FILES_DENIED || (match && version == 2)) {
        snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n",
                 mode == FILES_MISSING  ? "404 Not Found"
                 : mode == FILES_DENIED ? "403 Forbidden"
                                        : "412 Precondition Failed");
        return files_send(fd, head, strlen(head));
    }
    if (range) {
        char *end;
        first = strtoul(range + 15, &end, 10);
        last = *end == '-' && end[1] != '\r' ? strtoul(end + 1, NULL, 10) : last;
        last = last < files->size_bytes ? last : files->size_bytes - 1;
    }
    snprintf(head, sizeof head,
             "HTTP/1.1 %s\r\nContent-Length: %zu\r\nETag: \"%d\"\r\nAccept-Ranges: bytes\r\n"
             "Content-Range: bytes %zu-%zu/%zu\r\n\r\n",
             range ? "206 Partial Content" : "200 OK", last - first + 1, version, first, last,
             files->size_bytes);
    if (!files_send(fd, head, strlen(head)))
        return false;
    if (is_head)
        return true;
    if (mode == FILES_TRUNCATED)
        return files_send(fd, files->data + first, (last - first + 1) / 2) && false;
    return files_send(fd, files->data + first, last - first + 1);
}

/* One request with all its headers comes in one piece, as it is small and nothing is pipelined. */
static inline bool files_serve(struct http_files *files, int fd)
{
    char request[4096];
    ssize_t got = recv(fd, request, sizeof request - 1, 0);
    if (got <= 0)
        return false;
    request[got] = '\0';
    return files_answer(files, fd, request);
}

/* Head and body go out one by one: without a delay in between. */
static inline int files_accept(const struct http_files *files)
{
    int fd = accept(files->fd, NULL, NULL), on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* slower without */
    return fd;
}

static inline void *files_main(void *arg)
{
    struct http_files *files = arg;
    while (poll(files->polled, files->polled_count, -1) > 0 && !files->polled[0].revents) {
        for (nfds_t i = files->polled_count; i-- > 2;)
            if (files->polled[i].revents && !files_serve(files, files->polled[i].fd)) {
                close(files->polled[i].fd);
                files->polled[i] = files->polled[--files->polled_count];
            }
        if (files->polled[1].revents && files->polled_count < FILES_CONNECTIONS + 2)
            files->polled[files->polled_count++] = (struct pollfd){.fd = files_accept(files),
                                                                   .events = POLLIN};
    }
    while (files->polled_count > 2)
        close(files->polled[--files->polled_count].fd);
    return NULL;
}

/* `name` is the file's name in its URI. */
static inline void files_start(struct http_files *files, const char *name, const void *data,
                               size_t size_bytes)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    memset(files, 0, sizeof *files);
    files->data = data;
    files->size_bytes = size_bytes;
    files->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(files->fd, (struct sockaddr *)&address, length);
    rc |= listen(files->fd, 64);
    rc |= getsockname(files->fd, (struct sockaddr *)&address, &length);
    rc |= pipe(files->stop);
    files->polled[0] = (struct pollfd){.fd = files->stop[0], .events = POLLIN};
    files->polled[1] = (struct pollfd){.fd = files->fd, .events = POLLIN};
    files->polled_count = 2;
    files->port = ntohs(address.sin_port);
    snprintf(files->uri, sizeof files->uri, "http://127.0.0.1:%u/%s", files->port, name);
    rc |= pthread_create(&files->thread, NULL, files_main, files);
    if (rc != 0)
        abort();
}

static inline void files_stop(struct http_files *files)
{
    close(files->stop[1]);
    pthread_join(files->thread, NULL);
    close(files->stop[0]);
    close(files->fd);
}

#endif
