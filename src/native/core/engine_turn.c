/* One turn: commands, egress (first, because who polls inline has just pushed), returns, receive, publish, timers. */
#include "engine_turn.h"

#include <time.h>

#include "egress.h"
#include "engine_links.h"
#include "farewell.h"
#include "flow.h"
#include "fragments.h"
#include "ingress.h"
#include "liveness.h"
#include "meeting.h"
#include "scheduler_port.h"
#include "tracker.h"

/* News of losses and drops is collected for so long, so that a storm is one event and not a million. */
enum { TELL_MS = 10, CLOCK_TURNS = 16 };

void ins_engine_clock(struct ins_engine *e) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    e->now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int tell_faults(struct ins_engine *e) {
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port *port = &e->ports[i];
        struct ins_event event = {.type = INS_EVENT_DATAPATH_DOWN, .a = port->id, .status = port->error};
        if (port->untold && !ins_event_push(&e->events, &event, INS_EVENTS_RESERVED))
            return 0;
        port->untold = 0;
    }
    for (uint32_t i = 0; i < e->link_count; i++) {
        struct ins_link *link = e->links[i];
        struct ins_event event = {.type = INS_EVENT_LINK_FAULT, .a = link->id};
        if (link->untold && !ins_event_push(&e->events, &event, INS_EVENTS_RESERVED))
            return 0;
        link->untold = 0;
    }
    struct ins_event stalled = {.type = INS_EVENT_STALLED_OWNER, .value = e->stalls};
    if (e->stalls && !ins_event_push(&e->events, &stalled, INS_EVENTS_RESERVED))
        return 0;
    e->stalls = 0;
    return 1;
}

static int tell_drops(struct ins_engine *e) {
    while (e->dirty_topics) {
        struct ins_topic *topic = e->dirty_topics;
        for (uint32_t i = 0; i < topic->subscription_count; i++) {
            struct ins_subscription *subscription = &topic->subscriptions[i];
            struct ins_event event = {
                .type = INS_EVENT_DROPPED,
                .a = subscription->link->id,
                .b = topic->channel,
                .c = INS_STATUS_NO_CREDIT,
                .value = subscription->dropped,
            };
            if (!subscription->dropped)
                continue;
            if (!ins_event_push(&e->events, &event, INS_EVENTS_RESERVED))
                return 0;
            subscription->dropped = 0;
        }
        e->dirty_topics = topic->next_dirty;
        topic->dirty = 0;
        ins_topic_drop(&e->topics, topic);
    }
    return 1;
}

static void timers(struct ins_engine *e) {
    ins_engine_clock(e);
    e->due_ms = UINT64_MAX;
    if (e->schedules && !ins_schedules_may_beat(e))
        ins_due(e, e->now_ms); /* asked again with every turn: in milliseconds a cycle cannot be hit */
    else {
        ins_flows_beat(e);
        ins_farewells_beat(e);
        ins_fragments_beat(e);
        ins_liveness_beat(e);
    }
    if (e->meeting_count)
        ins_meetings_beat(e);
    if (!e->untold)
        return;
    /* Faults at once, the rest at most every TELL_MS. What finds no room stays and is tried again. */
    int all = tell_faults(e);
    if (e->now_ms - e->told_ms >= TELL_MS) {
        all &= ins_trackers_tell(e) & tell_drops(e);
        e->told_ms = e->now_ms;
    } else
        all = 0;
    e->untold = !all;
    if (!all)
        ins_due(e, e->told_ms + TELL_MS);
}

uint32_t ins_engine_turn(struct ins_engine *e, uint32_t receive_budget) {
    uint32_t moved = 0;
    if (++e->turn % CLOCK_TURNS == 0)
        ins_engine_clock(e);
    if (ins_command_waits(&e->commands))
        moved += ins_engine_execute(e);
    moved += ins_egress_turn(e);
    if (ins_farewells_pending(e))
        ins_farewells_turn(e);
    moved += ins_ingress_reclaim(e);
    if (e->schedules)
        receive_budget = ins_schedules_receive_budget(e, receive_budget);
    if (receive_budget)
        moved += ins_ingress_turn(e, receive_budget);
    ins_links_publish(e);
    if (ins_farewells_pending(e))
        ins_farewells_echo(e);
    if (e->now_ms >= e->due_ms)
        timers(e);
    if (moved)
        ins_count(e, INS_COUNT_turns, 1);
    return moved;
}

uint32_t ins_engine_glances(struct ins_engine *e, uint32_t receive_budget, uint32_t looks) {
    enum { CHEAP_LOOKS = 16 };
    uint32_t moved = 0, cheap = 1;
    if (receive_budget == 0 || e->schedules)
        return 0;
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && !(e->ports[i].datapath->ops->flags & INS_DATAPATH_CHEAP_RX))
            cheap = 0;
    for (looks *= cheap ? CHEAP_LOOKS : 1; looks > 0 && moved == 0 && !ins_command_waits(&e->commands); looks--)
        moved = ins_ingress_turn(e, receive_budget);
    if (moved) {
        ins_links_publish(e);
        ins_count(e, INS_COUNT_turns, 1);
    }
    return moved;
}
