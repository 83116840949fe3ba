/* Shared by the bench's C tools: loopback sockets, one epoll set, a clock and a timer. Linux only. */
#ifndef BENCH_NET_H
#define BENCH_NET_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t ns_t;
#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define READ_ROOM (256 * 1024)

__attribute__((format(printf, 1, 2), noreturn)) static inline void quit(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static inline ns_t clock_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (ns_t)at.tv_sec * NS_PER_S + (ns_t)at.tv_nsec;
}

static inline struct sockaddr_in local_address(unsigned port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static inline void no_delay(int fd) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); }

/* Port 0 lets the kernel choose; the chosen one is returned through `port`. */
static inline int open_listener(unsigned *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = local_address(*port);
    socklen_t size = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&at, size) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&at, &size))
        quit("cannot listen on port %u: %s", *port, strerror(errno));
    *port = ntohs(at.sin_port);
    return fd;
}

/* Connects while still blocking (on loopback that ends at once), then turns non-blocking. -1: refused. */
static inline int dial(unsigned port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = local_address(port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at)) {
        if (fd >= 0) close(fd);
        return -1;
    }
    no_delay(fd);
    int non_blocking = 1;
    if (ioctl(fd, FIONBIO, &non_blocking)) quit("ioctl: %s", strerror(errno));
    return fd;
}

static inline void watch_fd(int set, int fd, uint32_t events, void *owner, bool is_new) {
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(set, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event)) quit("epoll_ctl: %s", strerror(errno));
}

/* An alarm that wakes epoll at an instant with the kernel's high-resolution timer; epoll's own timeout counts in ms. */
struct alarm { int fd; ns_t set_to; };

static inline struct alarm open_alarm(int set, void *owner) {
    struct alarm alarm = {.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), .set_to = 0};
    watch_fd(set, alarm.fd, EPOLLIN, owner, true);
    return alarm;
}

static inline void set_alarm(struct alarm *alarm, ns_t at) { /* 0: off */
    if (alarm->set_to == at) return;
    alarm->set_to = at;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)}};
    timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static inline void alarm_rang(struct alarm *alarm) {
    uint64_t times;
    if (read(alarm->fd, &times, sizeof times) > 0) alarm->set_to = 0;
}

/* Writes a number over the 16 digits at `place`. */
static inline void stamp_id(char *place, uint64_t number) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 15; i >= 0; i--, number >>= 4) place[i] = digits[number & 15];
}
#endif
