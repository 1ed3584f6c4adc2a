/* ZeroMQ over TCP in C: round trips over a pair of sockets, one way by push and pull. It blocks: its own I/O thread shares
   the side's core, and a loop that spins would keep it from running. */
#define _GNU_SOURCE
#include "window.h"

#include <zmq.h>

/* Nothing for this long: the message is lost, or the sender is gone. */
#define PATIENCE_MS 200

static uint8_t buffer[65536];

static void *opened(void *context, int type, const char *address, int port, bool bind) {
    void *socket = zmq_socket(context, type);
    char endpoint[64];
    int patience = PATIENCE_MS, linger = 0, bytes = SOCKET_BUFFER_BYTES;
    snprintf(endpoint, sizeof endpoint, "tcp://%s:%d", address, port);
    if (!socket || zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience) ||
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) ||
        zmq_setsockopt(socket, ZMQ_SNDBUF, &bytes, sizeof bytes) ||
        zmq_setsockopt(socket, ZMQ_RCVBUF, &bytes, sizeof bytes) ||
        (bind ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint)))
        die(endpoint);
    return socket;
}

static void echo(void *socket) {
    say_ready();
    for (;;) {
        int n = zmq_recv(socket, buffer, sizeof buffer, 0);
        if (n > 0 && zmq_send(socket, buffer, (size_t)n, 0) < 0) die("zmq_send");
    }
}

static void ping(void *socket, size_t payload, double warmup, double seconds) {
    static struct histogram times;
    uint64_t sequence = 0, lost = 0;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    for (uint64_t sent = now_ns(); sent < end;) {
        uint64_t answer = 0;
        sequence++;
        memcpy(buffer, &sequence, sizeof sequence);
        if (zmq_send(socket, buffer, payload, 0) < 0) die("zmq_send");
        while (answer != sequence && zmq_recv(socket, buffer, sizeof buffer, 0) > 0)
            memcpy(&answer, buffer, sizeof answer);
        uint64_t done = now_ns();
        if (sent >= start) {
            if (answer == sequence) histogram_add(&times, done - sent);
            else lost++;
        }
        sent = done;
    }
    print_round_trips(&times, lost);
}

static void send_all(void *socket, size_t payload) {
    for (uint64_t sequence = 0;; sequence++) {
        memcpy(buffer, &sequence, sizeof sequence);
        if (zmq_send(socket, buffer, payload, 0) < 0) die("zmq_send");
    }
}

static int receive(void *socket, size_t payload, double warmup, double seconds) {
    struct window window = {.warmup = warmup, .seconds = seconds};
    say_ready();
    for (;;) {
        uint64_t sequence;
        zmq_msg_t message;
        zmq_msg_init(&message);
        int n = zmq_msg_recv(&message, socket, 0);
        if (n >= (int)sizeof sequence) {
            memcpy(&sequence, zmq_msg_data(&message), sizeof sequence);
            if (!window_take(&window, sequence)) break;
        } else if (window.start) break;
        zmq_msg_close(&message);
    }
    return window_print(&window, payload);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: raw_zeromq ping|echo|send|receive LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    int port = (int)number_argument(argv[4], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[5], 8, sizeof buffer, "PAYLOAD");
    double warmup = number_argument(argv[6], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[7], 0, 3600, "SECONDS");
    void *context = zmq_ctx_new();
    memset(buffer, 1, sizeof buffer);
    if (!strcmp(argv[1], "echo")) echo(opened(context, ZMQ_PAIR, argv[2], port, true));
    if (!strcmp(argv[1], "receive")) return receive(opened(context, ZMQ_PULL, argv[2], port, true), payload, warmup, seconds);
    if (!strcmp(argv[1], "send")) send_all(opened(context, ZMQ_PUSH, argv[3], port, false), payload);
    ping(opened(context, ZMQ_PAIR, argv[3], port, false), payload, warmup, seconds);
    return 0;
}
