/* Sends whole requests as clients do that wrk can't play, as many as go.
 *
 * usage: request_client PORT CONNECTIONS SECONDS BODY_BYTES [two-writes] [traceparent]
 * Each connection sends the next chat request when it has the whole answer to the last one. The
 * head is that of the Python client of OpenAI, and the body begins with `model`.
 *   two-writes   sends head and body by a call each, as httpx does, which that client stands on.
 *                Its second follows the first after some 10 us, and a router that waits for it
 *                reads most heads alone. One under load would read both at once, so here the body
 *                comes later.
 *   traceparent  puts a fresh one into each head (W3C Trace Context, section 3.2)
 * Prints one line of JSON: requests, requests in a second, and failures.
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

enum { ANSWER_BYTES = 16384, ID_DIGITS = 48, SEND_BUFFER_BYTES = 1 << 18 };
static const int64_t body_delay_ns = 1000000;

struct client {
    int fd;
    int64_t due; /* when its body is to go out */
    struct client *next; /* in the queue of bodies, soonest first */
    size_t length; /* of what has come of the answer */
    char answer[ANSWER_BYTES];
};

static char *request, *ids; /* `ids` is where the fresh digits stand, or NULL */
static size_t head_length, request_length;
static int two_writes;
static struct client *first, *last;
static long requests, failures;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Writes the request with room for its ids: the trace's 32 hexadecimal digits, the parent's 16. */
static void write_request(long body_bytes, int traceparent)
{
    static const char begin[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"";
    static const char end[] = "\"}]}";
    long text = body_bytes - (long)(sizeof begin - 1 + sizeof end - 1);
    request = malloc(4096 + body_bytes);
    head_length = sprintf(request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
        "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
        "authorization: Bearer benchmark\r\naccept: application/json\r\n"
        "content-type: application/json\r\nuser-agent: OpenAI/Python 3.54.0\r\n"
        "x-stainless-lang: python\r\nx-stainless-package-version: 3.54.0\r\n"
        "x-stainless-os: Linux\r\nx-stainless-arch: x64\r\nx-stainless-runtime: CPython\r\n"
        "x-stainless-runtime-version: 3.11.7\r\nx-stainless-async: false\r\n"
        "%sx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
        "Content-Length: %ld\r\n\r\n",
        traceparent ? "traceparent: 00-................................-................-01\r\n" : "",
        body_bytes);
    if (traceparent)
        ids = strstr(request, "00-.") + 3;
    char *body = request + head_length;
    memcpy(body, begin, sizeof begin - 1);
    memset(body + sizeof begin - 1, 'x', text);
    memcpy(body + sizeof begin - 1 + text, end, sizeof end - 1);
    request_length = head_length + body_bytes;
}

/* Writes 32 digits and 16 around the hyphen between them. */
static void write_fresh_ids(void)
{
    static uint64_t state = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    for (int n = 0; n < ID_DIGITS + 1; n++) {
        if (n % 16 == 0) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        ids[n] = n == 32 ? '-' : "0123456789abcdef"[state >> (n % 16 * 4) & 15];
    }
}

static int put(int fd, const char *bytes, size_t length)
{
    return send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

static void ask(struct client *c)
{
    c->length = 0;
    if (ids)
        write_fresh_ids();
    if (!put(c->fd, request, two_writes ? head_length : request_length))
        failures++;
    if (!two_writes)
        return;
    c->due = now() + body_delay_ns;
    c->next = NULL;
    if (first)
        last->next = c;
    else
        first = c;
    last = c;
}

/* Sends the bodies that are due; returns how long the next one has time, or a tick. */
static int64_t send_bodies(void)
{
    for (; first; first = first->next) {
        int64_t wait = first->due - now();
        if (wait > 0)
            return wait;
        if (!put(first->fd, request + head_length, request_length - head_length))
            failures++;
    }
    return 20000000;
}

static int open_client(struct client *c, int poller, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, size = SEND_BUFFER_BYTES; /* takes the largest request at once */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (connect(c->fd, (void *)&address, sizeof address))
        return -1;
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
    return epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &wanted);
}

/* Returns 1 for a whole answer with status 200, 0 for a part of one, -1 for anything else. */
static int is_answered(struct client *c)
{
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return c->length < ANSWER_BYTES - 1 ? 0 : -1;
    char *field = strcasestr(c->answer, "\r\ncontent-length:");
    if (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0 || !field || field > end)
        return -1;
    size_t whole = end + 4 - c->answer + atol(field + 17);
    return c->length == whole ? 1 : c->length < whole && whole < ANSWER_BYTES ? 0 : -1;
}

static void receive(struct client *c)
{
    ssize_t got = recv(c->fd, c->answer + c->length, ANSWER_BYTES - 1 - c->length, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    c->length += got > 0 ? got : 0;
    c->answer[c->length] = 0;
    int answered = got > 0 ? is_answered(c) : -1;
    if (answered < 0) {
        failures++;
        close(c->fd);
    } else if (answered) {
        requests++;
        ask(c);
    }
}

int main(int argc, char **argv)
{
    int traceparent = 0, unknown = 0;
    for (int n = 5; n < argc; n++)
        if (strcmp(argv[n], "two-writes") == 0)
            two_writes = 1;
        else if (strcmp(argv[n], "traceparent") == 0)
            traceparent = 1;
        else
            unknown = 1;
    if (argc < 5 || unknown || atol(argv[4]) < 100) {
        fprintf(stderr, "usage: request_client PORT CONNECTIONS SECONDS BODY_BYTES(100 or more) "
                        "[two-writes] [traceparent]\n");
        return 2;
    }
    int port = atoi(argv[1]), wanted = atoi(argv[2]), poller = epoll_create1(0);
    write_request(atol(argv[4]), traceparent);
    struct client *all = calloc(wanted, sizeof *all);
    for (int n = 0; n < wanted; n++)
        if (open_client(all + n, poller, port)) {
            perror("connect");
            return 1;
        }
    int64_t start = now(), stop = start + (int64_t)(atof(argv[3]) * 1e9);
    for (int n = 0; n < wanted; n++)
        ask(all + n);
    while (now() < stop) {
        struct epoll_event ready[256];
        struct timespec timeout = {.tv_nsec = send_bodies()};
        int count = epoll_pwait2(poller, ready, 256, &timeout, NULL);
        for (int n = 0; n < count; n++)
            receive(ready[n].data.ptr);
    }
    double seconds = (now() - start) / 1e9;
    printf("{\"requests\": %ld, \"rate\": %.1f, \"failures\": %ld}\n", requests,
        requests / seconds, failures);
    return 0;
}
