/* Wire v1: what is written is read back, byte by byte as docs/wire.md says, and every malformed header is refused for its
   own reason. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/wire.h"

static const struct ins_wire sample = {
    .type = INS_WIRE_TYPE_DATA,
    .flags = 0x0001,
    .tag = 0x01020304,
    .channel = 0x11121314,
    .source = 0x21222324,
    .flow = 0x31323334,
    .sequence = 0x4142434445464748,
    .emit_time = 0x5152535455565758,
    .length = 16,
};

static void a_header_is_what_the_document_says(void **state) {
    (void)state;
    static const uint8_t expected[INS_WIRE_HEADER] = {
        0x49, 0x4e, 1,    1,    0x00, 0x01, 0,    0,    0x01, 0x02, 0x03, 0x04, 0x11, 0x12, 0x13, 0x14,
        0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
        0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0,    0,    0,    16,   0,    0,    0,    0,
    };
    uint8_t header[INS_WIRE_HEADER];
    memset(header, 0xee, sizeof header);
    ins_wire_write(header, &sample);
    assert_memory_equal(header, expected, sizeof expected);
}

static void what_was_written_is_read_back_at_any_alignment(void **state) {
    (void)state;
    for (uint32_t shift = 0; shift < 8; shift++) {
        uint8_t buffer[8 + INS_WIRE_HEADER + 16] = {0};
        struct ins_wire read;
        memset(&read, 0, sizeof read);
        ins_wire_write(buffer + shift, &sample);
        assert_int_equal(ins_wire_parse(buffer + shift, INS_WIRE_HEADER + 16, &read), INS_WIRE_OK);
        assert_int_equal(read.body, sample.length);
        read.body = 0; /* which is not written */
        assert_memory_equal(&read, &sample, sizeof read);
    }
}

static void a_header_becomes_metadata_where_it_lies(void **state) {
    (void)state;
    uint8_t buffer[1 + INS_WIRE_HEADER + 16] = {0};
    struct ins_wire wire;
    ins_wire_write(buffer + 1, &sample);
    assert_int_equal(ins_wire_parse(buffer + 1, sizeof buffer - 1, &wire), INS_WIRE_OK);
    ins_wire_to_meta(buffer + 1, &wire, 7);
    uint32_t u32;
    uint64_t u64;
    memcpy(&u32, buffer + 1 + INS_META_SOURCE, 4);
    assert_int_equal(u32, sample.source);
    memcpy(&u32, buffer + 1 + INS_META_FLOW, 4);
    assert_int_equal(u32, sample.flow);
    memcpy(&u64, buffer + 1 + INS_META_SEQUENCE, 8);
    assert_true(u64 == sample.sequence);
    memcpy(&u64, buffer + 1 + INS_META_EMIT_TIME, 8);
    assert_true(u64 == sample.emit_time);
    memcpy(&u64, buffer + 1 + INS_META_RECEIVE_TIME, 8);
    assert_true(u64 == 7);
    memcpy(&u32, buffer + 1 + INS_META_LENGTH, 4);
    assert_int_equal(u32, sample.length);
}

/* Changes one thing in a good message and says what the parser makes of it. Each buffer is exactly as long as is said, so
   that a sanitizer sees a read beyond it. */
static int verdict(uint32_t at, uint8_t value, uint32_t available) {
    uint8_t good[INS_WIRE_HEADER + 16] = {0};
    struct ins_wire wire;
    ins_wire_write(good, &sample);
    if (at < sizeof good)
        good[at] = value;
    uint8_t *data = malloc(available ? available : 1);
    assert_non_null(data);
    memcpy(data, good, available);
    int fault = (int)ins_wire_parse(data, available, &wire);
    free(data);
    return fault;
}

static void every_malformed_header_is_refused_for_its_reason(void **state) {
    (void)state;
    const uint32_t whole = INS_WIRE_HEADER + 16, none = 1000;
    assert_int_equal(verdict(none, 0, whole), INS_WIRE_OK);
    for (uint32_t length = 0; length < INS_WIRE_HEADER; length++)
        assert_int_equal(verdict(none, 0, length), INS_WIRE_BAD_SHORT);
    for (uint32_t length = INS_WIRE_HEADER; length < whole; length++)
        assert_int_equal(verdict(none, 0, length), INS_WIRE_BAD_LENGTH);
    assert_int_equal(verdict(0, 0x4a, whole), INS_WIRE_BAD_MAGIC);
    assert_int_equal(verdict(1, 0x4f, whole), INS_WIRE_BAD_MAGIC);
    for (uint32_t version = 0; version < 256; version++)
        assert_int_equal(verdict(INS_WIRE_VERSION, (uint8_t)version, whole), version == 1 ? INS_WIRE_OK : INS_WIRE_BAD_VERSION);
    for (uint32_t type = 0; type < 256; type++) {
        int expected = type == INS_WIRE_TYPE_DATA        ? INS_WIRE_OK
                       : type == INS_WIRE_TYPE_COALESCED ? INS_WIRE_OK /* two items without payload */
                       : type == INS_WIRE_TYPE_HEARTBEAT ? INS_WIRE_BAD_LENGTH /* 16 bytes are no records */
                       : type == INS_WIRE_TYPE_FRAGMENT || type == INS_WIRE_TYPE_ASK ? INS_WIRE_BAD_LENGTH /* of no size */
                       : type == INS_WIRE_TYPE_STATUS    ? INS_WIRE_BAD_LENGTH /* 16 bytes are too few */
                       : type == INS_WIRE_TYPE_MARKER || type == INS_WIRE_TYPE_MARKER_ECHO ? INS_WIRE_BAD_LENGTH /* no body */
                                                         : INS_WIRE_BAD_TYPE;
        assert_int_equal(verdict(INS_WIRE_TYPE, (uint8_t)type, whole), expected);
    }
    for (uint32_t bit = 0; bit < 8; bit++) {
        assert_int_equal(verdict(INS_WIRE_FLAGS, (uint8_t)(1u << bit), whole), INS_WIRE_BAD_FLAGS);
        assert_int_equal(verdict(INS_WIRE_FLAGS + 1, (uint8_t)(1u << bit), whole), INS_WIRE_OK);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(verdict(INS_WIRE_LENGTH + i, 0xff, whole), INS_WIRE_BAD_LENGTH);
    assert_int_equal(verdict(INS_WIRE_LENGTH + 3, 17, whole), INS_WIRE_BAD_LENGTH);
    assert_int_equal(verdict(INS_WIRE_LENGTH + 3, 15, whole), INS_WIRE_OK); /* another message may follow */
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(verdict(INS_WIRE_FRAGMENT_SIZE + i, 1, whole), INS_WIRE_BAD_LENGTH);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(verdict(INS_WIRE_FRAGMENT_INDEX + i, 1, whole), INS_WIRE_BAD_LENGTH);
}

static void the_longest_payload_is_accepted_and_one_more_is_not(void **state) {
    (void)state;
    uint32_t bytes = INS_WIRE_HEADER + INS_WIRE_MAX_PAYLOAD + 1;
    uint8_t *data = calloc(1, bytes);
    struct ins_wire wire = sample, read;
    wire.length = INS_WIRE_MAX_PAYLOAD;
    ins_wire_write(data, &wire);
    assert_int_equal(ins_wire_parse(data, bytes, &read), INS_WIRE_OK);
    wire.length++;
    ins_wire_write(data, &wire);
    assert_int_equal(ins_wire_parse(data, bytes, &read), INS_WIRE_BAD_LENGTH);
    free(data);
}

static void heartbeats_carry_whole_records_up_to_their_limit(void **state) {
    (void)state;
    uint32_t bytes = INS_WIRE_HEADER + (INS_HEARTBEAT_MAX_RECORDS + 1) * INS_HEARTBEAT_RECORD_BYTES;
    uint8_t *data = calloc(1, bytes);
    struct ins_wire wire = {.type = INS_WIRE_TYPE_HEARTBEAT}, read;
    for (uint32_t length = 0; length <= bytes - INS_WIRE_HEADER; length++) {
        wire.length = length;
        ins_wire_write(data, &wire);
        int whole = length % INS_HEARTBEAT_RECORD_BYTES == 0 &&
                    length <= INS_HEARTBEAT_MAX_RECORDS * INS_HEARTBEAT_RECORD_BYTES;
        assert_int_equal(ins_wire_parse(data, bytes, &read), whole ? INS_WIRE_OK : INS_WIRE_BAD_LENGTH);
    }
    struct ins_heartbeat beat = {.flow = 1, .tag = 2, .channel = 3, .source = 4, .next = 0x0102030405060708}, back;
    static const uint8_t expected[INS_HEARTBEAT_RECORD_BYTES] = {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3,
                                                                 0, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8};
    ins_heartbeat_write(data, &beat);
    assert_memory_equal(data, expected, sizeof expected);
    ins_heartbeat_read(data, &back);
    assert_memory_equal(&beat, &back, sizeof beat);
    free(data);
}

static int parsed(const struct ins_wire *wire, uint32_t available, struct ins_wire *read) {
    uint8_t *data = calloc(1, available);
    assert_non_null(data);
    ins_wire_write(data, wire);
    int fault = (int)ins_wire_parse(data, available, read);
    free(data);
    return fault;
}

static void fragments_lie_within_their_message(void **state) {
    (void)state;
    struct ins_wire wire = sample, read;
    wire.type = INS_WIRE_TYPE_FRAGMENT;
    wire.length = 1000;
    wire.size = 300;
    for (wire.index = 0; wire.index < 4; wire.index++) {
        const uint32_t body = wire.index < 3 ? 300 : 100;
        assert_int_equal(parsed(&wire, INS_WIRE_HEADER + body, &read), INS_WIRE_OK);
        assert_int_equal(read.body, body);
        assert_int_equal(read.size, 300);
        assert_int_equal(read.index, wire.index);
        assert_int_equal(parsed(&wire, INS_WIRE_HEADER + body - 1, &read), INS_WIRE_BAD_LENGTH);
        assert_int_equal(parsed(&wire, INS_WIRE_HEADER + body + 1, &read), INS_WIRE_OK); /* another one may follow */
    }
    /* Beyond its end, also where index times size does not fit 32 bits. */
    static const uint32_t beyond[] = {4, 5, 14316558, UINT32_MAX};
    for (uint32_t i = 0; i < 4; i++) {
        wire.index = beyond[i];
        assert_int_equal(parsed(&wire, 2000, &read), INS_WIRE_BAD_LENGTH);
    }
    wire.index = 0;
    wire.size = 0;
    assert_int_equal(parsed(&wire, 2000, &read), INS_WIRE_BAD_LENGTH);
    wire.size = 300;
    wire.length = 0;
    assert_int_equal(parsed(&wire, 2000, &read), INS_WIRE_BAD_LENGTH);
    wire.length = INS_POOL_MAX_MESSAGE;
    assert_int_equal(parsed(&wire, 2000, &read), INS_WIRE_OK);
    wire.length++;
    assert_int_equal(parsed(&wire, 2000, &read), INS_WIRE_BAD_LENGTH);
    wire.length = INS_POOL_MAX_MESSAGE;
    wire.size = INS_WIRE_MAX_PAYLOAD;
    assert_int_equal(parsed(&wire, INS_WIRE_HEADER + INS_WIRE_MAX_PAYLOAD, &read), INS_WIRE_OK);
    wire.size++;
    assert_int_equal(parsed(&wire, INS_WIRE_HEADER + INS_WIRE_MAX_PAYLOAD + 1, &read), INS_WIRE_BAD_LENGTH);
}

static void questions_are_the_header_of_a_fragment_alone(void **state) {
    (void)state;
    struct ins_wire wire = sample, read;
    wire.type = INS_WIRE_TYPE_ASK;
    wire.length = 1000;
    wire.size = 300;
    for (wire.index = 0; wire.index < 4; wire.index++) {
        assert_int_equal(parsed(&wire, INS_WIRE_HEADER, &read), INS_WIRE_OK);
        assert_int_equal(read.body, 0);
        assert_int_equal(read.length, 1000);
        assert_int_equal(read.size, 300);
        assert_int_equal(read.index, wire.index);
    }
    assert_int_equal(parsed(&wire, INS_WIRE_HEADER, &read), INS_WIRE_BAD_LENGTH);
    wire.index = wire.size = 0;
    assert_int_equal(parsed(&wire, INS_WIRE_HEADER, &read), INS_WIRE_BAD_LENGTH);
    wire.size = 300;
    wire.length = INS_POOL_MAX_MESSAGE + 1u;
    assert_int_equal(parsed(&wire, INS_WIRE_HEADER, &read), INS_WIRE_BAD_LENGTH);
}

static void statuses_are_as_long_as_they_say(void **state) {
    (void)state;
    static const uint8_t expected[INS_RECEIPT_BITMAP] = {1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78,
                                                         0, 0, 1, 8, 0, 3};
    struct ins_receipt receipt = {.consumed = 0x0102030405060708, .window = 0x12345678, .first = 264, .bytes = 3}, back;
    uint8_t data[INS_WIRE_HEADER + INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP + 1] = {0}, *body = data + INS_WIRE_HEADER;
    ins_receipt_write(body, &receipt);
    assert_memory_equal(body, expected, sizeof expected);
    assert_true(ins_receipt_read(body, INS_RECEIPT_BITMAP + 3, &back));
    assert_memory_equal(&receipt, &back, sizeof back);
    struct ins_wire wire = {.type = INS_WIRE_TYPE_STATUS}, read;
    for (uint32_t length = 0; length <= INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP + 1; length++) {
        wire.length = length;
        ins_wire_write(data, &wire);
        receipt.bytes = length - INS_RECEIPT_BITMAP;
        if (length >= INS_RECEIPT_BITMAP)
            ins_receipt_write(body, &receipt);
        int good = length >= INS_RECEIPT_BITMAP && length <= INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP;
        assert_int_equal(ins_wire_parse(data, sizeof data, &read), good ? INS_WIRE_OK : INS_WIRE_BAD_LENGTH);
    }
    wire.length = INS_RECEIPT_BITMAP + 3;
    ins_wire_write(data, &wire);
    receipt.bytes = 2; /* not what follows */
    ins_receipt_write(body, &receipt);
    assert_int_equal(ins_wire_parse(data, sizeof data, &read), INS_WIRE_BAD_LENGTH);
    receipt.bytes = 3;
    receipt.first = 263; /* no multiple of 8 */
    ins_receipt_write(body, &receipt);
    assert_int_equal(ins_wire_parse(data, sizeof data, &read), INS_WIRE_BAD_LENGTH);
}

/* A header of coalesced data and items of these sizes; returns the bytes. */
static uint32_t write_items(uint8_t *data, const uint32_t *sizes, uint32_t count) {
    static const uint8_t payload[300] = {7, 7, 7};
    struct ins_wire wire = {.type = INS_WIRE_TYPE_COALESCED, .sequence = 40, .emit_time = 1000};
    for (uint32_t i = 0; i < count; i++)
        wire.length += ins_item_write(data + INS_WIRE_HEADER + wire.length, payload, sizes[i], i * 3);
    ins_wire_write(data, &wire);
    return INS_WIRE_HEADER + wire.length;
}

static void shared_datagrams_end_with_an_item_or_are_refused(void **state) {
    (void)state;
    static const uint32_t sizes[] = {0, 1, 7, 8, 9, 64, 255, 300};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    uint8_t whole[2048];
    uint32_t bytes = write_items(whole, sizes, COUNT), ends = 0;
    struct ins_wire wire;
    assert_int_equal(ins_wire_parse(whole, bytes, &wire), INS_WIRE_OK);
    assert_int_equal(wire.items, COUNT);
    for (uint32_t body = 0; body <= bytes - INS_WIRE_HEADER; body++) {
        /* A block of exactly that size, so that a sanitizer sees the first byte beyond. */
        uint8_t *cut = malloc(INS_WIRE_HEADER + body);
        memcpy(cut, whole, INS_WIRE_HEADER + body);
        wire = (struct ins_wire){.type = INS_WIRE_TYPE_COALESCED, .length = body};
        ins_wire_write(cut, &wire);
        int fault = (int)ins_wire_parse(cut, INS_WIRE_HEADER + body, &wire);
        assert_true(fault == INS_WIRE_OK || fault == INS_WIRE_BAD_LENGTH);
        ends += fault == INS_WIRE_OK;
        assert_true(fault || (wire.items && body % INS_ITEM_ALIGN == 0));
        free(cut);
    }
    assert_int_equal(ends, COUNT); /* a body without items is none */
}

static void an_item_has_the_metadata_of_a_message_that_came_alone(void **state) {
    (void)state;
    static const uint32_t sizes[] = {5, 0, 64};
    static const uint8_t expected[INS_ITEM_HEADER] = {0, 5, 0, 0, 0, 0, 0, 0};
    uint8_t data[512], meta[INS_META_BYTES], *body = data + INS_WIRE_HEADER;
    uint32_t bytes = write_items(data, sizes, 3), at = 0, u32;
    uint64_t u64;
    struct ins_wire wire;
    assert_memory_equal(body, expected, sizeof expected);
    assert_int_equal(ins_wire_parse(data, bytes, &wire), INS_WIRE_OK);
    ins_wire_to_meta(data, &wire, 77);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t length = ins_item_length(body + at);
        assert_int_equal(length, sizes[i]);
        ins_item_to_meta(body, at);
        ins_item_meta(body, at, i, length, meta);
        memcpy(&u32, body + at + INS_ITEM_HEADER - INS_ITEM_META_BACK, 4);
        assert_int_equal(u32, at);
        memcpy(&u64, meta + INS_META_SEQUENCE, 8);
        assert_int_equal(u64, 40 + i);
        memcpy(&u64, meta + INS_META_EMIT_TIME, 8);
        assert_int_equal(u64, 1000 + i * 3);
        memcpy(&u64, meta + INS_META_RECEIVE_TIME, 8);
        assert_int_equal(u64, 77);
        memcpy(&u32, meta + INS_META_LENGTH, 4);
        assert_int_equal(u32, length);
        at += ins_item_bytes(length);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_what_the_document_says),
        cmocka_unit_test(what_was_written_is_read_back_at_any_alignment),
        cmocka_unit_test(a_header_becomes_metadata_where_it_lies),
        cmocka_unit_test(every_malformed_header_is_refused_for_its_reason),
        cmocka_unit_test(the_longest_payload_is_accepted_and_one_more_is_not),
        cmocka_unit_test(heartbeats_carry_whole_records_up_to_their_limit),
        cmocka_unit_test(fragments_lie_within_their_message),
        cmocka_unit_test(questions_are_the_header_of_a_fragment_alone),
        cmocka_unit_test(statuses_are_as_long_as_they_say),
        cmocka_unit_test(shared_datagrams_end_with_an_item_or_are_refused),
        cmocka_unit_test(an_item_has_the_metadata_of_a_message_that_came_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
