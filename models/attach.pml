/* Attaching and letting go: who is given which memory when, and who lets go first (src/actors/stream.ts, link.ts,
   session-end.ts, engine-end.ts, src/client/ends.ts, and the order of sealing in src/native/core/segment.c). One
   producer session with a pool, one link, one consumer: a session that maps whatever it is given as writable as it can,
   or with ENGINE an engine in the runtime's own mappings. Anyone may die, fall silent or be told to close at any step.
   Run by test/deep/model-check.test.ts; every other -D gets one thing wrong and must be found out.

   Time is abstracted to "a deadline may pass whenever an answer is waited for". The link carries one message. */

/* Requests of the runtime; every one is answered, by its name. MAPPED and POOL are the producer's own. */
mtype = { POOL, MAPPED, OPEN, QUIET, DRAIN, ABANDON };

chan to_producer = [6] of { mtype };
chan to_consumer = [6] of { mtype };
chan from_producer = [8] of { mtype };
chan from_consumer = [8] of { mtype };

/* The pool's memfd: may nobody map it writable any more; may no seal be added any more. */
bit shut, sealed;

/* What processes hold. The kernel takes it from the dead; the memory goes with the last. */
bit producer_writes, consumer_reads, consumer_writes;
bit producer_rings, consumer_rings;
/* The runtime: descriptor of the pool, link memory (rings, bell; for an engine a mapping of the pool as well). */
byte pool_made, pool_closed, link_made, link_released, quarantined;

bit producer_dead, consumer_dead;
bit consumer_knows; /* has mapped the link and answered */
bit given_up;       /* the runtime waits no longer for the consumer */

/* The message, and where it is. */
mtype = { HOME, IN_RING, HELD, RETURNED };
mtype message = HOME;
byte pushed, came_home;

inline map_writable(into) { into = !shut }

inline comes_home() {
    message = HOME;
    came_home++;
    assert(came_home == pushed)
}

active proctype producer() {
    bit pushes, closed;
    mtype asked;
    from_producer!POOL;
end:
    do
    :: to_producer?POOL ->
       map_writable(producer_writes);
       /* Never locked out of its own memory. */
       assert(producer_writes);
       from_producer!MAPPED
    :: to_producer?OPEN -> atomic { producer_rings = 1; pushes = 1; from_producer!OPEN }
    :: atomic { pushes && message == HOME && pushed < 2 ->
           /* Nothing is pushed that nobody expects. */
           assert(consumer_knows);
           pushed++;
           message = IN_RING
       }
    :: atomic { producer_rings && message == RETURNED -> comes_home() }
    :: to_producer?QUIET -> atomic { pushes = 0; from_producer!QUIET }
    :: to_producer?DRAIN -> pushes = 0; asked = DRAIN
    :: atomic { asked == DRAIN && message == HOME -> asked = 0; closed = 1; producer_rings = 0; from_producer!DRAIN }
    :: to_producer?ABANDON ->
       atomic {
           pushes = 0;
           if
           :: message != HOME && !closed ->
              /* The slot may be written again from now on. */
              assert(message != HELD || consumer_dead || given_up);
              comes_home()
           :: else
           fi;
           assert(came_home == pushed);
           asked = 0;
           closed = 1;
           producer_rings = 0;
           from_producer!ABANDON
       }
    :: atomic { true -> producer_dead = 1; producer_writes = 0; producer_rings = 0; break } /* dies */
    :: break /* falls silent */
    od
}

#ifdef ENGINE
#define TOUCHES assert(link_released == 0)
#else
#define TOUCHES skip
#endif

active proctype consumer() {
    mtype asked;
end:
    do
    :: to_consumer?OPEN ->
#ifndef ENGINE
       map_writable(consumer_writes);
       assert(!consumer_writes);
       consumer_reads = 1;
#endif
       TOUCHES;
       atomic { consumer_rings = 1; consumer_knows = 1; from_consumer!OPEN }
    :: atomic { consumer_rings && message == IN_RING -> TOUCHES; message = HELD }
    :: atomic { consumer_rings && message == HELD -> TOUCHES; message = RETURNED }
    :: atomic { to_consumer?DRAIN -> asked = DRAIN }
    :: atomic { asked == DRAIN && message != IN_RING && message != HELD ->
           asked = 0; consumer_rings = 0; consumer_reads = 0; from_consumer!DRAIN
       }
    :: atomic { to_consumer?ABANDON ->
           asked = 0;
           consumer_rings = 0;
           consumer_reads = 0;
           if
           :: message == HELD -> message = IN_RING /* lets go of it */
           :: else
           fi;
           from_consumer!ABANDON
       }
#ifndef ENGINE
    :: atomic { true -> consumer_dead = 1; consumer_writes = 0; consumer_reads = 0; consumer_rings = 0; break }
#endif
    :: break /* falls silent, an engine too: it hangs and comes back later or never */
    od
#ifdef ENGINE
    ;
    if
    :: atomic { consumer_rings -> TOUCHES }
    :: skip
    fi
#endif
}

inline make_pool() {
#ifdef SEALED_AT_BIRTH
    sealed = 1;
#endif
#ifdef SHUT_AT_BIRTH
    shut = 1;
#endif
    pool_made++
}

/* F_ADD_SEALS: nothing can be added once SEAL is there. */
inline seal() {
    if
    :: atomic { !sealed -> shut = 1; sealed = 1 }
    :: else
    fi
}

inline release_link() {
    assert(link_released + quarantined < link_made);
    link_released++
}

active proctype runtime() {
    mtype answer;
    bit producer_told, consumer_told, requested, producer_closed, consumer_closed, kept;
    /* The stream: its pool, at the session's wish. */
    if
    :: from_producer?POOL -> make_pool(); to_producer!POOL
    :: producer_dead -> goto over
    fi;
#ifndef SHARED_EARLY
    if
    :: from_producer?MAPPED -> seal()
    :: producer_dead -> goto close_pool
    :: skip -> goto close_pool /* the session is closed or evicted */
    fi;
#endif
    /* The link is proposed: its memory. Then the consumer is told, and only then the producer. */
    link_made++;
    if
    :: producer_dead || consumer_dead -> goto releasing
    :: skip
    fi;
    atomic { consumer_told = 1; to_consumer!OPEN };
#ifndef NO_CONSUMER_ACK
    do
    :: from_consumer?OPEN -> break
    :: producer_dead || consumer_dead -> goto closing
    :: requested = 1; goto closing
    :: goto closing /* a deadline: it failed */
    od;
#endif
    atomic { producer_told = 1; to_producer!OPEN };
    do
    :: from_producer?OPEN -> break
    :: producer_dead || consumer_dead -> goto closing
    :: requested = 1; goto closing
    :: goto closing
    od;
    /* Open, until somebody wants it closed. */
    if
    :: producer_dead || consumer_dead
    :: requested = 1
    fi;

closing:
    if
    :: requested && producer_told && consumer_told && !producer_dead && !consumer_dead ->
       to_producer!QUIET;
       do
       :: from_producer?answer ->
          if
          :: answer == QUIET -> break
          :: else
          fi
       :: break /* a deadline */
       od;
       to_producer!DRAIN;
       to_consumer!DRAIN;
       do
       :: producer_closed && consumer_closed -> break
       :: from_producer?answer ->
          if
          :: answer == DRAIN -> producer_closed = 1
          :: else
          fi
       :: from_consumer?answer ->
          if
          :: answer == DRAIN -> consumer_closed = 1
          :: else
          fi
       :: break /* a deadline */
       od
    :: else
    fi;
#ifdef PRODUCER_FIRST
    if
    :: producer_told && !producer_closed && !producer_dead ->
       to_producer!ABANDON;
       do
       :: from_producer?answer ->
          if
          :: answer == ABANDON -> producer_closed = 1; break
          :: else
          fi
       :: producer_dead -> break
       :: break
       od
    :: else
    fi;
#endif
    if
#ifdef NO_COMMAND
    :: producer_dead -> skip
#endif
    :: !consumer_closed && !consumer_dead ->
       to_consumer!ABANDON;
       do
       :: from_consumer?answer ->
          if
          :: answer == ABANDON || answer == DRAIN -> consumer_closed = 1; break
          :: else
          fi
       :: consumer_dead -> break
       :: atomic { given_up = 1; kept = 1; break } /* a deadline */
       od
    :: consumer_closed || consumer_dead
    fi;
    if
    :: producer_told && !producer_closed && !producer_dead ->
       to_producer!ABANDON;
       do
       :: from_producer?answer ->
          if
          :: answer == ABANDON || answer == DRAIN -> break
          :: else
          fi
       :: producer_dead -> break
       :: break
       od
    :: else
    fi;

releasing:
#if defined(ENGINE) && !defined(NO_QUARANTINE)
    /* What an engine has not let go of is never unmapped. */
    if
    :: kept -> quarantined++
    :: else -> release_link()
    fi;
#else
    release_link();
#endif
#ifdef RELEASED_AT_DEATH
    if
    :: producer_dead -> release_link()
    :: else
    fi;
#endif

close_pool:
    pool_closed++;
over:
    /* Everything once, and nothing left. */
    assert(pool_closed == pool_made);
    assert(link_released + quarantined == link_made);
#ifdef ENGINE
    assert(!quarantined || kept)
#else
    assert(!quarantined)
#endif
}
