/* Every datapath under pressure: no slot to receive into, a sender that is faster than the receiver, and ends that go
   while messages are under way. Nothing is lost without a count, and every slot comes home. */
#include "conformance_cases.h"

static void without_a_slot_it_says_so_and_goes_on_when_there_is_one(void **state) {
    const struct medium *medium = *state;
    struct end a, b;
    struct ins_rx rx[SLOTS];
    uint32_t held = 0;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    /* First of all they find each other: a connection needs both to look, which they do not while one only sends. */
    send_one(&a, &b, 8, 0);
    receive(&b, &a, 0, 1, 1);
    uint64_t until = harness_ms() + PATIENCE_MS;
    for (uint64_t sequence = 1;; sequence++) {
        send_one(&a, &b, 8, sequence);
        int got = b.dp->ops->rx_burst(b.dp, &rx[held], 1);
        if (got == -ENOBUFS)
            break;
        assert_true(got >= 0);
        held += (uint32_t)got;
        assert_true(held <= SLOTS);
        harness_deadline(until, "the pool to be used up", __FILE__, __LINE__);
    }
    assert_true(held >= SLOTS / 2);
    assert_int_equal(b.pool.free_count, 0);
    for (uint32_t i = 0; i < held; i++)
        ins_pool_unref(&b.pool, rx[i].slot);
    /* What was sent meanwhile may have waited or been lost; this one comes in any case. */
    int got = b.dp->ops->rx_burst(b.dp, rx, 1);
    send_one(&a, &b, 8, 0);
    for (; got == 0; turn(&a), harness_deadline(until, "the datapath to go on", __FILE__, __LINE__))
        got = b.dp->ops->rx_burst(b.dp, rx, 1);
    assert_int_equal(got, 1);
    ins_pool_unref(&b.pool, rx[0].slot);
    end_close(&a);
    end_close(&b);
}

/* Under engines with threads of their own: order, back-pressure by credits, and the books balance. */
static void engines_over_it_lose_nothing_within_their_window(void **state) {
    enum { MESSAGES = 4000 };
    static struct lane lane;
    lane_open(&lane, *state);
    lane_exchange(&lane, 0, MESSAGES);
    exit_close(&lane.exit, &lane.a);
    assert_int_equal(lane.exit.returned[INS_STATUS_DONE], MESSAGES);
    entrance_close(&lane.entrance, &lane.b);
    assert_int_equal(node_count(&lane.b, INS_COUNT_rx_lost) + node_count(&lane.b, INS_COUNT_rx_late), 0);
    assert_int_equal(node_count(&lane.b, INS_COUNT_rx_messages), MESSAGES);
    node_close(&lane.a);
    node_close(&lane.b);
}

/* Takes up to `most`; later ones only, but not necessarily the next. */
static void take_later(struct lane *lane, int most, uint64_t *received, uint64_t *last) {
    struct ins_descriptor d[64];
    int count = entrance_take(&lane->entrance, &lane->b, d, most);
    for (int i = 0; i < count; i++, (*received)++) {
        uint64_t mark = entrance_mark(&lane->b, &d[i]);
        assert_true(*received == 0 || mark > *last);
        *last = mark;
        entrance_give(&lane->entrance, &lane->b, &d[i]);
    }
}

static uint64_t uncounted(const struct lane *lane, uint64_t sent, uint64_t received) {
    return sent - received - node_count(&lane->b, INS_COUNT_rx_lost) - node_count(&lane->b, INS_COUNT_rx_no_credit);
}

/* The sender does not wait: what is not delivered was dropped for want of credit, or lost on the way, and is counted. It may
   take as long as it likes on a busy host, as long as it goes on. */
static void a_sender_that_does_not_wait_loses_nothing_uncounted(void **state) {
    enum { MESSAGES = 4000, SOME = 200 };
    static struct lane lane;
    uint64_t sent = 0, received = 0, last = 0;
    const struct medium *medium = *state;
    if (medium->stops_in_flood) {
        print_message("not here: %s\n", medium->stops_in_flood);
        skip();
    }
    lane_open(&lane, medium);
    for (uint64_t next = SOME; sent < MESSAGES; next = sent + SOME)
        HARNESS_UNTIL(sent >= (next < MESSAGES ? next : MESSAGES), &lane.a, &lane.b) {
            while (sent < MESSAGES && exit_send(&lane.exit, &lane.a, 0, 0, 200, sent))
                sent++;
            take_later(&lane, 8, &received, &last);
        }
    /* Heartbeats tell of a lost tail; what waits is delivered or dropped. */
    for (uint64_t left; (left = uncounted(&lane, sent, received));)
        HARNESS_UNTIL(uncounted(&lane, sent, received) <= (left > SOME ? left - SOME : 0), &lane.a, &lane.b) {
            take_later(&lane, 64, &received, &last);
        }
    assert_int_equal(node_count(&lane.b, INS_COUNT_rx_late), 0);
    lane_close(&lane);
    assert_int_equal(lane.exit.returned[INS_STATUS_DONE], MESSAGES);
}

/* Teardown under traffic, from either side, in any order of link and datapath. */
static void what_is_taken_away_under_traffic_gives_everything_back(void **state) {
    static struct lane lane;
    for (uint32_t round = 0; round < 8; round++) {
        lane_open(&lane, *state);
        lane_exchange(&lane, 0, 100);
        uint64_t sent = 100;
        while (sent < 1000 && exit_send(&lane.exit, &lane.a, 0, 0, 1000, sent))
            sent++;
        if (round & 1) {
            node_do(&lane.a, ins_engine_remove_datapath(lane.a.engine, NODE_DATAPATH));
            assert_int_equal(ins_datapath_close(lane.a.datapath), 0);
            lane.a.datapath = NULL;
        }
        if (round & 2) {
            entrance_close(&lane.entrance, &lane.b); /* with messages that nobody took */
            node_do(&lane.b, ins_engine_remove_datapath(lane.b.engine, NODE_DATAPATH));
            assert_int_equal(ins_datapath_close(lane.b.datapath), 0);
            lane.b.datapath = NULL;
            exit_close(&lane.exit, &lane.a); /* checks that every slot came home */
        } else {
            exit_close(&lane.exit, &lane.a);
            entrance_close(&lane.entrance, &lane.b);
        }
        node_close(&lane.a); /* checks that none is out */
        node_close(&lane.b);
        uint64_t returned = 0;
        for (uint32_t i = 0; i < 16; i++)
            returned += lane.exit.returned[i];
        assert_int_equal(returned, sent);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_slot_it_says_so_and_goes_on_when_there_is_one),
        cmocka_unit_test(engines_over_it_lose_nothing_within_their_window),
        cmocka_unit_test(a_sender_that_does_not_wait_loses_nothing_uncounted),
        cmocka_unit_test(what_is_taken_away_under_traffic_gives_everything_back),
    };
    return conformance_run("pressure", tests, sizeof tests / sizeof *tests);
}
