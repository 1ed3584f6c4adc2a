/* What an engine counts: everything that can be lost or refused has a name here. Names are part of the contract. One
   writer at a time (whoever is inside the engine), any reader. */
#ifndef INSANE_ENGINE_COUNTERS_H
#define INSANE_ENGINE_COUNTERS_H

#include <stdint.h>

/* Order is that of the counter segment: append only. */
#define INS_ENGINE_COUNTERS(X)                                                                                         \
    X(rx_datagrams)      /* datagrams parsed from the network, good or bad (a train counts each) */                    \
    X(rx_messages)       /* (message, link) pairs delivered */                                                         \
    X(rx_bytes)          /* payload bytes of data messages accepted */                                                 \
    X(rx_bad_short)      /* refused by the parser, by kind (wire.h) */                                                 \
    X(rx_bad_magic)                                                                                                    \
    X(rx_bad_version)                                                                                                  \
    X(rx_bad_type)                                                                                                     \
    X(rx_bad_flags)                                                                                                    \
    X(rx_bad_length)                                                                                                   \
    X(rx_bad_flow)       /* a flow that changed its tag, channel or source, or leapt absurdly far */                   \
    X(rx_unknown_peer)   /* from an endpoint that is no peer's */                                                      \
    X(rx_no_subscriber)  /* nobody here has a sink for it */                                                           \
    X(rx_no_slot)        /* turns in which the receive pool was empty: datagrams wait in the kernel */                 \
    X(rx_no_credit)      /* (message, link) pairs dropped because the link had no credit, or no share (below) */          \
    X(rx_late)           /* behind their flow's sequence: late or duplicate, dropped */                                \
    X(rx_lost)           /* missing in a flow's sequence */                                                            \
    X(rx_undelivered)    /* (message, link) pairs that came back with another status than done */                      \
    X(rx_abandoned)      /* (message, link) pairs still out when their link was removed */                             \
    X(tx_datagrams)                                                                                                    \
    X(tx_messages)       /* messages handed to the network, to one peer at least */                                    \
    X(tx_bytes)                                                                                                        \
    X(tx_no_peer)                                                                                                      \
    X(tx_too_large)                                                                                                    \
    X(tx_refused)        /* datagrams the datapath refused for good */                                                 \
    X(tx_no_datapath)    /* messages of links whose datapath is gone or down */                                        \
    X(tx_no_flow)        /* no room for another flow */                                                                \
    X(tx_closed)         /* messages of removed sources and links */                                                   \
    X(tx_again)          /* bursts that the datapath did not take whole: back-pressure */                              \
    X(bad_descriptor)                                                                                                  \
    X(link_faults)       /* links closed because their application broke the contract */                               \
    X(heartbeats)        /* heartbeat datagrams sent */                                                                \
    X(heartbeats_in)                                                                                                   \
    X(trackers_evicted)  /* flows of a peer forgotten because it had too many */                                       \
    X(bells_rung)                                                                                                      \
    X(turns)             /* turns in which something moved */                                                          \
    X(sleeps)                                                                                                          \
    X(takeovers)         /* the standby thread stepped in for an absent inline owner */                                \
    X(slots_total)       /* gauge: slots of the receive pool */                                                        \
    X(slots_out)         /* gauge: of which hold messages not given back */                                            \
    X(links)             /* gauge */                                                                                   \
    X(peers)             /* gauge */                                                                                   \
    X(flows)             /* gauge */                                                                                   \
    X(trackers)          /* gauge */                                                                                   \
    X(rx_no_share)       /* of rx_no_credit: the pool was used up and the link held more than its share of it */       \
    X(tx_held)           /* datagrams that found their gate closed, or no room for them in its window, and waited */   \
    X(tx_late)           /* time-sensitive datagrams handed over when their window was over, or maybe */               \
    X(tx_unfit)          /* datagrams that no window of their class could ever hold: refused */                        \
    X(rx_copied_domain)  /* messages copied for a foreign trust domain, once for all its links */                      \
    X(rx_domain_full)    /* of rx_no_credit: the domain's pool had no slot for a copy */                       \
    X(markers_out)       /* markers and echoes of markers sent */                                                      \
    X(markers_in)                                                                                                      \
    X(markers_echoed)    /* echoes of ours that came */                                                                \
    X(markers_unheard)   /* flows whose receiver could not be told of their end */                                     \
    X(tx_late_best_effort) /* as tx_late, but of class 0 */                                                            \
    X(rx_reordered)      /* of rx_late: counted as lost before; the others came twice, as far as is remembered */    \
    X(realtime)          /* gauge: 1 when the thread runs under SCHED_FIFO */                                         \
    X(tx_fragments)      /* fragments handed to the network, again ones included */                                    \
    X(tx_fragments_again)                                                                                              \
    X(tx_unconfirmed)    /* large messages given up: their receiver did not confirm them in time */                    \
    X(rx_fragments)      /* fragments taken into their place */                                                        \
    X(rx_fragment_copied) /* of which were moved there from a receive slot */                                          \
    X(rx_fragment_moved) /* bytes that came where they were not expected, and were moved before they were looked at */  \
    X(rx_fragment_twice) /* which were there already */                                                                \
    X(rx_fragment_late)  /* of messages that are complete or given up */                                               \
    X(rx_fragment_lies)  /* that disagree with those before them of the same message */                                \
    X(rx_fragment_no_room) /* that found no slot to be put together in, for now */                                     \
    X(rx_fragment_unfit) /* messages larger than any sink here takes: lost */                                          \
    X(rx_incomplete)     /* messages given up before they were complete */                                             \
    X(rx_large)          /* large messages put together */                                                             \
    X(status_out)                                                                                                      \
    X(status_in)                                                                                                       \
    X(busy_ns)           /* time that an engine's thread has worked for this engine (engine_duty.h) */                 \
    X(tx_coalesced)      /* of tx_messages: those that shared their datagrams with others */                           \
    X(tx_batches_2)      /* datagrams that were sent with 2 or 3 messages (to several peers: counted once), */         \
    X(tx_batches_4)      /* with 4 to 7, and so on; all other datagrams carried one */                                 \
    X(tx_batches_8)                                                                                                    \
    X(tx_batches_16)                                                                                                   \
    X(tx_batches_32)                                                                                                   \
    X(tx_batches_64)                                                                                                   \
    X(tx_batches_128)    /* 128 and more */                                                                            \
    X(rx_coalesced)      /* messages that came in shared datagrams */                                                  \
    X(rx_batches_2)      /* datagrams that came with 2 or 3 messages, and so on */                                     \
    X(rx_batches_4)                                                                                                    \
    X(rx_batches_8)                                                                                                    \
    X(rx_batches_16)                                                                                                   \
    X(rx_batches_32)                                                                                                   \
    X(rx_batches_64)                                                                                                   \
    X(rx_batches_128)                                                                                                  \
    X(rx_copied_small)   /* messages copied out of a shared slot for a sink that sleeps or pins its quota of slots */ \
    X(tx_fragment_asks)  /* announcements of large messages, and questions what has come of them */                    \
    X(rx_fragment_asks)

#define INS_ENGINE_COUNTER_ENUM(name) INS_COUNT_##name,
enum ins_engine_counter { INS_ENGINE_COUNTERS(INS_ENGINE_COUNTER_ENUM) INS_ENGINE_COUNTER_COUNT };
#undef INS_ENGINE_COUNTER_ENUM

#endif
