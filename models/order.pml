/* The order in which a sink takes what comes over the two ingress links of a stream that moves back and forth
   (docs/decisions/0050-rebinding.md, src/client/consumer-end.ts `begins`, src/native/core/ingress.c ins_first_begin). What
   rebind.pml shows of one move is taken for granted: all of a flow is published before anything of the next. The sink may have
   looked at neither link for some moves, or be between two looks. A second source stays on one of the links. Run by
   test/deep/model-check.test.ts; the -D below leave out one thing each and must then be found out. */

#ifndef MESSAGES
#define MESSAGES 5
#endif

chan a = [MESSAGES] of { byte, byte };     /* number, when its flow began if it is the first, else 0 */
chan b = [MESSAGES + 2] of { byte, byte };

#define OTHER 100 /* numbers of the other source */

byte due, other;

active proctype mover() {
    byte number, clock = 1, first = 1;
    bit over_b;
    do
    :: number < MESSAGES ->
       if
       :: !over_b -> a!number, first
       :: over_b -> b!number, first
       fi;
       number++;
       first = 0
    :: number > 0 && number < MESSAGES && first == 0 ->
       over_b = !over_b; /* the marker is echoed: all is published */
       clock++;
       first = clock
    :: number == MESSAGES -> break
    od
}

active proctype stayer() {
    b!OTHER, 1;
    b!(OTHER + 1), 0
}

inline take(link) {
    atomic {
        link?number, began;
        if
        :: number >= OTHER -> assert(number - OTHER == other); other++
        :: else -> assert(number == due); due++
        fi
    }
}

#ifdef NO_LIMIT
#define GOES 1
#else
#define GOES (began <= until)
#endif

/* All that can be seen on `link` up to a flow that began later than `until`. */
inline drain(link) {
    do
    :: atomic {
           goes = 0;
           if
           :: nempty(link) -> link?<number, began>; goes = GOES
           :: empty(link)
           fi
       };
       if
       :: goes -> take(link)
       :: !goes -> break
       fi
    od
}

active proctype sink() {
    byte number, began, until;
    bit goes;
end:
    do
    :: nempty(a) ->
       atomic { a?<number, until> };
#ifndef NO_ORDER
       if
       :: until > 0 -> drain(b)
       :: else
       fi;
#endif
       take(a)
    :: nempty(b) ->
       atomic { b?<number, until> };
#ifdef NO_ORDER
       skip;
#else
       if
       :: until > 0 -> drain(a)
       :: else
       fi;
#endif
       take(b)
    od
}

active proctype books() {
end:
    timeout;
    assert(due == MESSAGES && other == 2)
}
