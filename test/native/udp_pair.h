/* What the tests of engines over UDP on loopback share: two of them, one application that sends and one that receives. Only
   for files that include cmocka. */
#ifndef INSANE_TEST_UDP_PAIR_H
#define INSANE_TEST_UDP_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "engine_harness.h"

enum { TAG = 0xabcd, CHANNEL = 42, PEER = 5, SOURCE = 900 };

struct pair {
    struct node a, b;
    struct exit_link exit;
    struct entrance entrance;
};

static inline void pair_open_with(struct pair *p, const struct ins_engine_config *config, const char *options) {
    node_open_at(&p->a, config, "udp", options, htonl(INADDR_LOOPBACK));
    node_open(&p->b, config, "udp");
    node_introduce(&p->a, &p->b, PEER);
    exit_open(&p->exit, &p->a, 1, TAG, 1024, 512, 65536);
    node_do(&p->a, ins_engine_add_source(p->a.engine, 1, 0, SOURCE, 3, CHANNEL));
    entrance_open(&p->entrance, &p->b, 2, 1024);
    node_do(&p->b, ins_engine_subscribe(p->b.engine, 2, TAG, CHANNEL, 9));
    node_do(&p->a, ins_engine_add_route(p->a.engine, TAG, CHANNEL, PEER));
}

static inline void pair_open(struct pair *p, const struct ins_engine_config *config) { pair_open_with(p, config, NULL); }

static inline void pair_close(struct pair *p) {
    exit_close(&p->exit, &p->a);
    entrance_close(&p->entrance, &p->b);
    node_close(&p->a);
    node_close(&p->b);
}

/* Takes everything there is, checks order and metadata, gives it back. */
static inline uint64_t consume(struct pair *p, uint64_t next) {
    struct ins_descriptor d[32];
    int count = entrance_take(&p->entrance, &p->b, d, 32);
    for (int i = 0; i < count; i++, next++) {
        struct meta meta = entrance_meta(&p->b, &d[i]);
        assert_int_equal(d[i].channel, 9);
        assert_int_equal(meta.source, SOURCE);
        assert_int_equal(meta.sequence, next);
        assert_int_equal(meta.emit_time, next + 1000);
        if (d[i].length >= 8)
            assert_int_equal(entrance_mark(&p->b, &d[i]), next);
        entrance_give(&p->entrance, &p->b, &d[i]);
    }
    return next;
}

#endif
