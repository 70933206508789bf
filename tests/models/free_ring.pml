/* The slab's ring of free slots: one giver, two takers, two atomic numbers, two places.
 *
 * Spec: MODEL-RING-1, MODEL-RING-2, MODEL-RING-3
 *
 * A taker reads `taken` before `given` and each place before its exchange, which acquire and release
 * order; the giver's store of `given` comes after those of its places. Spin's steps are these.
 *
 * MUTANT 1: a taker reads `given` first; it may then be behind `taken`.
 * MUTANT 2: a taker reads the place after its exchange; the giver may have given it afresh.
 * MUTANT 3: the giver does not ask whether there is room.
 * MUTANT 4: a place is shown as given before it is written. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define PLACES 2
#define ENTRIES 4
#define TAKERS 2

byte places[PLACES];
byte taken, given;
byte times[ENTRIES + 1];
byte takers_at_work = TAKERS;

proctype Giver() {
    byte entry = 1;
    do
    :: entry <= ENTRIES ->
#if MUTANT != 3
        (given - taken < PLACES);
#endif
#if MUTANT == 4
        given++;
        places[(given - 1) % PLACES] = entry;
#else
        places[given % PLACES] = entry;
        given++;
#endif
        entry++
    :: else -> break
    od
}

proctype Taker() {
    byte seen_taken, seen_given, entry;
    do
    :: taken < ENTRIES ->
#if MUTANT == 1
        seen_given = given;
        seen_taken = taken;
#else
        seen_taken = taken;
        seen_given = given;
#endif
        if
        :: seen_taken == seen_given
        :: else ->
#if MUTANT != 2
            entry = places[seen_taken % PLACES];
#endif
            if
            :: atomic { taken == seen_taken -> taken++ }
#if MUTANT == 2
                entry = places[seen_taken % PLACES];
#endif
                assert(entry == seen_taken + 1);
                times[entry]++;
                assert(times[entry] == 1)
            :: else
            fi
        fi;
        d_step { seen_taken = 0; seen_given = 0; entry = 0 }
    :: else -> break
    od;
    takers_at_work--
}

/* Nothing was left, and nothing was taken that was never given. */
proctype Observer() {
    (takers_at_work == 0);
    assert(taken == ENTRIES && given == ENTRIES)
}

init {
    atomic {
        run Giver();
        run Taker();
        run Taker();
        run Observer()
    }
}
