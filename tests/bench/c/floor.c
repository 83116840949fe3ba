/* The floor under any proxy on 127.0.0.1: moves bytes between sockets and reads no HTTP.
 *
 *   floor LISTEN_PORT STABLE_PORT [CANDIDATE_PORT LIVE_PCT MIRROR]
 *
 * With a candidate, LIVE_PCT of the client's messages go to it instead; with MIRROR 1 every other one is copied to it, and
 * the copy's answer is read and thrown away. One read is taken for one message, and each client has upstream connections
 * of its own, so it serves small messages sent one at a time. A copy that would have to wait ends its connection.
 */
#include "net.h"
#include <poll.h>

enum role { CLIENT, STABLE, CANDIDATE, SHADOW, ROLES };

struct strand;
struct end { struct strand *strand; int fd; };
struct strand { struct end ends[ROLES]; bool cut; struct strand *next_cut; };

static unsigned stable_port, candidate_port, live_pct;
static bool mirrors;
static uint64_t message_number;
static int epoll;
static struct strand *cut_strands;

static void cut(struct strand *s) {
    if (s->cut) return;
    for (int role = 0; role < ROLES; role++)
        if (s->ends[role].fd >= 0) close(s->ends[role].fd);
    s->cut = true;
    s->next_cut = cut_strands;
    cut_strands = s;
}

static void attach(struct strand *s, enum role role, int fd) {
    s->ends[role] = (struct end){s, fd};
    if (fd >= 0) watch_fd(epoll, fd, EPOLLIN, &s->ends[role], true);
}

static void on_client(int fd) {
    struct strand *s = calloc(1, sizeof *s);
    no_delay(fd);
    attach(s, CLIENT, fd);
    attach(s, STABLE, dial(stable_port));
    attach(s, CANDIDATE, live_pct ? dial(candidate_port) : -1);
    attach(s, SHADOW, mirrors ? dial(candidate_port) : -1);
    if (s->ends[STABLE].fd < 0 || (live_pct && s->ends[CANDIDATE].fd < 0)) cut(s);
}

static bool push(int fd, const char *bytes, size_t size, bool waits) {
    while (size) {
        ssize_t wrote = send(fd, bytes, size, MSG_NOSIGNAL);
        if (wrote < 0 && (errno != EAGAIN || !waits)) return false;
        if (wrote < 0) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
        else { bytes += wrote; size -= (size_t)wrote; }
    }
    return true;
}

static void shut_shadow(struct strand *s) {
    if (s->ends[SHADOW].fd >= 0) close(s->ends[SHADOW].fd);
    s->ends[SHADOW].fd = -1;
}

static bool is_live_candidate(void) {
    uint64_t number = ++message_number;
    return number * live_pct / 100 != (number - 1) * live_pct / 100;
}

static void forward(struct strand *s, const char *bytes, size_t size) {
    if (is_live_candidate()) {
        if (!push(s->ends[CANDIDATE].fd, bytes, size, true)) cut(s);
        return;
    }
    if (!push(s->ends[STABLE].fd, bytes, size, true)) { cut(s); return; }
    if (s->ends[SHADOW].fd >= 0 && !push(s->ends[SHADOW].fd, bytes, size, false)) shut_shadow(s);
}

static void on_end(struct end *end) {
    static char bytes[64 * 1024];
    struct strand *s = end->strand;
    if (s->cut || end->fd < 0) return;
    ssize_t size = recv(end->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    bool is_shadow = end == &s->ends[SHADOW];
    if (size <= 0 && is_shadow) shut_shadow(s);
    else if (size <= 0) cut(s);
    else if (end == &s->ends[CLIENT]) forward(s, bytes, (size_t)size);
    else if (!is_shadow && !push(s->ends[CLIENT].fd, bytes, (size_t)size, true)) cut(s);
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 6) quit("usage: floor LISTEN_PORT STABLE_PORT [CANDIDATE_PORT LIVE_PCT MIRROR]");
    unsigned port = (unsigned)atoi(argv[1]);
    stable_port = (unsigned)atoi(argv[2]);
    if (argc == 6) {
        candidate_port = (unsigned)atoi(argv[3]);
        live_pct = (unsigned)atoi(argv[4]);
        mirrors = atoi(argv[5]) != 0;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = open_listener(&port);
    watch_fd(epoll, listener, EPOLLIN, &listener, true);
    struct epoll_event ready[512];
    for (;;) {
        int count = epoll_wait(epoll, ready, 512, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr != &listener) on_end(ready[i].data.ptr);
            else for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) on_client(fd);
        }
        for (struct strand *s; (s = cut_strands); free(s)) cut_strands = s->next_cut;
    }
}
