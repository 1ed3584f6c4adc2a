/* Who wakes a sleeper, and that no wake-up is lost: src/native/core/parked.h, and src/client/sleeper.ts and doorbell.ts.
   A ringer publishes a tail, looks at the sleeper's parked word, and rings at most once for a value of it. A sleeper has
   many ringers; the others are one process that rings its bell whenever it likes. Run by test/deep/model-check.test.ts;
   the -D below leave out one thing each and must then be found out.

   The machine: every thread's stores go through a first-in first-out store buffer that drains some time later, a fence
   waits until one's own is empty, loads look at memory. Generations of the word are unbounded in effect: a new one is
   any number that nobody remembers, and since values are only compared, which one does not matter. (The code's 30 bits
   wrap after 2^30 sleeps; WRAPS shows why a bit would not do.) */

#ifdef NO_FENCE
#define NO_RINGER_FENCE
#define NO_SLEEPER_FENCE
#endif

#define WISHED 1 /* for what our ringer does */
#define OTHER 2  /* for what the others do */
#define WINDOW 2 /* most published and not taken */
#define NUMBERS 8
#define NOTHING 255

/* Memory. A value of the word: generation * 4 + wishes. The tail, as far as it is ahead of the sleeper's head. */
byte word;
byte tail;
/* Readable; kept by the kernel, which has no store buffer. */
bit bell, other_bell;

/* Store buffers: stores to the tail that are not in memory yet; stores to the word. */
byte buffered;
chan lying = [2] of { byte };

byte rung;             /* ringer: the value it rang for last; the first generation is 1 or more */
byte looked = NOTHING; /* ringer: the value it has just read */
byte wishes;           /* sleeper */
bit sleeping;

active proctype tail_drains() {
end:
    do
    :: atomic { buffered > 0 -> buffered--; tail++ }
    od
}

active proctype word_drains() {
    byte value;
end:
    do
    :: atomic { lying?value -> word = value; value = 0 }
    od
}

active proctype ringer() {
end:
    do
    :: atomic { tail + buffered < WINDOW -> buffered++ };
#ifndef NO_RINGER_FENCE
       buffered == 0;
#endif
       looked = word; /* ins_parked_due, Doorbell.ring */
       if
       :: atomic { (looked & WISHED) && looked != rung -> rung = looked; looked = NOTHING };
          bell = 1
       :: atomic { else -> looked = NOTHING }
       fi
    :: break
    od
}

active proctype others() {
end:
    do
    :: !other_bell -> other_bell = 1
    :: break
    od
}

#define REMEMBERED(g) (g == word / 4 || g == rung / 4 || g == looked / 4 || lying ?? [eval(g * 4)] || \
    lying ?? [eval(g * 4 + 1)] || lying ?? [eval(g * 4 + 2)] || lying ?? [eval(g * 4 + 3)])

inline next_generation() {
#ifdef WRAPS
    generation = 1 + generation % 2
#else
    d_step {
        generation = 1;
        do
        :: REMEMBERED(generation) -> generation++
        :: else -> break
        od;
        assert(generation < NUMBERS)
    }
#endif
}

active proctype sleeper() {
    byte generation;
    bit found;
    do
    :: if
       :: wishes = WISHED
       :: wishes = OTHER
       :: wishes = WISHED | OTHER
       fi;
lie_down:
       next_generation();
       lying!(generation * 4 + wishes);
#ifndef NO_SLEEPER_FENCE
       empty(lying);
#endif
#ifndef NO_SECOND_LOOK
       found = (wishes & WISHED) && tail > 0;
#endif
       if
       :: (wishes & OTHER) -> found = 1 /* what the others do */
       :: skip
       fi;
       if
       :: atomic { found -> found = 0 };
          lying!(generation * 4)
       :: atomic { !found -> sleeping = 1 };
end_sleeping:
          atomic { bell || other_bell -> sleeping = 0 };
          if
          :: lying!(generation * 4) /* ins_parked_clear, getUp */
          :: skip                   /* Pump.wait lies down again at once */
          fi;
          if
          :: bell = 0
          :: skip /* the engine leaves it to the next sleep when its owner has come in */
          fi;
          if
          :: other_bell = 0
          :: skip
          fi;
          if
          :: goto lie_down
          :: skip
          fi
       fi;
       wishes = 0;
       tail = 0
    od
}

#define WAITS (sleeping && (wishes & WISHED) && tail + buffered > 0)
ltl woken { [] (WAITS -> <> !sleeping) }
