/* Every datapath and the others: peers that go, strangers, channels that nobody asked for, and what is no message at
   all. Each is counted by its kind, and none of it disturbs the others. */
#include "conformance_cases.h"

static void a_peer_that_is_gone_breaks_nothing(void **state) {
    const struct medium *medium = *state;
    struct end a, b, c;
    struct ins_rx rx[8];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    end_open(&c, medium->fellow ? medium->fellow : medium, 1);
    end_close(&b);
    for (uint64_t i = 0; i < 200; i++) {
        struct parcel parcel;
        pack(&parcel, 100, i);
        struct ins_tx tx[2] = {tx_of(&parcel, &b), tx_of(&parcel, &c)};
        send_any(&a, tx, 2);
        free(parcel.payload);
        assert_int_equal(tx[1].error, 0);
        receive(&c, &a, i, 1, 4);
        assert_true(a.dp->ops->rx_burst(a.dp, rx, 8) >= 0); /* no echo of the refusal is a breakage */
    }
    end_close(&a);
    end_close(&c);
}

static void a_channel_that_nobody_asked_for_is_counted_and_dropped(void **state) {
    static struct lane lane;
    lane_open(&lane, *state);
    node_do(&lane.a, ins_engine_add_source(lane.a.engine, EXIT, 1, SOURCE + 1, 1, CHANNEL + 1));
    node_do(&lane.a, ins_engine_add_route(lane.a.engine, TAG, CHANNEL + 1, PEER));
    for (uint64_t i = 0; i < 20; i++)
        HARNESS_UNTIL(exit_send(&lane.exit, &lane.a, 1, 1, 100, i), &lane.a, &lane.b) {
        }
    HARNESS_UNTIL(node_count(&lane.b, INS_COUNT_rx_no_subscriber) == 20, &lane.a, &lane.b) {
    }
    lane_exchange(&lane, 0, 200);
    assert_int_equal(node_count(&lane.b, INS_COUNT_rx_messages), 200);
    lane_close(&lane);
}

/* An end that is not introduced sends to an engine: first as a stranger, then what is no message. */
struct rough {
    struct end a;
    struct node b;
};

static void rough_open(struct rough *rough, const struct medium *medium) {
    struct ins_engine_config config = node_config();
    config.receive_bytes = medium->bytes;
    end_open(&rough->a, medium, 0);
    conformance_stand(medium, 1);
    node_open_at(&rough->b, &config, medium->technology, medium->options[1], inet_addr(medium->address[1]));
}

static void rough_close(struct rough *rough) {
    end_close(&rough->a);
    node_close(&rough->b);
}

/* Sends one datagram and waits until the engine has counted it there. */
static void counted(struct rough *rough, const uint8_t *header, uint32_t header_length, uint32_t payload_length,
                    enum ins_engine_counter where) {
    static const uint8_t payload[64];
    uint64_t before = node_count(&rough->b, where);
    struct ins_tx tx = {.header = header, .header_length = header_length, .payload = payload,
                        .payload_length = payload_length, .to = rough->b.at};
    send_all(&rough->a, &tx, 1);
    HARNESS_UNTIL(node_count(&rough->b, where) == before + 1, &rough->b, &rough->b) {
        turn(&rough->a);
    }
}

static void a_stranger_is_counted_and_not_heard(void **state) {
    static struct rough rough;
    uint8_t header[INS_WIRE_HEADER];
    struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .tag = TAG, .channel = CHANNEL, .length = 16};
    rough_open(&rough, *state);
    ins_wire_write(header, &wire);
    for (uint32_t i = 0; i < 10; i++)
        counted(&rough, header, sizeof header, 16, INS_COUNT_rx_unknown_peer);
    assert_int_equal(node_count(&rough.b, INS_COUNT_rx_messages), 0);
    rough_close(&rough);
}

static void what_is_no_message_is_counted_by_its_kind(void **state) {
    static struct rough rough;
    rough_open(&rough, *state);
    node_do(&rough.b, ins_engine_set_peer(rough.b.engine, PEER, NODE_DATAPATH, rough.a.at.address, rough.a.at.port, 0));
    struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .tag = TAG, .channel = CHANNEL, .length = 16};
    static const struct {
        uint32_t at;    /* which byte of the header is spoilt */
        uint8_t with;   /* what is laid over it */
        enum ins_engine_counter where;
    } spoilt[] = {
        {INS_WIRE_MAGIC, 0xff, INS_COUNT_rx_bad_magic},     {INS_WIRE_VERSION, 0x40, INS_COUNT_rx_bad_version},
        {INS_WIRE_TYPE, 0x70, INS_COUNT_rx_bad_type},       {INS_WIRE_FLAGS, 0x80, INS_COUNT_rx_bad_flags},
        {INS_WIRE_LENGTH, 0x7f, INS_COUNT_rx_bad_length},   {INS_WIRE_LENGTH + 3, 0x40, INS_COUNT_rx_bad_length},
    };
    for (uint32_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        uint8_t header[INS_WIRE_HEADER];
        ins_wire_write(header, &wire);
        header[spoilt[i].at] ^= spoilt[i].with;
        counted(&rough, header, sizeof header, 16, spoilt[i].where);
    }
    uint8_t header[INS_WIRE_HEADER];
    ins_wire_write(header, &wire);
    for (uint32_t length = 1; length < INS_WIRE_HEADER; length += 23)
        counted(&rough, header, length, 0, INS_COUNT_rx_bad_short);
    /* And the engine still serves what is one. */
    counted(&rough, header, sizeof header, 16, INS_COUNT_rx_no_subscriber);
    rough_close(&rough);
}

static void a_flow_that_changes_its_mind_is_counted_and_dropped(void **state) {
    static struct rough rough;
    static struct entrance entrance;
    rough_open(&rough, *state);
    entrance_open(&entrance, &rough.b, ENTRANCE, 16);
    node_do(&rough.b, ins_engine_subscribe(rough.b.engine, ENTRANCE, TAG, CHANNEL, 0));
    node_do(&rough.b, ins_engine_set_peer(rough.b.engine, PEER, NODE_DATAPATH, rough.a.at.address, rough.a.at.port, 0));
    uint8_t header[INS_WIRE_HEADER];
    struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .tag = TAG, .channel = CHANNEL, .source = 1, .flow = 5, .length = 16};
    ins_wire_write(header, &wire);
    counted(&rough, header, sizeof header, 16, INS_COUNT_rx_messages);
    counted(&rough, header, sizeof header, 16, INS_COUNT_rx_late); /* the same once more */
    wire.sequence = 1;
    wire.source = 2;
    ins_wire_write(header, &wire);
    counted(&rough, header, sizeof header, 16, INS_COUNT_rx_bad_flow);
    entrance_close(&entrance, &rough.b);
    rough_close(&rough);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_is_gone_breaks_nothing),
        cmocka_unit_test(a_channel_that_nobody_asked_for_is_counted_and_dropped),
        cmocka_unit_test(a_stranger_is_counted_and_not_heard),
        cmocka_unit_test(what_is_no_message_is_counted_by_its_kind),
        cmocka_unit_test(a_flow_that_changes_its_mind_is_counted_and_dropped),
    };
    return conformance_run("peers", tests, sizeof tests / sizeof *tests);
}
