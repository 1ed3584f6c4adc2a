/* The event ring, see event.h. */
#include "event.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int ins_event_ring_init(struct ins_event_ring *ring) {
    memset(ring, 0, sizeof *ring);
    ring->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return ring->fd < 0 ? -errno : 0;
}

void ins_event_ring_free(struct ins_event_ring *ring) {
    if (ring->fd >= 0)
        close(ring->fd);
    ring->fd = -1;
}

uint32_t ins_event_room(const struct ins_event_ring *ring, uint32_t reserved) {
    /* Pairs with the release store of the head in ins_event_pop. */
    uint32_t used = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED) - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    return used + reserved >= INS_EVENTS ? 0 : INS_EVENTS - reserved - used;
}

static void signal_control(struct ins_event_ring *ring) {
    if (__atomic_exchange_n(&ring->signalled, 1, __ATOMIC_SEQ_CST))
        return;
    uint64_t one = 1;
    /* An eventfd takes 2^64 - 2 signals before it would refuse one: cannot fail here. */
    if (write(ring->fd, &one, sizeof one) < 0)
        return;
}

int ins_event_push(struct ins_event_ring *ring, const struct ins_event *event, uint32_t reserved) {
    if (ins_event_room(ring, reserved) == 0)
        return 0;
    uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    ring->ring[tail % INS_EVENTS] = *event;
    /* Pairs with the loads of the tail in ins_event_pop. Sequentially consistent together with `signalled`: either we
       see that control has drained its descriptor, or control sees our event. */
    __atomic_store_n(&ring->tail, tail + 1, __ATOMIC_SEQ_CST);
    signal_control(ring);
    return 1;
}

int ins_event_pop(struct ins_event_ring *ring, struct ins_event *out) {
    uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    if (__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) == head) {
        if (!__atomic_load_n(&ring->signalled, __ATOMIC_RELAXED))
            return 0;
        uint64_t count;
        if (read(ring->fd, &count, sizeof count) < 0 && errno != EAGAIN)
            return 0;
        __atomic_store_n(&ring->signalled, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&ring->tail, __ATOMIC_SEQ_CST) == head)
            return 0;
        signal_control(ring); /* came in between: stay readable until the next time we find nothing */
    }
    *out = ring->ring[head % INS_EVENTS];
    /* Pairs with the acquire load of the head in ins_event_room. */
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
    return 1;
}
