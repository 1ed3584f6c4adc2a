/* Round trips over libfabric's reliable datagrams as fast as a C program gets them: buffers posted once and again, what is
   small enough is injected, both sides spin on their completion queues, which have nothing to sleep on. One message in
   flight. Prints "ready" (echo) or the result (ping). */
#define _GNU_SOURCE
#include "measure.h"

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <signal.h>
#include <sys/mman.h>

enum { POSTED = 64, SLOT = 16384, MAX_PAYLOAD = SLOT, CONTEXTS = POSTED + 1 };
#define LOST_AFTER_NS UINT64_C(1000000000)
#define SPINS_PER_LOOK 4096u

struct side {
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_ep *ep;
    struct fid_cq *tx, *rx;
    struct fid_av *av;
    struct fid_mr *mr;
    void *descriptor;
    fi_addr_t peer;
    uint8_t *memory; /* POSTED slots to receive into, one to send from */
    struct fi_context2 contexts[CONTEXTS];
    uint32_t sending; /* completions still to come */
};

static void check(long result, const char *what) {
    if (result >= 0) return;
    fprintf(stderr, "%s: %s\n", what, fi_strerror((int)-result));
    exit(1);
}

static void open_side(struct side *s, const char *provider, const char *local, const char *peer, const char *port) {
    struct fi_info *hints = fi_allocinfo();
    hints->caps = FI_MSG;
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->addr_format = FI_SOCKADDR_IN;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    hints->tx_attr->msg_order = FI_ORDER_SAS;
    hints->rx_attr->msg_order = FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(provider);
    check(fi_getinfo(FI_VERSION(1, 15), local, port, FI_SOURCE, hints, &s->info), "fi_getinfo");
    struct fi_cq_attr queue = {.size = 2 * CONTEXTS, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_NONE};
    struct fi_av_attr addresses = {.type = FI_AV_TABLE};
    check(fi_fabric(s->info->fabric_attr, &s->fabric, NULL), "fi_fabric");
    check(fi_domain(s->fabric, s->info, &s->domain, NULL), "fi_domain");
    check(fi_cq_open(s->domain, &queue, &s->tx, NULL), "fi_cq_open");
    check(fi_cq_open(s->domain, &queue, &s->rx, NULL), "fi_cq_open");
    check(fi_av_open(s->domain, &addresses, &s->av, NULL), "fi_av_open");
    check(fi_endpoint(s->domain, s->info, &s->ep, NULL), "fi_endpoint");
    check(fi_ep_bind(s->ep, &s->av->fid, 0), "fi_ep_bind");
    check(fi_ep_bind(s->ep, &s->tx->fid, FI_TRANSMIT), "fi_ep_bind");
    check(fi_ep_bind(s->ep, &s->rx->fid, FI_RECV), "fi_ep_bind");
    check(fi_enable(s->ep), "fi_enable");
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, peer, &there.sin_addr) != 1) die(peer);
    if (fi_av_insert(s->av, &there, 1, &s->peer, 0, NULL) != 1) die("fi_av_insert");
    size_t bytes = (size_t)CONTEXTS * SLOT;
    s->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (s->memory == MAP_FAILED) die("mmap");
    check(fi_mr_reg(s->domain, s->memory, bytes, FI_SEND | FI_RECV, 0, 1, 0, &s->mr, NULL), "fi_mr_reg");
    s->descriptor = fi_mr_desc(s->mr);
}

static void post(struct side *s, size_t index) {
    check(fi_recv(s->ep, s->memory + index * SLOT, SLOT, s->descriptor, FI_ADDR_UNSPEC, &s->contexts[index]), "fi_recv");
}

static void drain_sent(struct side *s) {
    struct fi_cq_msg_entry done[8];
    long count = fi_cq_read(s->tx, done, 8);
    if (count > 0) s->sending -= (uint32_t)count;
    else if (count != -FI_EAGAIN) check(count, "a send");
}

/* Buffers of received messages are sent from as well: they are posted again only when that is over. */
static void transmit(struct side *s, const uint8_t *data, size_t bytes) {
    int inject = bytes <= s->info->tx_attr->inject_size;
    for (;;) {
        long result = inject ? fi_inject(s->ep, data, bytes, s->peer)
                             : fi_send(s->ep, data, bytes, s->descriptor, s->peer, &s->contexts[POSTED]);
        if (result == 0) break;
        if (result != -FI_EAGAIN) check(result, "fi_send");
        drain_sent(s);
    }
    if (!inject) s->sending++;
}

/* Index of the buffer with the next message, or -1 when none came for a while. */
static int receive(struct side *s) {
    struct fi_cq_msg_entry entry;
    uint64_t deadline = 0;
    for (uint32_t spins = 1;; spins++) {
        long count = fi_cq_read(s->rx, &entry, 1);
        if (count == 1) return (int)((struct fi_context2 *)entry.op_context - s->contexts);
        if (count != -FI_EAGAIN) check(count, "a receive");
        if (spins % SPINS_PER_LOOK) continue;
        uint64_t now = now_ns();
        if (!deadline) deadline = now + LOST_AFTER_NS;
        if (now > deadline) return -1;
    }
}

static void echo(struct side *s, size_t payload) {
    say_ready();
    for (;;) {
        int index = receive(s);
        if (index < 0) continue;
        transmit(s, s->memory + (size_t)index * SLOT, payload);
        while (s->sending) drain_sent(s);
        post(s, (size_t)index);
    }
}

static void ping(struct side *s, size_t payload, double warmup, double seconds) {
    static struct histogram times;
    uint64_t lost = 0, sequence = 0;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    uint8_t *own = s->memory + (size_t)POSTED * SLOT;
    for (uint64_t sent = now_ns(); sent < end;) {
        sequence++;
        memcpy(own, &sequence, sizeof sequence);
        transmit(s, own, payload);
        uint64_t answer = 0, now;
        do {
            int index = receive(s);
            if (index < 0) break;
            memcpy(&answer, s->memory + (size_t)index * SLOT, sizeof answer);
            post(s, (size_t)index);
        } while (answer != sequence);
        while (s->sending) drain_sent(s);
        now = now_ns();
        if (sent >= start) {
            if (answer == sequence) histogram_add(&times, now - sent);
            else lost++;
        }
        sent = now;
    }
    print_round_trips(&times, lost);
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: raw_libfabric_rtt ping|echo PROVIDER LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    static struct side s;
    /* Libraries that libfabric brings have taken these, to print a stack. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    size_t payload = (size_t)number_argument(argv[6], 8, MAX_PAYLOAD, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    number_argument(argv[5], 1, 65535, "PORT");
    open_side(&s, argv[2], argv[3], argv[4], argv[5]);
    for (size_t i = 0; i < POSTED; i++) post(&s, i);
    if (!strcmp(argv[1], "echo")) echo(&s, payload);
    ping(&s, payload, warmup, seconds);
    return 0;
}
