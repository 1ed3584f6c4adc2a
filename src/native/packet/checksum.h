/* The Internet checksum (RFC 1071) as sums of 16-bit words in the order in which they lie in memory: such a sum,
   folded, is stored as it is, on either byte order. Pure. */
#ifndef INSANE_CHECKSUM_H
#define INSANE_CHECKSUM_H

#include <stdint.h>
#include <string.h>

/* Adds `length` bytes (less than 2^33) to a sum that is not folded yet. An odd last byte counts as if a zero followed. */
static inline uint64_t ins_sum(const void *data, uint32_t length, uint64_t sum) {
    const uint8_t *at = data;
    for (; length >= 4; at += 4, length -= 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        sum += word;
    }
    uint16_t half = 0;
    if (length >= 2) {
        memcpy(&half, at, sizeof half);
        sum += half;
        at += 2;
    }
    if (length & 1) {
        half = 0;
        memcpy(&half, at, 1);
        sum += half;
    }
    return sum;
}

static inline uint16_t ins_sum_fold(uint64_t sum) {
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    uint32_t small = (uint32_t)(sum & 0xffffu) + (uint32_t)(sum >> 16);
    small = (small & 0xffffu) + (small >> 16);
    return (uint16_t)small;
}

#endif
