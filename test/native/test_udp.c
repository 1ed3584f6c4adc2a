/* Two engines with threads of their own over UDP on loopback: what one application sends, the other receives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine_harness.h"

enum { TAG = 0xabcd, CHANNEL = 42, PEER = 5, SOURCE = 900 };

struct pair {
    struct node a, b;
    struct exit_link exit;
    struct entrance entrance;
};

static void pair_open(struct pair *p, const struct ins_engine_config *config) {
    node_open(&p->a, config, "udp");
    node_open(&p->b, config, "udp");
    node_introduce(&p->a, &p->b, PEER);
    exit_open(&p->exit, &p->a, 1, TAG, 1024, 512, 65536);
    node_do(&p->a, ins_engine_add_source(p->a.engine, 1, 0, SOURCE, 3, CHANNEL));
    entrance_open(&p->entrance, &p->b, 2, 1024);
    node_do(&p->b, ins_engine_subscribe(p->b.engine, 2, TAG, CHANNEL, 9));
    node_do(&p->a, ins_engine_add_route(p->a.engine, TAG, CHANNEL, PEER));
}

static void pair_close(struct pair *p) {
    exit_close(&p->exit, &p->a);
    entrance_close(&p->entrance, &p->b);
    node_close(&p->a);
    node_close(&p->b);
}

/* Takes everything there is, checks order and metadata, gives it back. */
static uint64_t consume(struct pair *p, uint64_t next) {
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

static void messages_arrive_in_order_with_their_metadata(void **state) {
    (void)state;
    enum { MESSAGES = 20000, WINDOW = 128 };
    struct pair p;
    struct ins_engine_config config = node_config();
    pair_open(&p, &config);
    uint64_t sent = 0, received = 0;
    HARNESS_UNTIL(received == MESSAGES, &p.a, &p.b) {
        while (sent < MESSAGES && sent - received < WINDOW &&
               exit_send(&p.exit, &p.a, 0, 3, (uint32_t)(sent % 1400), sent))
            sent++;
        received = consume(&p, received);
    }
    HARNESS_UNTIL(p.exit.returned[INS_STATUS_DONE] == MESSAGES, &p.a, &p.b) exit_reclaim(&p.exit);
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_lost), 0);
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_messages), MESSAGES);
    assert_int_equal(node_count(&p.a, INS_COUNT_tx_messages), MESSAGES);
    pair_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_order_with_their_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
