/* How a stream moves to another datapath while messages flow: docs/decisions/0050-rebinding.md, src/native/core/farewell.c,
   src/actors/rebinding.ts, and the order of two ingress links in src/client/consumer-end.ts. One source emits numbered
   messages; at some burst boundary it goes over to a new link, which is held until the receiver has echoed the marker that
   follows the last message on the old path. The sink has a link from each of the receiver's two engines. It sees every
   number at most once, in order; what it does not see is counted. Run by test/deep/model-check.test.ts; the -D below leave
   out one thing each and must then be found out.

   LOSSY: the old path loses what it likes, markers and echoes as well. DEAD: at some moment it ends, with all that is on it;
   the sender's patience outlasts what is under way, so that nothing comes from there once it is over, nor is any of it on its
   way within the receiver. */

#ifndef MESSAGES
#define MESSAGES 4
#endif

mtype = { DATA, MARK };

chan old_path = [MESSAGES + 1] of { mtype, byte };
chan echoes = [1] of { bit };
chan elsewhere = [1] of { byte };    /* a marker over another path, on to the engine that knows the flow */
chan new_link = [MESSAGES] of { byte };
chan from_old = [MESSAGES] of { byte }; /* published to the sink */
chan from_new = [MESSAGES] of { byte };

byte pushed;  /* on the old link: messages 0 to pushed - 1 */
byte sent;    /* of these, on the old path */
bit swapped, retired, echoed, released, dead, told;
byte pending; /* at the receiver: taken and not published, plus one; published when its turn ends */
byte received, lost;

inline send_old(kind, value) {
    if
    :: dead
    :: !dead -> old_path!kind, value
#ifdef LOSSY
    :: skip
#endif
    fi
}

active proctype application() {
    byte next;
    do
    :: atomic { next < MESSAGES && !swapped -> pushed++; next++ }
    :: atomic { next < MESSAGES && swapped -> new_link!next; next++ }
    :: !swapped -> swapped = 1
    :: next == MESSAGES && swapped -> break
    od
}

active proctype control() {
    swapped;
    retired = 1;
#ifndef NO_MARKER
    echoed || (dead && pending == 0);
#endif
    released = 1
}

active proctype old_engine() {
    bit answer;
end:
    do
    :: atomic { sent < pushed -> send_old(DATA, sent); sent++ }
#ifdef EARLY_MARKER
    :: atomic { retired && !echoed && !dead && empty(old_path) -> send_old(MARK, sent) }
#else
    :: atomic { retired && sent == pushed && !echoed && !dead && empty(old_path) -> send_old(MARK, sent) }
#endif
    :: atomic { echoes?answer -> echoed = 1 }
#ifndef NO_ELSEWHERE
    :: atomic { dead && retired && sent == pushed && !echoed && !told -> elsewhere!sent; told = 1 }
#endif
    od
}

active proctype new_engine() {
    byte number;
end:
    do
    :: atomic { released && new_link?[number] -> new_link?number; from_new!number }
    od
}

#ifdef DEAD
active proctype fate() {
    mtype kind;
    byte value;
    if
    :: atomic {
           dead = 1;
           do
           :: old_path?kind, value
           :: empty(old_path) -> break
           od
       }
    :: skip
    fi
}
#endif

inline miss(next) {
    if
    :: next > expected -> lost = lost + next - expected; expected = next
    :: else
    fi
}

active proctype receiver() {
    byte expected, number;
end:
    do
    :: atomic {
           pending == 0 && old_path?[DATA, _] -> old_path?DATA, number;
           miss(number);
           expected = number + 1;
           pending = number + 1
       }
    :: atomic { pending > 0 -> from_old!(pending - 1); pending = 0 }
    :: atomic { old_path?[MARK, _] -> old_path?MARK, number; miss(number) };
#ifndef EARLY_ECHO
       atomic {
           if
           :: pending > 0 -> from_old!(pending - 1); pending = 0
           :: else
           fi
       };
#endif
       if
       :: nfull(echoes) && !dead -> echoes!1
#ifdef LOSSY
       :: skip
#endif
       :: full(echoes) || dead
       fi
    :: atomic { elsewhere?number -> miss(number) }
    od
}

inline take(link) {
    atomic {
        link?number;
        assert(number >= due);
        due = number + 1;
        received++
    }
}

active proctype sink() {
    byte number, due, seen;
    bit begun;
end:
    do
    :: nempty(from_old) -> take(from_old)
#ifdef NO_LOOK
    :: empty(from_old) -> seen = len(from_new); /* the old one first, then whatever there is on the other */
#else
    :: atomic { nempty(from_new) -> seen = len(from_new) };
#endif
#if !defined(NO_ORDER) && !defined(NO_LOOK)
       /* Before the first message of its flow: all that can be seen here, after that look. Of more moves: order.pml. */
       if
       :: !begun ->
          do
          :: nempty(from_old) -> take(from_old)
          :: empty(from_old) -> break
          od;
          begun = 1
       :: begun
       fi;
#endif
       do
       :: seen > 0 -> take(from_new); seen--
       :: seen == 0 -> break
       od
    od
}

/* When nothing can happen any more. */
active proctype books() {
end:
    timeout;
    assert(released);
    assert(received + lost == MESSAGES)
#if !defined(LOSSY) && !defined(DEAD)
    ;
    assert(lost == 0)
#endif
}
