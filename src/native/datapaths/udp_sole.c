/* The socket of the udp datapath while there is one peer only: connected to it once its messages come one by one. The
   kernel then keeps the route with the socket and hands no addresses over, which takes a sixteenth off a round trip. What
   others send to a connected socket the kernel refuses as for a closed port. The queue and the port stay as they are. */
#include <arpa/inet.h>
#include <string.h>

#include "udp_state.h"

static int associate(struct udp *udp, sa_family_t family) {
    struct sockaddr_in name = {
        .sin_family = family, .sin_port = htons(udp->sole.port), .sin_addr.s_addr = udp->sole.address};
    udp->lone = 0;
    return connect(udp->fd, (const struct sockaddr *)&name, sizeof name) == 0;
}

void ins_udp_connect(struct udp *udp) {
    udp->connected = (uint32_t)associate(udp, AF_INET);
    if (udp->connected)
        ins_udp_count(udp, UDP_CONNECTS, 1);
}

void ins_udp_sole_peer(struct ins_datapath *dp, const struct ins_endpoint *peer) {
    struct udp *udp = (struct udp *)dp;
    if (peer && udp_is_sole(udp, peer))
        return;
    if (udp->connected)
        associate(udp, AF_UNSPEC);
    udp->connected = 0;
    udp->lone = 0;
    udp->sole = peer ? *peer : (struct ins_endpoint){0};
}
