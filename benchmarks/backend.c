/* A backend that costs as little as possible: one thread, epoll, HTTP/1.1 with keep-alive.
 *
 * usage: backend PORT
 *   PORT      answers each request with a chat completion of some 550 bytes
 *   PORT + 1  streams 200 events, one every 5 ms
 *   PORT + 2  streams 200 events, one every 50 ms
 * A request ends by its Content-Length. It is read to its end, then answered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { KINDS = 3, EVENTS = 200, HEAD_BYTES = 16384 };
static const int64_t period_ns[KINDS] = {0, 5000000, 50000000};

struct connection {
    int fd, kind;
    int listening; /* accepts connections of its kind */
    int to_stream; /* events still to be sent, -1 if no stream runs */
    size_t head_length;
    long body_left;
    int64_t due;
    struct connection *next; /* in the queue of streams of its kind, soonest first */
    char head[HEAD_BYTES];
};

static int poller;
static struct connection *first[KINDS], *last[KINDS];
static char answer[2048], event[512];
static size_t answer_length, event_length;
static const char stream_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char stream_end[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Sends all or nothing. What a socket does not take ends the benchmark's trust in it. */
static int put(struct connection *c, const char *bytes, size_t length)
{
    return send(c->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void watch(struct connection *c)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &wanted))
        fail("epoll_ctl");
}

static void drop(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    if (c->to_stream < 0) /* else the queue still holds it */
        free(c);
}

static void queue(struct connection *c)
{
    c->next = NULL;
    if (last[c->kind])
        last[c->kind]->next = c;
    else
        first[c->kind] = c;
    last[c->kind] = c;
}

static void respond(struct connection *c)
{
    c->head_length = 0;
    if (c->kind == 0) {
        if (!put(c, answer, answer_length))
            drop(c);
        return;
    }
    if (!put(c, stream_head, sizeof stream_head - 1)) {
        drop(c);
        return;
    }
    c->to_stream = EVENTS;
    c->due = now() + period_ns[c->kind];
    queue(c);
}

static void receive(struct connection *c)
{
    static char body[1 << 20];
    if (c->body_left > 0) {
        ssize_t got = recv(c->fd, body, sizeof body, 0);
        if (got <= 0) {
            if (got == 0 || errno != EAGAIN)
                drop(c);
            return;
        }
        c->body_left -= got;
        if (c->body_left <= 0)
            respond(c);
        return;
    }
    size_t space = sizeof c->head - 1 - c->head_length;
    ssize_t got = recv(c->fd, c->head + c->head_length, space, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    c->head_length += got;
    c->head[c->head_length] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end)
        return;
    char *field = strcasestr(c->head, "\r\ncontent-length:");
    long length = field && field < end ? atol(field + 17) : 0;
    c->body_left = length - (long)(c->head + c->head_length - (end + 4));
    if (c->body_left <= 0)
        respond(c);
}

static void take_clients(struct connection *listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            fail("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->fd = fd;
        c->kind = listener->kind;
        c->to_stream = -1;
        watch(c);
    }
}

/* Sends what is due; returns when the next event is, or -1 if none is to come. */
static int64_t stream(void)
{
    int64_t soonest = -1;
    for (int kind = 1; kind < KINDS; kind++) {
        struct connection *c;
        while ((c = first[kind]) && c->due <= now()) {
            first[kind] = c->next;
            if (!c->next)
                last[kind] = NULL;
            int alive = c->fd >= 0;
            if (alive && c->to_stream > 0) {
                alive = put(c, event, event_length);
                c->to_stream--;
                c->due += period_ns[kind];
                if (alive) {
                    queue(c);
                    continue;
                }
            } else if (alive) {
                alive = put(c, stream_end, sizeof stream_end - 1);
            }
            c->to_stream = -1;
            if (!alive)
                drop(c);
        }
        if (c && (soonest < 0 || c->due < soonest))
            soonest = c->due;
    }
    return soonest;
}

static void listen_on(int port, int kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct connection *c = calloc(1, sizeof *c);
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->kind = kind;
    c->listening = 1;
    setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(c->fd, (void *)&address, sizeof address) || listen(c->fd, 4096))
        fail("bind");
    watch(c);
}

static void write_messages(void)
{
    char body[1024], text[301];
    memset(text, 'x', 300);
    text[300] = 0;
    int length = snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":100}}",
        text);
    answer_length = snprintf(answer, sizeof answer,
        "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: %d\r\n"
        "content-type: application/json\r\n\r\n%s", length, body);
    /* '@' marks an event: sse_client counts them. */
    length = snprintf(body, sizeof body,
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" @token\"},"
        "\"finish_reason\":null}]}\n\n");
    event_length = snprintf(event, sizeof event, "%x\r\n%s\r\n", length, body);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: backend PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    write_messages();
    for (int kind = 0; kind < KINDS; kind++)
        listen_on(atoi(argv[1]) + kind, kind);
    for (;;) {
        struct epoll_event ready[512];
        int64_t soonest = stream(), wait = soonest < 0 ? 0 : soonest - now();
        struct timespec timeout = {wait > 0 ? wait / 1000000000 : 0, wait > 0 ? wait % 1000000000 : 0};
        int count = epoll_pwait2(poller, ready, 512, soonest < 0 ? NULL : &timeout, NULL);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (c->listening)
                take_clients(c);
            else if (c->fd >= 0)
                receive(c);
        }
    }
}
