/* Opens event streams and counts what comes.
 *
 * usage: sse_client PORT MODEL STREAMS SECONDS
 * Each stream is a chat request; when it ends, the next one follows on the same connection. The
 * streams begin one after another within the first second. Prints one line of JSON: events, whole
 * streams, failures, and the median time to the first event in microseconds.
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

enum { EVENTS = 200, SAMPLES = 1 << 20 };

struct stream {
    int fd, events;
    int64_t sent; /* when its request went out */
    char tail[5]; /* the last bytes that came */
};

static char request[2048];
static size_t request_length;
static int64_t times[SAMPLES];
static size_t time_count;
static long events, streams, failures;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void begin(struct stream *s)
{
    s->events = 0;
    s->sent = now();
    memset(s->tail, 0, sizeof s->tail);
    if (send(s->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        failures++;
}

static int open_stream(struct stream *s, int poller, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(s->fd, (void *)&address, sizeof address))
        return -1;
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &wanted);
    begin(s);
    return 0;
}

static void receive(struct stream *s)
{
    static char bytes[1 << 18];
    ssize_t got = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return;
        failures++;
        close(s->fd);
        return;
    }
    for (char *at = bytes; (at = memchr(at, '@', bytes + got - at)); at++) {
        if (s->events++ == 0 && time_count < SAMPLES)
            times[time_count++] = now() - s->sent;
        events++;
    }
    size_t size = sizeof s->tail, kept = (size_t)got < size ? size - got : 0;
    memmove(s->tail, s->tail + size - kept, kept);
    memcpy(s->tail + kept, bytes + got - (size - kept), size - kept);
    if (memcmp(s->tail, "0\r\n\r\n", size) == 0) {
        if (s->events != EVENTS)
            failures++;
        streams++;
        begin(s);
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: sse_client PORT MODEL STREAMS SECONDS\n");
        return 2;
    }
    int port = atoi(argv[1]), wanted = atoi(argv[3]), opened = 0;
    char body[1024], text[401];
    memset(text, 'x', 400);
    text[400] = 0;
    int length = snprintf(body, sizeof body,
        "{\"model\":\"%s\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
        argv[2], text);
    request_length = snprintf(request, sizeof request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer benchmark\r\nContent-Length: %d\r\n\r\n%s", length, body);
    signal(SIGPIPE, SIG_IGN);
    int poller = epoll_create1(0);
    struct stream *all = calloc(wanted, sizeof *all);
    int64_t start = now(), stop = start + (int64_t)(atof(argv[4]) * 1e9);
    for (int64_t t; (t = now()) < stop;) {
        int due = (t - start) * wanted / 900000000LL + 1;
        for (; opened < wanted && opened < due; opened++)
            if (open_stream(all + opened, poller, port)) {
                perror("connect");
                return 1;
            }
        struct epoll_event ready[256];
        int count = epoll_wait(poller, ready, 256, opened < wanted ? 1 : 20);
        for (int i = 0; i < count; i++)
            receive(ready[i].data.ptr);
    }
    qsort(times, time_count, sizeof *times, ascending);
    printf("{\"events\": %ld, \"streams\": %ld, \"failures\": %ld, \"first_event_us\": %ld}\n",
        events, streams, failures, time_count ? (long)(times[time_count / 2] / 1000) : 0);
    return 0;
}
