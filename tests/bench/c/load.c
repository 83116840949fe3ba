/* Load for 127.0.0.1: one thread, HTTP/1.1 keep-alive, one request at a time on each connection; a JSON line when done.
 *
 *   load --port N [--connections 32] [--seconds 3] [--rate 0] [--body 0] [--path P] [--header 'A: b']... [--patience 10] [--ids]
 *
 * Without --rate the loop is closed: each connection asks again as soon as it is answered. With --rate requests are due
 * at fixed instants and a latency counts from the instant its request was due, so time spent waiting for a free
 * connection is in it. Times are microseconds. Failed requests (refused, cut, malformed, later than --patience) are
 * counted and stay out of the latencies. Answers in events are recognised by the fake upstream's time stamps. With --ids
 * each request carries an id of its own, as clients' requests do, so that no two heads are alike.
 */
#include "message.h"
#include <getopt.h>
#include <sys/resource.h>

/* Log-linear histogram of nanoseconds: 64 steps to each doubling, so a reading is at most 1.6 % above the truth. */
#define STEPS 64
struct histogram { uint64_t count, max, cells[64 * STEPS]; };

struct client {
    int fd;
    bool busy, writes;
    ns_t due_at, sent_at;
    size_t sent;
    struct message answer;
    bool body_seen;
    char event[64];
    size_t event_size;
};

static struct {
    unsigned port, connections;
    double seconds, rate, patience_s;
    size_t body;
    bool ids;
    const char *path;
    char headers[4096];
} want = {.connections = 32, .seconds = 3, .patience_s = 10, .path = "/v1/chat/completions"};

static struct client *clients, **resting;
static unsigned resting_count;
static int epoll;
static struct alarm wake_up;
static char *request, *id_place;
static size_t request_size;
static ns_t began, stops_at, last_end, read_at;
static uint64_t issued, to_issue, whole, broken, late, not_2xx, reopened, body_bytes, busy_count;
static struct histogram latency, first_byte, event_lag;

static size_t cell_of(uint64_t value) {
    if (value < STEPS) return (size_t)value;
    unsigned doubling = 63 - (unsigned)__builtin_clzll(value) - 6; /* 6 = log2 STEPS */
    return (size_t)(doubling + 1) * STEPS + (size_t)(value >> doubling) - STEPS;
}

static void count_in(struct histogram *h, uint64_t value) {
    h->count++;
    h->cells[cell_of(value)]++;
    if (value > h->max) h->max = value;
}

static double quantile_us(const struct histogram *h, double q) {
    uint64_t seen = 0, wanted = (uint64_t)(q * (double)h->count);
    for (size_t i = 0; i < sizeof h->cells / sizeof *h->cells; i++) {
        if ((seen += h->cells[i]) <= wanted) continue;
        uint64_t upper = i < STEPS ? i : ((uint64_t)(i % STEPS + STEPS + 1) << (i / STEPS - 1)) - 1;
        return (double)(upper < h->max ? upper : h->max) / 1e3;
    }
    return (double)h->max / 1e3;
}

static void hang_up(struct client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static void rest(struct client *c) {
    c->busy = false;
    busy_count--;
    last_end = clock_ns();
    resting[resting_count++] = c;
}

static void give_up(struct client *c) {
    broken++;
    hang_up(c);
    rest(c);
}

static void write_request(struct client *c) {
    ssize_t wrote = send(c->fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
    if (wrote < 0 && errno != EAGAIN) { give_up(c); return; }
    if (wrote > 0) c->sent += (size_t)wrote;
    bool more = c->sent < request_size;
    if (more != c->writes) watch_fd(epoll, c->fd, EPOLLIN | (more ? EPOLLOUT : 0u), c, false);
    c->writes = more;
}

static void ask(struct client *c, ns_t due_at) {
    c->busy = true;
    busy_count++;
    issued++;
    c->due_at = due_at;
    c->sent_at = clock_ns();
    c->sent = c->event_size = 0;
    c->body_seen = false;
    message_start(&c->answer, true);
    if (c->fd < 0) {
        if ((c->fd = dial(want.port)) < 0) { give_up(c); return; }
        c->writes = false;
        watch_fd(epoll, c->fd, EPOLLIN, c, true);
        reopened++;
    }
    if (id_place) stamp_id(id_place, issued * 0x9e3779b97f4a7c15ull);
    write_request(c);
}

static ns_t due_at(uint64_t number) { return began + (ns_t)((double)number * 1e9 / want.rate); }

/* Asks on resting connections as far as requests are due; sets the alarm for the next one that is not yet. */
static void ask_what_is_due(void) {
    for (unsigned tries = resting_count; tries && resting_count; tries--) {
        ns_t now = clock_ns();
        if (want.rate > 0 ? issued >= to_issue : now >= stops_at) return;
        ns_t due = want.rate > 0 ? due_at(issued) : now;
        if (due > now) { set_alarm(&wake_up, due); return; }
        ask(resting[--resting_count], due);
    }
}

static void take_event_line(struct client *c) {
    static const char mark[] = "data: {\"sent_ns\":";
    c->event[c->event_size] = 0;
    if (!strncmp(c->event, mark, sizeof mark - 1))
        count_in(&event_lag, read_at - strtoull(c->event + sizeof mark - 1, NULL, 10));
    c->event_size = 0;
}

static void on_body(void *owner, const char *bytes, size_t size) {
    struct client *c = owner;
    body_bytes += size;
    if (!c->body_seen) count_in(&first_byte, read_at - c->due_at);
    c->body_seen = true;
    if (!c->answer.chunked) return;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') take_event_line(c);
        else if (c->event_size < sizeof c->event - 1) c->event[c->event_size++] = bytes[i];
    }
}

static void answered(struct client *c) {
    whole++;
    count_in(&latency, read_at - c->due_at);
    if (c->answer.status / 100 != 2) not_2xx++;
    if (c->answer.closes) hang_up(c);
    rest(c);
}

static void on_ready(struct client *c, uint32_t events) {
    static char bytes[READ_ROOM];
    if (c->fd < 0) return;
    if ((events & EPOLLOUT) && c->busy) write_request(c);
    if (c->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t size = recv(c->fd, bytes, sizeof bytes, 0);
    if (size < 0 && errno == EAGAIN) return;
    read_at = clock_ns();
    if (size <= 0) {
        if (c->busy && size == 0 && c->answer.phase == BY_CLOSE) answered(c);
        else if (c->busy) give_up(c);
        else hang_up(c);
        return;
    }
    size_t used = c->busy ? message_feed(&c->answer, bytes, (size_t)size, on_body, c) : 0;
    bool junk = used < (size_t)size;
    if (c->busy && c->answer.phase == WHOLE && !junk) answered(c);
    else if (c->busy && (junk || c->answer.phase == BROKEN)) give_up(c);
    else if (junk) hang_up(c); /* bytes that nobody asked for */
}

static void drop_the_late(ns_t now) {
    for (unsigned i = 0; i < want.connections; i++)
        if (clients[i].busy && (double)(now - clients[i].sent_at) > want.patience_s * 1e9) {
            late++;
            give_up(&clients[i]);
        }
}

static void run(void) {
    struct epoll_event ready[256];
    ns_t looked_at = began, last_chance = stops_at + (ns_t)(want.patience_s * 1e9);
    for (;;) {
        ask_what_is_due();
        ns_t now = clock_ns();
        bool more = want.rate > 0 ? issued < to_issue && now < last_chance : now < stops_at;
        if (!more && !busy_count) return;
        int count = epoll_wait(epoll, ready, 256, 50);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr == &wake_up) alarm_rang(&wake_up);
            else on_ready(ready[i].data.ptr, ready[i].events);
        }
        if ((now = clock_ns()) - looked_at > 50 * NS_PER_MS) {
            drop_the_late(now);
            looked_at = now;
        }
    }
}

static void print_histogram(const char *name, const struct histogram *h) {
    printf(",\"%s\":{\"count\":%lu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", name, h->count,
           quantile_us(h, .5), quantile_us(h, .9), quantile_us(h, .99), quantile_us(h, .999), (double)h->max / 1e3);
}

static void report(void) {
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    double took_s = (double)((last_end ? last_end : clock_ns()) - began) / 1e9;
    double cpu_s = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) + (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
    printf("{\"answered\":%lu,\"failed\":%lu,\"late\":%lu,\"unsent\":%lu,\"not_2xx\":%lu,\"reopened\":%lu,\"seconds\":%.4f,"
           "\"rps\":%.1f,\"cpu_s\":%.4f,\"body_bytes\":%lu",
           whole, broken, late, want.rate > 0 ? to_issue - issued : 0, not_2xx, reopened, took_s, (double)whole / took_s, cpu_s,
           body_bytes);
    print_histogram("latency_us", &latency);
    print_histogram("first_byte_us", &first_byte);
    if (event_lag.count) print_histogram("event_lag_us", &event_lag);
    puts("}");
}

static void write_template(void) {
    static const char id_field[] = "X-Request-Id: 0000000000000000\r\n";
    if (want.ids) strcat(want.headers, id_field);
    static const char head[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"", tail[] = "\"}]}";
    size_t frame = strlen(head) + strlen(tail);
    request = malloc(sizeof want.headers + 4096 + want.body + frame);
    int size = sprintf(request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: bench-load\r\nAccept: */*\r\n%s",
                       want.body ? "POST" : "GET", want.path, want.port, want.headers);
    if (want.body) {
        int padding = want.body > frame ? (int)(want.body - frame) : 0;
        size += sprintf(request + size, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        frame + (size_t)padding, head);
        memset(request + size, 'w', (size_t)padding);
        size += padding;
        size += sprintf(request + size, "%s", tail);
    } else size += sprintf(request + size, "\r\n");
    request_size = (size_t)size;
    if (want.ids) id_place = strstr(request, id_field) + strlen("X-Request-Id: ");
}

static void read_arguments(int argc, char **argv) {
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'}, {"rate", 1, 0, 'r'}, {"body", 1, 0, 'b'},
        {"path", 1, 0, 'u'}, {"header", 1, 0, 'h'},      {"patience", 1, 0, 'w'}, {"ids", 0, 0, 'i'}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
        case 'p': want.port = (unsigned)atoi(optarg); break;
        case 'c': want.connections = (unsigned)atoi(optarg); break;
        case 's': want.seconds = atof(optarg); break;
        case 'r': want.rate = atof(optarg); break;
        case 'b': want.body = (size_t)atol(optarg); break;
        case 'u': want.path = optarg; break;
        case 'i': want.ids = true; break;
        case 'w': want.patience_s = atof(optarg); break;
        case 'h':
            if (strlen(want.headers) + strlen(optarg) + 64 > sizeof want.headers) quit("too many headers");
            strcat(strcat(want.headers, optarg), "\r\n");
            break;
        default: quit("unknown argument; the head of load.c tells them");
        }
    if (!want.port || !want.connections || strlen(want.path) > 2000) quit("--port and at least one connection are needed");
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    write_template();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    wake_up = open_alarm(epoll, &wake_up);
    clients = calloc(want.connections, sizeof *clients);
    resting = calloc(want.connections, sizeof *resting);
    for (unsigned i = 0; i < want.connections; i++) {
        struct client *c = resting[resting_count++] = &clients[i];
        if ((c->fd = dial(want.port)) < 0) quit("nothing listens on port %u", want.port);
        watch_fd(epoll, c->fd, EPOLLIN, c, true);
    }
    to_issue = (uint64_t)(want.rate * want.seconds);
    began = clock_ns();
    stops_at = began + (ns_t)(want.seconds * 1e9);
    run();
    report();
    return 0;
}
