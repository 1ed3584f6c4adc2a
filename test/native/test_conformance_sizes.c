/* Messages of every size about every boundary, and bursts of them, over every datapath: whole, in order, or refused. */
#include "conformance_cases.h"

/* About a cache line, the metadata, the copy threshold of small messages, frames with and without headers, pages, jumbo
   frames, and what one datagram can hold. */
static const uint32_t sizes[] = {
    0,    1,    2,    7,    8,    9,    31,   32,   33,   47,   48,   49,   63,    64,    65,    127,  128,
    255,  256,  511,  512,  513,  1023, 1024, 1171, 1172, 1173, 1423, 1424, 1425,  1451,  1452,  1453, 1471,
    1472, 1473, 2047, 2048, 2049, 4020, 4032, 4033, 4095, 4096, 4097, 8923, 8924,  8925,  8952,  8953, 16383,
    16384, 32767, 65000, 65458, 65459};

static void one_size(struct end *a, struct end *b, uint32_t length, uint64_t sequence, uint32_t budget) {
    send_one(a, b, length, sequence);
    receive(b, a, sequence, 1, budget);
}

static void what_sizes_there_are_get_through_whole(void **state) {
    const struct medium *medium = *state;
    struct end a, b;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint64_t sequence = 0;
    for (uint32_t budget = 1; budget <= 32; budget += 31)
        for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            if (sizes[i] <= medium->largest)
                one_size(&a, &b, sizes[i], sequence++, budget);
    end_close(&a);
    end_close(&b);
}

static void sizes_about_its_own_mtu_get_through_or_are_refused(void **state) {
    const struct medium *medium = *state;
    enum { HEADERS = 28 + INS_WIRE_HEADER };
    struct end a, b;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint32_t fits = (uint32_t)a.at.mtu - HEADERS;
    uint64_t sequence = 0;
    assert_true(fits <= medium->largest); /* what it says it takes, it takes */
    for (uint32_t length = fits - 2; length <= fits + 2; length++) {
        if (length <= medium->largest)
            one_size(&a, &b, length, sequence++, 1);
        else {
            struct parcel parcel;
            pack(&parcel, length, sequence);
            struct ins_tx tx = tx_of(&parcel, &b);
            send_any(&a, &tx, 1);
            /* The largest datagram of all is as large as its length field can say. */
            assert_true(tx.error < 0);
            free(parcel.payload);
        }
    }
    end_close(&a);
    end_close(&b);
}

static void what_is_too_large_is_refused_and_not_cut(void **state) {
    const struct medium *medium = *state;
    struct end a, b;
    struct parcel large, small;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    pack(&large, medium->largest + 1, 7);
    pack(&small, 8, 0);
    struct ins_tx tx[2] = {tx_of(&large, &b), tx_of(&small, &b)};
    send_any(&a, tx, 2);
    assert_true(tx[0].error < 0);
    assert_int_equal(tx[1].error, 0);
    receive(&b, &a, 0, 1, 8); /* the small one and nothing before it */
    free(large.payload);
    free(small.payload);
    end_close(&a);
    end_close(&b);
}

static void bursts_of_mixed_sizes_stay_in_order(void **state) {
    const struct medium *medium = *state;
    enum { BURST = 64, ROUNDS = 100 };
    struct end a, b;
    struct parcel parcels[BURST];
    struct ins_tx tx[BURST];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint64_t sequence = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t count = 1 + round * 7 % BURST;
        for (uint32_t i = 0; i < count; i++) {
            /* Runs of equal sizes, a shorter one now and then, and some that fit no frame. */
            uint32_t size = round % 5 == 4 ? i % 3 * 900 : i % 11 == 10 ? 40 : round % 2 ? 100 : 700;
            pack(&parcels[i], size < medium->largest ? size : medium->largest, sequence + i);
            tx[i] = tx_of(&parcels[i], &b);
        }
        send_all(&a, tx, count);
        receive(&b, &a, sequence, count, round % 3 ? 32 : 1);
        sequence += count;
        for (uint32_t i = 0; i < count; i++)
            free(parcels[i].payload);
    }
    end_close(&a);
    end_close(&b);
}

static void bursts_about_the_copy_threshold_keep_every_byte(void **state) {
    const struct medium *medium = *state;
    enum { BURST = 32 };
    struct end a, b;
    struct parcel parcels[BURST];
    struct ins_tx tx[BURST];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint64_t sequence = 0;
    for (uint32_t size = 510; size <= 515; size++) {
        for (uint32_t i = 0; i < BURST; i++) {
            pack(&parcels[i], size + i % 2, sequence + i); /* trains of no more than one or two */
            tx[i] = tx_of(&parcels[i], &b);
        }
        send_all(&a, tx, BURST);
        receive(&b, &a, sequence, BURST, 32);
        sequence += BURST;
        for (uint32_t i = 0; i < BURST; i++)
            free(parcels[i].payload);
    }
    end_close(&a);
    end_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_sizes_there_are_get_through_whole),
        cmocka_unit_test(sizes_about_its_own_mtu_get_through_or_are_refused),
        cmocka_unit_test(what_is_too_large_is_refused_and_not_cut),
        cmocka_unit_test(bursts_of_mixed_sizes_stay_in_order),
        cmocka_unit_test(bursts_about_the_copy_threshold_keep_every_byte),
    };
    return conformance_run("sizes", tests, sizeof tests / sizeof *tests);
}
