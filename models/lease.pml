/* The inline lease of an engine (src/native/core/engine.c, engine_idle.c): the application's thread polls, the engine's
   own thread stands by, steps in when the owner is away, sleeps when nothing is to do. Run by
   test/deep/model-check.test.ts. The -D below leave out one thing that the code does, each, and must then be found out;
   COMMANDS, MESSAGES and DATAGRAMS say what work there is, STOPS that control stops the engine.

   What is abstracted: `polls` is one bit, "has polled since the thread looked"; a time-out may come at any moment; the
   thread's sleep has no time-out (naps and timers of the engine only add wake-ups). A store, a fence and a load are two
   steps; without the fence the load may come first, which is all that a machine may do to the two. Steps that touch
   nothing that another thread looks at are one with their neighbours. */

/* Shared words, named as in struct ins_engine. */
bit inside, owner, asleep, stop, stopped;
bit polled;
/* Guarded by `inside`; the kernel looks at `watching` while the thread sleeps. */
bit parked, watching;
/* The word of the parked page, reduced to "rings are wished for". */
bit word;
/* Readable descriptors: the eventfd, a doorbell, the socket. */
bit wake, bell, datagram;
/* Work that waits: a command, a message on an egress link. */
bit command, message;

byte turning; /* threads in a turn */

#ifdef NO_LOCK
#define ENTER(got) got = !inside; inside = 1
#else
#define ENTER(got) atomic { got = !inside; inside = 1 }
#endif

inline awake() {
    parked = 0;
    word = 0;
    asleep = 0
}

/* ins_idle_kick_if_asleep after the store of what the thread looks at before it sleeps. */
inline publish_and_kick(published) {
#ifdef NO_KICK_FENCE
    if
    :: published = 1; seen = asleep
    :: seen = asleep; published = 1
    fi;
#else
    published = 1;
    seen = asleep;
#endif
    if
    :: atomic { seen -> wake = 1; seen = 0 }
    :: else
    fi
}

inline turn(moved) {
    atomic { turning++; assert(turning == 1) };
#ifdef COMMANDS
    atomic { moved = moved || command; command = 0 };
#endif
#ifdef MESSAGES
    atomic { moved = moved || message; message = 0 };
#endif
#ifdef DATAGRAMS
    atomic { moved = moved || datagram; datagram = 0 };
#endif
    turning--
}

/* The application's thread: polls, releases, stays away for as long as it likes or for good. */
active proctype application() {
    bit returning, got, seen, moved;
    do
    :: polled = 1; /* ins_engine_poll */
       returning = !owner;
       if
       :: returning ->
          returning = 0;
#ifdef NO_RETURN_KICK
          owner = 1
#else
          publish_and_kick(owner)
#endif
       :: else
       fi;
       ENTER(got);
       if
       :: !got ->
turned_away: skip
       :: got && stopped -> atomic { inside = 0; got = 0 }
       :: got && !stopped ->
          got = 0;
#ifndef STALE_OWNER
          /* The thread may have taken over since we looked, and sleep by now. */
          if
          :: !owner -> publish_and_kick(owner)
          :: else
          fi;
#endif
          if
          :: parked -> awake()
          :: else
          fi;
          watching = 0;
          turn(moved);
turned:   atomic { inside = 0; moved = 0 }
       fi
    :: atomic { wake = wake || owner; owner = 0 } /* ins_engine_release */
    :: break
    od
}

/* The thread of the engine: serve, stand_by, park. */
active proctype thread() {
    bit got, moved, work;
    do
    :: stop -> break
    :: !stop && owner -> /* stand_by */
       polled = 0;
       if
       :: atomic { wake -> wake = 0 }; goto next
       :: skip /* the time is over */
       fi;
       if
       :: stop || !owner || polled -> goto next
       :: else
       fi;
       ENTER(got);
       if
       :: got -> owner = 0; atomic { inside = 0; got = 0 }
       :: else
       fi
    :: !stop && !owner ->
       ENTER(got);
       if
       :: !got -> goto next
       :: else
       fi;
       if
       :: parked -> awake()
       :: else
       fi;
       turn(moved);
       if
       :: atomic { inside = 0; got = 0; moved = 0 } /* something moved, or it does not park yet */
       :: atomic { !moved -> got = 0; parked = 1 }; /* park: ins_idle_prepare */
#ifdef NO_SLEEP_FENCE
          if
          :: work = command || message || stop || owner; asleep = 1; word = 1
          :: asleep = 1; word = 1; work = command || message || stop || owner
          fi;
#else
          asleep = 1;
          word = 1;
          work = command || stop;
#ifndef NO_OWNER_LOOK
          work = work || owner;
#endif
          work = work || message;
#endif
          if
          :: atomic { work -> work = 0 };
             awake();
             inside = 0
          :: else ->
             watching = 1;
             inside = 0;
end_asleep:  atomic { (wake || bell || (watching && datagram)) -> work = bell };
             asleep = 0; /* ins_idle_sleep goes on */
             wake = 0;
             ENTER(got);
             if
             :: got ->
                if
                :: parked -> awake()
                :: else
                fi;
                atomic { bell = bell && !work; work = 0; inside = 0; got = 0 }
             :: atomic { else -> work = 0 }
             fi
          fi
       fi;
next:  skip
    od;
    do
    :: ENTER(got);
       if
       :: got -> break
       :: else
       fi
    od;
    stopped = 1;
    inside = 0
}

#ifdef COMMANDS
active proctype control() {
    bit seen;
end:
    do
    :: !command -> publish_and_kick(command)
    :: break
    od
}
#endif
#ifdef STOPS
active proctype stopper() {
    stop = 1;
    wake = 1
}
#endif

/* Another application pushes, and rings if that is wished for (doorbell.pml looks at this more closely). */
#ifdef MESSAGES
active proctype stranger() {
    bit wished;
end:
    do
    :: !message ->
       message = 1;
       wished = word;
       atomic { bell = bell || wished; wished = 0 }
    :: break
    od
}
#endif

#ifdef DATAGRAMS
active proctype network() {
end:
    do
    :: !datagram -> datagram = 1
    :: break
    od
}
#endif

#define BUSY (application@turned_away)
#define POLLS (application@turned)
/* Excluded is an owner that is turned away for ever, each time by a take-over that falls into its own poll: the thread
   steps in after a millisecond without a poll. At the end it only tries to come in, which needs a gap between polls. */
ltl commands { ([]<> BUSY) || [] (command -> <> (!command || stop)) }
ltl messages { ([]<> BUSY) || [] (message -> <> (!message || stop)) }
ltl datagrams { ([]<> BUSY) || [] (datagram -> <> (!datagram || stop)) }
ltl stops { ([]<> BUSY) || ([]<> POLLS) || [] (stop -> <> stopped) }
