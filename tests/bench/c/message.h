/* Reads HTTP/1.1 messages as they come, cut anywhere: heads line by line, bodies by length, chunks or close. */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H
#include "net.h"

enum phase { FIRST_LINE, FIELDS, BY_LENGTH, CHUNK_LINE, CHUNK_BYTES, CHUNK_TAIL, TRAILERS, BY_CLOSE, WHOLE, BROKEN };

struct message {
    enum phase phase;
    bool is_answer, chunked, closes;
    int status;       /* of an answer */
    int64_t length;   /* -1: not said */
    uint64_t left;    /* bytes still to come of the body or the chunk */
    char line[1024];  /* the line being read; what is longer is cut, which no field looked at here ever is */
    size_t line_size;
};

typedef void (*body_sink)(void *owner, const char *bytes, size_t size);

static inline void message_start(struct message *m, bool is_answer) {
    m->phase = FIRST_LINE;
    m->is_answer = is_answer;
    m->chunked = m->closes = false;
    m->status = 0;
    m->length = -1;
    m->left = m->line_size = 0;
}

static inline const char *field_value(const char *line, const char *name) {
    size_t size = strlen(name);
    if (strncasecmp(line, name, size) || line[size] != ':') return NULL;
    line += size + 1;
    return line + strspn(line, " \t");
}

static inline void end_of_head(struct message *m) {
    if (m->is_answer && m->status < 200) {
        message_start(m, true); /* an interim answer: the real one follows */
        return;
    }
    bool bodyless = m->is_answer && (m->status == 204 || m->status == 304);
    if (bodyless) m->phase = WHOLE;
    else if (m->chunked) m->phase = CHUNK_LINE;
    else if (m->length > 0) { m->left = (uint64_t)m->length; m->phase = BY_LENGTH; }
    else if (m->length == 0 || !m->is_answer) m->phase = WHOLE;
    else { m->closes = true; m->phase = BY_CLOSE; }
}

static inline void take_field(struct message *m) {
    const char *value;
    switch (m->line[0] | 0x20) {
    case 'c':
        if ((value = field_value(m->line, "content-length"))) m->length = atoll(value);
        else if ((value = field_value(m->line, "connection"))) m->closes = !strncasecmp(value, "close", 5);
        break;
    case 't':
        if ((value = field_value(m->line, "transfer-encoding"))) m->chunked = !strncasecmp(value, "chunked", 7);
        break;
    default:
        break;
    }
}

static inline void take_line(struct message *m) {
    switch (m->phase) {
    case FIRST_LINE:
        m->phase = FIELDS;
        if (m->is_answer && sscanf(m->line, "HTTP/1.%*c %d", &m->status) != 1) m->phase = BROKEN;
        break;
    case FIELDS:
        if (m->line_size) take_field(m);
        else end_of_head(m);
        break;
    case CHUNK_LINE:
        m->left = strtoull(m->line, NULL, 16);
        m->phase = m->left ? CHUNK_BYTES : TRAILERS;
        break;
    case CHUNK_TAIL:
        m->phase = m->line_size ? BROKEN : CHUNK_LINE;
        break;
    case TRAILERS:
        if (!m->line_size) m->phase = WHOLE;
        break;
    default:
        break;
    }
    m->line_size = 0;
}

/* Adds bytes to the current line; returns how many were used. */
static inline size_t read_line(struct message *m, const char *bytes, size_t size) {
    const char *end = memchr(bytes, '\n', size);
    size_t used = end ? (size_t)(end - bytes) + 1 : size;
    size_t kept = end ? used - 1 : used, room = sizeof m->line - 1 - m->line_size;
    if (kept > room) kept = room;
    memcpy(m->line + m->line_size, bytes, kept);
    m->line_size += kept;
    if (!end) return used;
    if (m->line_size && m->line[m->line_size - 1] == '\r') m->line_size--;
    m->line[m->line_size] = 0;
    take_line(m);
    return used;
}

/* Reads until the message is whole or broken, or the bytes are used up; returns how many were used. */
static inline size_t message_feed(struct message *m, const char *bytes, size_t size, body_sink sink, void *owner) {
    size_t used = 0;
    while (used < size && m->phase != WHOLE && m->phase != BROKEN) {
        bool in_body = m->phase == BY_LENGTH || m->phase == CHUNK_BYTES || m->phase == BY_CLOSE;
        if (!in_body) {
            used += read_line(m, bytes + used, size - used);
            continue;
        }
        size_t take = size - used;
        if (m->phase != BY_CLOSE && take > m->left) take = (size_t)m->left;
        if (sink) sink(owner, bytes + used, take);
        used += take;
        if (m->phase != BY_CLOSE && !(m->left -= take)) m->phase = m->phase == BY_LENGTH ? WHOLE : CHUNK_TAIL;
    }
    return used;
}
#endif
