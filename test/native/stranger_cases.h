/* What the tests of strangers and of flows share: a socket that speaks wire v1 by hand, to an engine over UDP with one sink.
   Only for files that include cmocka. */
#ifndef INSANE_TEST_STRANGER_CASES_H
#define INSANE_TEST_STRANGER_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/wire.h"
#include "engine_harness.h"

enum { TAG = 0xfeed, CHANNEL = 3, PEER = 11, FLOW = 70 };

/* A socket that speaks wire v1 by hand, to an engine with one sink. */
struct bench {
    struct node node;
    struct entrance entrance;
    int fd;
    struct sockaddr_in engine;
    uint32_t delivered;
    uint64_t last_sequence;
};

static inline void bench_open(struct bench *b, int known) {
    struct ins_engine_config config = node_config();
    memset(b, 0, sizeof *b);
    node_open(&b->node, &config, "udp");
    entrance_open(&b->entrance, &b->node, 1, 1024);
    node_do(&b->node, ins_engine_subscribe(b->node.engine, 1, TAG, CHANNEL, 0));
    b->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    assert_int_equal(bind(b->fd, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(getsockname(b->fd, (struct sockaddr *)&here, &length), 0);
    b->engine = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(b->node.at.port), .sin_addr.s_addr = b->node.at.address};
    if (known)
        node_do(&b->node, ins_engine_set_peer(b->node.engine, PEER, NODE_DATAPATH, here.sin_addr.s_addr,
                                              ntohs(here.sin_port), 0));
}

static inline void bench_close(struct bench *b) {
    close(b->fd);
    entrance_close(&b->entrance, &b->node);
    node_close(&b->node);
}

static inline void throw(struct bench *b, const void *data, size_t bytes) {
    assert_int_equal(sendto(b->fd, data, bytes, 0, (struct sockaddr *)&b->engine, sizeof b->engine), bytes);
}

static inline struct ins_wire message(uint64_t sequence) {
    return (struct ins_wire){
        .type = INS_WIRE_TYPE_DATA,
        .tag = TAG,
        .channel = CHANNEL,
        .source = 5,
        .flow = FLOW,
        .sequence = sequence,
        .emit_time = 1000,
    };
}

static inline void throw_wire(struct bench *b, const struct ins_wire *wire) {
    uint8_t header[INS_WIRE_HEADER];
    ins_wire_write(header, wire);
    throw(b, header, sizeof header);
}

static inline void throw_heartbeat(struct bench *b, const struct ins_heartbeat *beats, uint32_t count) {
    uint8_t data[INS_WIRE_HEADER + INS_HEARTBEAT_MAX_RECORDS * INS_HEARTBEAT_RECORD_BYTES];
    struct ins_wire wire = {.type = INS_WIRE_TYPE_HEARTBEAT, .length = count * INS_HEARTBEAT_RECORD_BYTES};
    ins_wire_write(data, &wire);
    for (uint32_t i = 0; i < count; i++)
        ins_heartbeat_write(data + INS_WIRE_HEADER + i * INS_HEARTBEAT_RECORD_BYTES, &beats[i]);
    throw(b, data, INS_WIRE_HEADER + wire.length);
}

static inline void consume(struct bench *b) {
    struct ins_descriptor d[64];
    int count = entrance_take(&b->entrance, &b->node, d, 64);
    for (int i = 0; i < count; i++) {
        b->last_sequence = entrance_meta(&b->node, &d[i]).sequence;
        entrance_give(&b->entrance, &b->node, &d[i]);
        b->delivered++;
    }
}

/* Waits until the engine has looked at so many messages. */
static inline void looked_at(struct bench *b, uint64_t messages) {
    HARNESS_UNTIL(node_count(&b->node, INS_COUNT_rx_datagrams) >= messages, &b->node, &b->node) consume(b);
    node_do(&b->node, ins_engine_ping(b->node.engine)); /* and has published what came of it */
    consume(b);
}

#endif
