/* A link: src/native/core/link.h and link.c, and the same in src/client/link.ts. A producer with credits by entry and a
   private shadow, a forward ring, a consumer that takes in bursts and gives back in any order, a return ring; either side
   may be replaced by one that writes whatever it likes. Run by test/deep/model-check.test.ts.

   HOSTILE_CONSUMER, HOSTILE_PRODUCER replace a side. Every other -D leaves out one thing that the code does, and must be
   found out: NO_RELEASE, NO_ACQUIRE (descriptors), NO_RETURN_RELEASE (payloads), NO_LIVE_CHECK, READ_TWICE,
   NO_TAIL_WINDOW. NO_RETURN_WINDOW is not found out: the window of returns only finds sooner what the live bits find.

   Free-running indices count modulo INDICES. The messages are not numbered apart: a descriptor carries the index it was
   pushed at and so does its payload, and the consumer must find its own head in both, which is "each once, in order".
   A stale load of a tail is one that came early: the value is used any number of steps after it was read. Stores to a
   ring are visible at once, which is the worst case, but where a -D lets them come after the tail that announces them. */

#ifndef ENTRIES
#define ENTRIES 2
#endif
#define INDICES (2 * ENTRIES)
#define SLOTS ENTRIES
#define NONE 255

/* The segment. A forward place: entry and index pushed at, of which the code has only the first. */
byte forward_entry[ENTRIES], forward_index[ENTRIES], forward_slot[ENTRIES];
byte returned[ENTRIES];
byte forward_tail, return_tail;
/* The pool: what is in a slot, as the index it was pushed at. */
byte payload[SLOTS];

/* The producer's private state; names as in struct ins_producer. */
byte tail, published, return_head, live, free_count;
byte free_entries[ENTRIES];
byte shadow_slot[ENTRIES];
bit shadow_live[ENTRIES];
bit slot_out[SLOTS]; /* pushed and not home */

byte unwritten[ENTRIES]; /* NO_RELEASE: entries whose descriptors are written after the tail */

/* The consumer's; names as in struct ins_consumer. */
byte head, cached_tail, consumer_returned, published_returns;
byte held_index[ENTRIES] = NONE; /* by entry: the message it holds */
byte held_slot[ENTRIES];
byte late = NONE; /* NO_RETURN_RELEASE: an entry whose payload is read after it was given back */

bit consumer_dead; /* or faulty, or evicted: nothing more is taken from it */
bit producer_faulted, consumer_faulted;

#ifdef HOSTILE_CONSUMER
#define LOAD_RETURN_TAIL(to) atomic { select(to : 0 .. INDICES - 1); to = AHEAD(to, return_head) }
#define LOAD_RETURN(to) atomic { select(to : 0 .. ENTRIES) }
#define RETURNS true
#else
#define LOAD_RETURN_TAIL(to) to = AHEAD(return_tail, return_head)
#define LOAD_RETURN(to) to = returned[return_head % ENTRIES]
#define RETURNS (return_tail != return_head)
#endif
#ifdef HOSTILE_PRODUCER
#define LOAD_FORWARD_TAIL(to) atomic { select(to : 0 .. INDICES - 1) }
#define LOAD_DESCRIPTOR atomic { select(seen : 0 .. ENTRIES) }
#else
#define LOAD_FORWARD_TAIL(to) to = forward_tail
#define LOAD_DESCRIPTOR d_step { seen = forward_entry[head % ENTRIES]; seen_index = forward_index[head % ENTRIES]; \
    seen_slot = forward_slot[head % ENTRIES] }
#endif

/* What was taken is nobody's concern any more: fewer states. */
#ifdef NO_ACQUIRE
#define FORGET(what)
#else
#define FORGET(what) what = 0
#endif

#ifdef NO_LIVE_CHECK
#define IS_LIVE(e) true
#else
#define IS_LIVE(e) shadow_live[e]
#endif

#define AHEAD(a, b) ((a + INDICES - b) % INDICES)

/* A slot comes home: from a return or from the abandonment. */
inline come_home(e) {
    assert(slot_out[shadow_slot[e]]);
    slot_out[shadow_slot[e]] = 0;
    payload[shadow_slot[e]] = 0;
    shadow_slot[e] = 0;
    shadow_live[e] = 0;
    assert(free_count < ENTRIES);
    free_entries[free_count] = e;
    free_count++;
    live--
}

#ifndef HOSTILE_PRODUCER
inline push() {
    d_step {
        slot = 0;
        do
        :: slot_out[slot] -> slot++
        :: else -> break
        od;
        payload[slot] = tail; /* the application has written its message */
        free_count--;
        entry = free_entries[free_count];
        free_entries[free_count] = 0;
        /* Never handed out twice. */
        assert(!shadow_live[entry]);
        shadow_slot[entry] = slot;
        shadow_live[entry] = 1;
        assert(!slot_out[slot]);
        slot_out[slot] = 1;
        live++;
#ifndef HOSTILE_CONSUMER
        /* What was in this place has been taken. */
        assert(AHEAD(tail, head) < ENTRIES);
#endif
#ifdef NO_RELEASE
        unwritten[tail % ENTRIES] = entry;
#else
        forward_entry[tail % ENTRIES] = entry;
        forward_index[tail % ENTRIES] = tail;
        forward_slot[tail % ENTRIES] = slot;
#endif
        tail = (tail + 1) % INDICES;
        entry = 0;
        slot = 0
    }
}

/* One call of ins_producer_reclaim: it may stop before the end (`max`). */
inline reclaim() {
    atomic {
        LOAD_RETURN_TAIL(waiting);
        if
#ifndef NO_RETURN_WINDOW
        :: waiting > live -> producer_faulted = 1; waiting = 0
#endif
        :: else
        fi
    };
    do
    :: waiting > 0 ->
       atomic {
           LOAD_RETURN(entry);
           if
           :: entry < ENTRIES && IS_LIVE(entry) ->
#ifdef READ_TWICE
              LOAD_RETURN(entry);
#endif
              come_home(entry);
              FORGET(returned[return_head % ENTRIES]);
              return_head = (return_head + 1) % INDICES;
              waiting--
           :: else -> producer_faulted = 1; waiting = 0
           fi;
           entry = 0
       }
    :: break
    od;
    waiting = 0
}

active proctype producer() {
    byte slot, entry, waiting;
    d_step {
        do
        :: free_count < ENTRIES -> free_entries[free_count] = ENTRIES - 1 - free_count; free_count++
        :: else -> break
        od
    };
    do
    :: free_count > 0 && !consumer_dead -> push()
    :: published != tail ->
#ifdef NO_RELEASE
       forward_tail = tail;
       do
       :: published != tail ->
          d_step {
              forward_entry[published % ENTRIES] = unwritten[published % ENTRIES];
              forward_slot[published % ENTRIES] = shadow_slot[unwritten[published % ENTRIES]];
              forward_index[published % ENTRIES] = published;
              published = (published + 1) % INDICES
          }
       :: else -> break
       od
#else
       atomic { forward_tail = tail; published = tail }
#endif
    :: RETURNS || consumer_dead ->
       reclaim();
       if
       :: producer_faulted || consumer_dead -> break
       :: else
       fi
    od;
    skip;
    /* A fault, or the other side is dead: what came back last was taken, the rest is abandoned. */
    d_step {
        consumer_dead = 1;
        do
        :: entry < ENTRIES && shadow_live[entry] -> come_home(entry); entry++
        :: entry < ENTRIES && !shadow_live[entry] -> entry++
        :: else -> break
        od;
        assert(live == 0 && free_count == ENTRIES);
        slot = 0;
        do
        :: slot < SLOTS -> assert(!slot_out[slot]); slot++
        :: else -> break
        od
    };
#ifndef HOSTILE_CONSUMER
    assert(!producer_faulted)
#endif
}
#endif

#ifndef HOSTILE_CONSUMER
inline give_back(e) {
    /* The place is free: the producer has taken what was in it. */
#ifndef HOSTILE_PRODUCER
    assert(AHEAD(consumer_returned, return_head) < ENTRIES);
#endif
    returned[consumer_returned % ENTRIES] = e;
    consumer_returned = (consumer_returned + 1) % INDICES
}

active proctype consumer() {
    byte entry, seen, seen_index, seen_slot;
    do
    :: consumer_faulted -> break
    :: cached_tail == head -> /* ins_consumer_load_tail */
#ifdef NO_ACQUIRE
       LOAD_DESCRIPTOR;
#endif
       atomic {
           LOAD_FORWARD_TAIL(entry);
           if
#ifndef NO_TAIL_WINDOW
           :: AHEAD(entry, head) > ENTRIES - AHEAD(head, consumer_returned) -> consumer_faulted = 1
#endif
           :: else -> cached_tail = entry
           fi;
           entry = 0
       }
    :: atomic { cached_tail != head -> /* ins_consumer_take */
#ifndef NO_ACQUIRE
           LOAD_DESCRIPTOR;
#endif
           if
           :: seen >= ENTRIES -> consumer_faulted = 1
           :: else ->
#ifndef HOSTILE_PRODUCER
              /* The next in order, not one that it holds, with its own payload. */
              assert(seen_index == head);
              assert(held_index[seen] == NONE);
              assert(payload[seen_slot] == head);
#endif
              held_index[seen] = head;
              held_slot[seen] = seen_slot;
              FORGET(forward_entry[head % ENTRIES]);
              FORGET(forward_index[head % ENTRIES]);
              FORGET(forward_slot[head % ENTRIES]);
              head = (head + 1) % INDICES;
              /* No more than it has room for. */
              assert(AHEAD(head, consumer_returned) <= ENTRIES)
           fi;
           seen = 0;
           seen_index = 0;
           seen_slot = 0
       }
    :: atomic { head != consumer_returned && late == NONE -> /* gives one back, whichever */
           if
           :: held_index[0] != NONE -> entry = 0
           :: held_index[1] != NONE -> entry = 1
#if ENTRIES > 2
           :: held_index[2] != NONE -> entry = 2
#endif
#ifdef HOSTILE_PRODUCER
           :: entry = 0 /* the same entry came twice */
#endif
           fi;
#if !defined(HOSTILE_PRODUCER) && !defined(NO_RETURN_RELEASE)
           /* It was readable until now. */
           assert(payload[held_slot[entry]] == held_index[entry]);
#endif
#ifdef NO_RETURN_RELEASE
           late = entry;
#else
           held_index[entry] = NONE;
           held_slot[entry] = 0;
#endif
           give_back(entry);
           entry = 0
       }
    :: published_returns != consumer_returned ->
       atomic { return_tail = consumer_returned; published_returns = consumer_returned };
#ifdef NO_RETURN_RELEASE
       if
       :: late != NONE ->
          atomic { assert(payload[held_slot[late]] == held_index[late]); held_index[late] = NONE; late = NONE }
       :: else
       fi
#endif
    :: break
    od;
    /* Dies, with whatever it holds and has not published. An honest one has no reason to complain. */
#ifndef HOSTILE_PRODUCER
    assert(!consumer_faulted);
#endif
    consumer_dead = 1
}
#endif

/* Writes any word to any place of the rings, and any tail, between any two loads of the other side: so what these load is
   anything. It goes when it likes. */
#if defined(HOSTILE_CONSUMER) || defined(HOSTILE_PRODUCER)
active proctype stranger() {
    consumer_dead = 1
}
#endif
