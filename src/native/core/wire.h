/* Wire v1 (docs/wire.md): the one parser of what arrives, the one writer of what leaves, and the rewriting of a header
   into the metadata that a sink reads. Pure; reads never pass the bounds it is given. */
#ifndef INSANE_WIRE_H
#define INSANE_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

/* A header in host byte order. */
struct ins_wire {
    uint32_t type; /* INS_WIRE_TYPE_* */
    uint32_t flags;
    uint32_t tag;
    uint32_t channel;
    uint32_t source;
    uint32_t flow;
    uint64_t sequence;
    uint64_t emit_time;
    uint32_t length; /* bytes of the message, or of the body where there is none */
    uint32_t body;   /* of a fragment: bytes that follow the header; filled in by parsing */
    uint32_t size;   /* of a fragment: payload bytes of every one but the last */
    uint32_t index;  /* of a fragment */
    uint32_t items;  /* of coalesced data */
};

/* Why a datagram is refused; each has a counter of its own. */
enum ins_wire_fault {
    INS_WIRE_OK = 0,
    INS_WIRE_BAD_SHORT,   /* shorter than a header */
    INS_WIRE_BAD_MAGIC,
    INS_WIRE_BAD_VERSION,
    INS_WIRE_BAD_TYPE,    /* unknown, reserved, or none that belongs on a data endpoint */
    INS_WIRE_BAD_FLAGS,   /* a flag of INS_WIRE_FLAG_MUST that we do not know */
    INS_WIRE_BAD_LENGTH,  /* the body is not all there, or no multiple of its records, or fragment fields are set */
    INS_WIRE_FAULTS
};

/* Parses one message at the beginning of `available` bytes; more may follow (a coalesced train). */
enum ins_wire_fault ins_wire_parse(const uint8_t *data, uint32_t available, struct ins_wire *out);
/* The same for nearly all there is, data without flags and in order: 1, or 0 when ins_wire_parse has to look at it. */
int ins_wire_parse_plain(const uint8_t *data, uint32_t available, struct ins_wire *out);
/* Writes INS_WIRE_HEADER bytes. */
void ins_wire_write(uint8_t *header, const struct ins_wire *wire);
/* The same where all before the sequence has been written once, to `head`. */
static inline void ins_wire_write_next(uint8_t *header, const uint8_t *head, uint64_t sequence, uint64_t emit_time,
                                       uint32_t length) {
    const uint64_t words[3] = {htobe64(sequence), htobe64(emit_time), htobe64((uint64_t)length << 32)};
    memcpy(header, head, INS_WIRE_SEQUENCE);
    memcpy(header + INS_WIRE_SEQUENCE, words, sizeof words);
}
/* Turns a header that was parsed into metadata (layout.h, INS_META_*) where it lies; may be unaligned. */
void ins_wire_to_meta(uint8_t *header, const struct ins_wire *wire, uint64_t receive_time);

/* ---- items of coalesced data (layout.h, INS_ITEM_*) ---- */
/* Bytes of an item with its header. */
static inline uint32_t ins_item_bytes(uint32_t payload) {
    return INS_ITEM_HEADER + ((payload + INS_ITEM_ALIGN - 1) & ~(INS_ITEM_ALIGN - 1));
}
/* Writes header and payload; returns the item's bytes, which must be there. Small payloads are copied here: a call of
   memcpy costs as much as they do. */
static inline uint32_t ins_item_write(uint8_t *item, const uint8_t *payload, uint32_t length, uint32_t delta) {
    enum { PIECE = 32, INLINE_MOST = 256 };
    const uint32_t bytes = ins_item_bytes(length);
    /* Zeros behind the payload; the payload goes over the rest of them. */
    memset(item + bytes - INS_ITEM_ALIGN, 0, INS_ITEM_ALIGN);
    const uint64_t header = htobe64((uint64_t)length << 48 | delta);
    memcpy(item, &header, sizeof header);
    item += INS_ITEM_HEADER;
    if (length <= INLINE_MOST)
        for (; length >= PIECE; length -= PIECE, item += PIECE, payload += PIECE)
            memcpy(item, payload, PIECE);
    if (length)
        memcpy(item, payload, length);
    return bytes;
}
_Static_assert(INS_ITEM_HEADER == 8 && INS_ITEM_LENGTH == 0 && INS_ITEM_DELTA == 4, "written as one word");
/* Length of an item's payload; the body has been parsed. */
static inline uint32_t ins_item_length(const uint8_t *item) {
    return (uint32_t)item[INS_ITEM_LENGTH] << 8 | item[INS_ITEM_LENGTH + 1];
}
/* Turns the header of the item that lies `at` bytes into its body into what its metadata are found by. Once only. */
void ins_item_to_meta(uint8_t *body, uint32_t at);
/* Metadata of an item's message as of one that came alone: INS_META_BYTES. `body` begins with the first item, before
   which the datagram's metadata lie; the item is the `index`-th, `at` bytes into it, turned already. */
void ins_item_meta(const uint8_t *body, uint32_t at, uint32_t index, uint32_t length, uint8_t *meta);

/* A header that has not been sent belongs to so many messages earlier in its flow. */
void ins_wire_move_up(uint8_t *header, uint32_t count);

struct ins_heartbeat {
    uint32_t flow;
    uint32_t tag;
    uint32_t channel;
    uint32_t source;
    uint64_t next; /* sequence of the next message, that is, messages sent so far */
};
void ins_heartbeat_write(uint8_t *record, const struct ins_heartbeat *heartbeat);
void ins_heartbeat_read(const uint8_t *record, struct ins_heartbeat *out);

/* The body of a status, before its bitmap. */
struct ins_receipt {
    uint64_t consumed;
    uint64_t window;
    uint32_t first;
    uint32_t bytes; /* of the bitmap */
};
/* Writes INS_RECEIPT_BITMAP bytes. */
void ins_receipt_write(uint8_t *body, const struct ins_receipt *status);
/* 1, or 0 when `length` bytes are no good one. */
int ins_receipt_read(const uint8_t *body, uint32_t length, struct ins_receipt *out);

#endif
