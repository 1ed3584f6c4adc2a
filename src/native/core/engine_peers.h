/* Commands about peers and routes, for the engine's side of the command queue (engine_execute.c). 0 or -errno. */
#ifndef INSANE_ENGINE_PEERS_H
#define INSANE_ENGINE_PEERS_H

#include "engine_state.h"

int ins_peer_set(struct ins_engine *e, const struct ins_command *c);
int ins_peer_remove(struct ins_engine *e, uint32_t id);
int ins_peer_mute(struct ins_engine *e, const struct ins_command *c);
/* Adds or removes, up to the first that is refused; *done: those before it. */
int ins_peer_change_routes(struct ins_engine *e, const struct ins_command *c, uint64_t *done);
/* A route of a host's to another of its endpoints (farewell.h). *follows: an event will say when that is done. */
int ins_peer_move_route(struct ins_engine *e, const struct ins_command *c, uint64_t *follows);
/* A peer is not reached over a datapath (by index) any more. */
void ins_peer_forget_endpoint(struct ins_engine *e, struct ins_peer *peer, uint32_t port);
/* By id, or NULL. */
struct ins_port *ins_port_find(struct ins_engine *e, uint32_t id);

#endif
