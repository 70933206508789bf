/* A source: drain, arm, drain once more, rest; against producers that notify only when asked, and
 * against detach.
 *
 * Spec: MODEL-SOURCE-1, MODEL-SOURCE-2, MODEL-SOURCE-3
 *
 * Producer 0 kicks, producer 1 signals the descriptor, whose edges alone tell of it (as with
 * EMPTIES_DESCRIPTOR). Spin is sequentially consistent, so the consumer's store of its flag goes
 * through a buffer, which a sequentially consistent store drains before it goes on.
 *
 * MUTANT 1: a kick or an edge of a source that is ready, armed, leaves it armed.
 * MUTANT 2: the source rests when it has been armed, without another drain.
 * MUTANT 3: drain reads the descriptor, not arm.
 * MUTANT 4: the flag is stored relaxed: it may be seen after the drain's look.
 * MUTANT 5: who waits for the detach is told before on_detached has returned.
 * MUTANT 6: after its callback a source goes on without asking whether it was detached. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define ITEMS 3
#define BUDGET 2

/* Places. */
#define RESTING 0
#define READY 1
#define NOWHERE 2

byte items;    /* in the ring */
byte put;      /* by the producers, of ITEMS */
byte taken;
bool flag;     /* a notification is asked for */
bool readable; /* the descriptor */
bool edge;     /* that the kernel has not reported */
bool notice;   /* a kick in the mailbox */
chan flag_buffer = [1] of { bool };

byte place = READY;
bool armed;
bool detaching; /* the source's word */
bool message;   /* the waiter, in the mailbox */
bool told;      /* ... and that it may return */
bool gone;      /* ... and that it has: nothing may be called */
byte endings;

proctype FlagBuffer() {
end:
    do
    :: atomic { nempty(flag_buffer) -> flag_buffer?flag }
    od
}

proctype Producer(bool kicks) {
    bool asked;
    do
    :: atomic { put < ITEMS -> put++; items++ }
        /* An exchange. */
        atomic { asked = flag; flag = false }
        if
        :: asked && kicks -> notice = true
        :: asked && !kicks -> atomic { readable = true; edge = true }
        :: else
        fi;
        asked = false
    :: atomic { put == ITEMS -> break }
    od
}

inline notify() {
    if
    :: place == RESTING -> place = READY
#if MUTANT != 1
    :: place == READY -> armed = false
#endif
    :: else
    fi
}

inline take() {
    atomic {
        assert(!gone);
#if MUTANT == 3
        readable = false;
#endif
        count = (items < BUDGET -> items : BUDGET);
        items = items - count;
        taken = taken + count
    }
}

inline arm() {
    assert(!gone);
#if MUTANT != 3
    readable = false;
#endif
    flag_buffer!true;
#if MUTANT != 4
    empty(flag_buffer);
#endif
    assert(!gone)
}

#if MUTANT == 6
#define GOES_ON true
#else
#define GOES_ON (!detaching)
#endif

proctype Worker() {
    byte count;
    bool was_armed;
end:
    do
    :: atomic { notice -> notice = false; notify() }
    :: atomic { edge ->
            edge = false;
            /* The kernel looks whether it still holds. */
            if
            :: readable -> notify()
            :: else
            fi
        }
    :: atomic { message -> message = false }
        /* The mailbox is read between callbacks: on_detached, and behind it the waiter. */
        if
        :: endings == 0 ->
#if MUTANT == 5
            told = true;
#endif
            place = (GOES_ON -> place : NOWHERE);
            atomic { assert(!gone); endings++ }
            assert(!gone)
        :: else
        fi;
        told = true
    :: place == READY ->
        /* What has been detached meanwhile may be drained once more, until the worker hears. */
        atomic { was_armed = armed; armed = false };
        take();
        if
        :: !GOES_ON -> place = NOWHERE
        :: GOES_ON && count == BUDGET -> skip
        :: GOES_ON && count < BUDGET && was_armed -> place = RESTING
        :: GOES_ON && count < BUDGET && !was_armed ->
            arm();
            atomic {
                if
                :: !GOES_ON -> place = NOWHERE
                :: else ->
#if MUTANT == 2
                    place = RESTING
#else
                    armed = true
#endif
                fi
            }
        fi;
        atomic { count = 0; was_armed = false }
    od
}

proctype Detacher() {
    if
    :: skip -> goto stays
    :: detaching = true
    fi;
    message = true;
    told;
    gone = true;
    assert(endings == 1);
stays:
    skip
}

/* When nothing can move any more. */
proctype Observer() {
    timeout -> assert(detaching || taken == ITEMS);
    assert(!detaching || gone)
}

init {
    atomic {
        run FlagBuffer();
        run Producer(true);
        run Producer(false);
        run Worker();
        run Detacher();
        run Observer()
    }
}
