/* Fake upstream for 127.0.0.1: one thread, HTTP/1.1 keep-alive, one listener for each argument.
 *
 *   upstream NAME[,port=0][,size=512][,delay_ms=A[-B]][,fail=PCT][,stall=PCT][,events=N][,gap_ms=F][,ids=1] ...
 *
 * delay_ms waits that long before the answer (A to B: evenly drawn); fail answers that share with 500; stall never answers
 * it; events sends N server-sent events, gap_ms apart, each with the instant it was sent at; with ids each answer carries the
 * date and an id of its own, as servers' answers do, so that no two heads are alike. First line on stdout:
 * {"NAME": port, ...}. For each line on stdin one JSON line of counts so far; end of stdin ends the process.
 */
#include "message.h"

#define DATE_SIZE 29 /* Sun, 06 Nov 1994 08:49:37 GMT */

struct site {
    const char *name;
    unsigned port;
    int fd;
    size_t size;
    double delay_low_ms, delay_high_ms, gap_ms;
    int fail_pct, stall_pct, events, ids;
    uint64_t requests, failures, stalls, accepted;
    char *answer, *id_place, *date_place;
    size_t answer_size;
};

enum doing { LISTENING, THINKING, STREAMING, STALLED };

struct guest {
    struct site *site;
    int fd;
    unsigned ticket; /* of the timer that may wake it; others are out of date */
    enum doing doing;
    bool failing, gone;
    int events_sent;
    struct message request;
    char *input, *output; /* read ahead of its turn; not yet taken by the socket */
    size_t input_size, output_size;
    struct guest *next_gone;
};

struct timer { ns_t at; struct guest *guest; unsigned ticket; };

static struct site sites[16];
static unsigned site_count, timer_count, timer_room, next_ticket = 1;
static struct timer *timers; /* binary heap, earliest first */
static int epoll;
static struct alarm wake_up;
static struct guest *gone;

static unsigned random_below(unsigned bound) { /* xorshift: the same arrivals in each run */
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 32) * bound >> 32);
}

static void timer_push(ns_t at, struct guest *guest) {
    if (timer_count == timer_room) timers = realloc(timers, (timer_room = timer_room * 2 + 256) * sizeof *timers);
    guest->ticket = next_ticket++;
    unsigned hole = timer_count++;
    while (hole && timers[(hole - 1) / 2].at > at) {
        timers[hole] = timers[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    timers[hole] = (struct timer){at, guest, guest->ticket};
}

static void timer_pop(void) {
    struct timer moved = timers[--timer_count];
    unsigned hole = 0;
    for (unsigned child; (child = hole * 2 + 1) < timer_count; hole = child) {
        if (child + 1 < timer_count && timers[child + 1].at < timers[child].at) child++;
        if (timers[child].at >= moved.at) break;
        timers[hole] = timers[child];
    }
    timers[hole] = moved;
}

static void leave(struct guest *g) { /* freed once its timers are out of the heap and its events are over */
    if (g->gone) return;
    g->gone = true;
    close(g->fd);
    g->next_gone = gone;
    gone = g;
}

static bool has_timer(const struct guest *g) { return g->doing == THINKING || g->doing == STREAMING; }

static void free_gone(void) {
    struct guest *kept = NULL;
    for (struct guest *g = gone, *next; g; g = next) {
        next = g->next_gone;
        if (has_timer(g)) { g->next_gone = kept; kept = g; continue; }
        free(g->input);
        free(g->output);
        free(g);
    }
    gone = kept;
}

static void keep(char **buffer, size_t *size, const char *bytes, size_t more) {
    *buffer = realloc(*buffer, *size + more);
    memcpy(*buffer + *size, bytes, more);
    *size += more;
}

static void put(struct guest *g, const char *bytes, size_t size) {
    if (g->gone) return;
    ssize_t wrote = g->output_size ? 0 : send(g->fd, bytes, size, MSG_NOSIGNAL);
    if (wrote < 0 && errno != EAGAIN) { leave(g); return; }
    if (wrote < 0) wrote = 0;
    if ((size_t)wrote == size) return;
    if (!g->output_size) watch_fd(epoll, g->fd, EPOLLIN | EPOLLOUT, g, false);
    keep(&g->output, &g->output_size, bytes + wrote, size - (size_t)wrote);
}

static void put_rest(struct guest *g) {
    ssize_t wrote = send(g->fd, g->output, g->output_size, MSG_NOSIGNAL);
    if (wrote < 0 && errno != EAGAIN) { leave(g); return; }
    if (wrote <= 0) return;
    g->output_size -= (size_t)wrote;
    memmove(g->output, g->output + wrote, g->output_size);
    if (!g->output_size) watch_fd(epoll, g->fd, EPOLLIN, g, false);
}

static void take_input(struct guest *g, const char *bytes, size_t size);

static void turn_over(struct guest *g) { /* answered: read what came meanwhile */
    g->doing = LISTENING;
    message_start(&g->request, false);
    if (!g->input_size || g->gone) return;
    char *ahead = g->input;
    size_t size = g->input_size;
    g->input = NULL;
    g->input_size = 0;
    take_input(g, ahead, size);
    free(ahead);
}

static void start_events(struct guest *g) {
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    g->events_sent = 0;
    g->doing = STREAMING;
    put(g, head, sizeof head - 1);
}

static void next_event(struct guest *g) {
    char event[256], chunk[300];
    bool last = g->events_sent++ == g->site->events;
    int size = last ? sprintf(event, "data: [DONE]\n\n")
                    : sprintf(event, "data: {\"sent_ns\":%lu,\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n",
                              clock_ns());
    int chunk_size = sprintf(chunk, "%x\r\n%s\r\n%s", (unsigned)size, event, last ? "0\r\n\r\n" : "");
    put(g, chunk, (size_t)chunk_size);
    if (last || g->gone) turn_over(g);
    else timer_push(clock_ns() + (ns_t)(g->site->gap_ms * 1e6), g);
}

static void stamp(struct site *s) {
    static time_t stamped;
    static char date[32];
    time_t now = time(NULL);
    struct tm parts;
    if (now != stamped) strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
    stamped = now;
    memcpy(s->date_place, date, DATE_SIZE);
    stamp_id(s->id_place, s->requests * 0x9e3779b97f4a7c15ull);
}

static void answer(struct guest *g) {
    static const char failure[] =
        "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"error\":\"planned\"}";
    if (g->failing) put(g, failure, sizeof failure - 2);
    else if (g->site->events) { start_events(g); next_event(g); return; }
    else {
        if (g->site->ids) stamp(g->site);
        put(g, g->site->answer, g->site->answer_size);
    }
    turn_over(g);
}

/* True for `percent` of the numbers, spread as evenly as whole numbers allow. */
static bool falls_in(uint64_t number, int percent) {
    return number * (unsigned)percent / 100 != (number - 1) * (unsigned)percent / 100;
}

static void asked(struct guest *g) {
    struct site *s = g->site;
    uint64_t number = ++s->requests;
    if (falls_in(number, s->stall_pct)) { s->stalls++; g->doing = STALLED; return; }
    if ((g->failing = falls_in(number, s->fail_pct))) s->failures++;
    if (s->delay_high_ms <= 0) { answer(g); return; }
    unsigned spread_us = (unsigned)((s->delay_high_ms - s->delay_low_ms) * 1e3);
    g->doing = THINKING;
    timer_push(clock_ns() + (ns_t)(s->delay_low_ms * 1e6) + random_below(spread_us + 1) * 1000ull, g);
}

static void take_input(struct guest *g, const char *bytes, size_t size) {
    while (size && !g->gone) {
        if (g->doing != LISTENING) { keep(&g->input, &g->input_size, bytes, size); return; }
        size_t used = message_feed(&g->request, bytes, size, NULL, NULL);
        bytes += used;
        size -= used;
        if (g->request.phase == BROKEN) leave(g);
        else if (g->request.phase == WHOLE) {
            g->doing = STALLED; /* until asked() says otherwise, so that answering cannot run into this loop */
            asked(g);
        }
    }
}

static void on_guest(struct guest *g, uint32_t events) {
    static char bytes[READ_ROOM];
    if (g->gone) return;
    if (events & EPOLLOUT) put_rest(g);
    if (g->gone || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t size = recv(g->fd, bytes, sizeof bytes, 0);
    if (size > 0) take_input(g, bytes, (size_t)size);
    else if (size == 0 || errno != EAGAIN) leave(g);
}

static void on_site(struct site *s) {
    for (int fd; (fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; s->accepted++) {
        struct guest *g = calloc(1, sizeof *g);
        g->site = s;
        g->fd = fd;
        no_delay(fd);
        message_start(&g->request, false);
        watch_fd(epoll, fd, EPOLLIN, g, true);
    }
}

static void on_time(void) {
    for (ns_t now = clock_ns(); timer_count && timers[0].at <= now;) {
        struct timer due = timers[0];
        timer_pop();
        if (due.ticket != due.guest->ticket) continue;
        if (due.guest->gone) due.guest->doing = STALLED; /* no timer holds it any more */
        else if (due.guest->doing == THINKING) answer(due.guest);
        else if (due.guest->doing == STREAMING) next_event(due.guest);
    }
    set_alarm(&wake_up, timer_count ? timers[0].at : 0);
}

static void on_stdin(void) {
    char line[64];
    if (read(STDIN_FILENO, line, sizeof line) <= 0) exit(0);
    for (unsigned i = 0; i < site_count; i++)
        printf("%s\"%s\":{\"requests\":%lu,\"failures\":%lu,\"stalls\":%lu,\"connections\":%lu}", i ? "," : "{", sites[i].name,
               sites[i].requests, sites[i].failures, sites[i].stalls, sites[i].accepted);
    puts("}");
    fflush(stdout);
}

static void read_option(struct site *s, const char *option) {
    double low, high;
    int count = sscanf(option, "delay_ms=%lf-%lf", &low, &high);
    if (count >= 1) { s->delay_low_ms = low; s->delay_high_ms = count == 2 ? high : low; return; }
    if (sscanf(option, "gap_ms=%lf", &s->gap_ms) == 1 || sscanf(option, "size=%zu", &s->size) == 1 ||
        sscanf(option, "port=%u", &s->port) == 1 || sscanf(option, "fail=%d", &s->fail_pct) == 1 ||
        sscanf(option, "stall=%d", &s->stall_pct) == 1 || sscanf(option, "events=%d", &s->events) == 1 ||
        sscanf(option, "ids=%d", &s->ids) == 1) return;
    quit("no such option: %s", option);
}

static void write_answer(struct site *s) {
    static const char head[] = "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":"
                               "{\"role\":\"assistant\",\"content\":\"";
    static const char tail[] = "\"}}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}";
    size_t frame = strlen(head) + strlen(tail), padding = s->size > frame ? s->size - frame : 0;
    s->answer = malloc(frame + padding + 512);
    char lines[128] = "";
    if (s->ids) sprintf(lines, "Date: %*s\r\nX-Request-Id: 0000000000000000\r\n", DATE_SIZE, "");
    int size = sprintf(s->answer, "HTTP/1.1 200 OK\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", lines,
                       frame + padding, head);
    s->date_place = strstr(s->answer, "\r\n") + strlen("\r\nDate: ");
    s->id_place = s->date_place + DATE_SIZE + strlen("\r\nX-Request-Id: ");
    memset(s->answer + size, 'w', padding);
    strcpy(s->answer + size + padding, tail);
    s->answer_size = (size_t)size + padding + strlen(tail);
}

static void open_site(char *argument) {
    struct site *s = &sites[site_count++];
    *s = (struct site){.name = strtok(argument, ","), .size = 512};
    for (char *option; (option = strtok(NULL, ","));) read_option(s, option);
    write_answer(s);
    s->fd = open_listener(&s->port);
    watch_fd(epoll, s->fd, EPOLLIN, s, true);
    printf("%s\"%s\":%u", site_count > 1 ? "," : "{", s->name, s->port);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 17) quit("one to sixteen sites are needed; the head of upstream.c tells their options");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    wake_up = open_alarm(epoll, &wake_up);
    watch_fd(epoll, STDIN_FILENO, EPOLLIN, &site_count, true);
    for (int i = 1; i < argc; i++) open_site(argv[i]);
    puts("}");
    fflush(stdout);
    struct epoll_event ready[512];
    for (;;) {
        int count = epoll_wait(epoll, ready, 512, -1);
        for (int i = 0; i < count; i++) {
            void *owner = ready[i].data.ptr;
            if (owner == &wake_up) alarm_rang(&wake_up);
            else if (owner == &site_count) on_stdin();
            else if ((struct site *)owner >= sites && (struct site *)owner < sites + 16) on_site(owner);
            else on_guest(owner, ready[i].events);
        }
        on_time();
        free_gone();
    }
}
