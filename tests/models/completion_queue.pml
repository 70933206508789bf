/* The queue of finished operations: producers that never lock, consumers that take turns, one word.
 *
 * Spec: MODEL-QUEUE-1, MODEL-QUEUE-2, MODEL-QUEUE-3, MODEL-QUEUE-4, MODEL-QUEUE-5
 *
 * The word's own ordering is the mailbox's (mailbox.pml); here the waking of several consumers is
 * searched. The first consumer leaves after one operation, or when it has waited for long enough.
 *
 * MUTANT 1: the number of wakes is read after the mark was set and the lock given up.
 * MUTANT 2: a consumer that leaves does not look whether others sleep.
 * MUTANT 3: a consumer that ran into its time leaves without looking whether others sleep.
 * MUTANT 4: the end wakes one consumer, and does not change the number.
 * MUTANT 5: the port goes without waiting for the producers that are owed a wake. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define PRODUCERS 2
#define CONSUMERS 2
#define OPERATIONS 2

#define EMPTY 0
#define SLEEPING 100
#define CLOSED 101

byte head = EMPTY;
byte next[OPERATIONS + 1];
byte wakes;
byte wakes_made;

/* Under the lock. */
bool locked;
byte sleepers;
bool marked;
bool closed;
byte wakes_owed;
/* What was refilled and not yet copied, oldest first. */
chan taken = [OPERATIONS] of { byte };

/* The futex: who is queued on the number. */
bool queued[CONSUMERS];

bool accepted[OPERATIONS + 1];
byte returned[OPERATIONS + 1];
byte producers_left = PRODUCERS;
byte consumers_left = CONSUMERS;
bool gone;

/* Wakes one thread that sleeps, whichever, or nobody. */
inline wake_one() {
    atomic { assert(!gone); wakes++ }
    atomic {
        assert(!gone);
        if
        :: queued[0] -> queued[0] = false
        :: queued[1] -> queued[1] = false
        :: else
        fi
    }
}

inline wake_all() {
#if MUTANT == 4
    atomic {
        if
        :: queued[0] -> queued[0] = false
        :: queued[1] -> queued[1] = false
        :: else
        fi
    }
#else
    atomic { wakes++ }
    d_step { queued[0] = false; queued[1] = false }
#endif
}

/* As refill(): the exchange is one step, the rest is the lock holder's own. */
inline refill() {
    if
    :: head == EMPTY || head == CLOSED
    :: else ->
        atomic {
            chain = head;
            head = EMPTY;
            if
            :: marked && chain != SLEEPING && chain != EMPTY -> wakes_owed++
            :: else
            fi;
            marked = false;
            reversed = EMPTY;
            do
            :: chain != EMPTY && chain != SLEEPING ->
                following = next[chain];
                next[chain] = reversed;
                reversed = chain;
                chain = following
            :: else -> break
            od;
            do
            :: reversed != EMPTY -> taken!reversed; reversed = next[reversed]
            :: else -> break
            od;
            chain = 0; following = 0; reversed = 0
        }
    fi
}

/* As mark_sleeping(). */
inline mark_sleeping() {
    atomic {
        if
        :: head == EMPTY -> head = SLEEPING; marked = true; slept = true
        :: head == SLEEPING -> slept = true
        :: else -> slept = false
        fi
    }
}

proctype Producer(byte m) {
    byte h;
    do
    :: h = head;
        if
        :: h == CLOSED -> goto done
        :: else
        fi;
        next[m] = (h == SLEEPING -> EMPTY : h);
        atomic {
            if
            :: head == h -> head = m; accepted[m] = true; break
            :: else
            fi
        }
    od;
    if
    :: h == SLEEPING ->
        wake_one();
        atomic { assert(!gone); wakes_made++ }
    :: else
    fi;
done:
    atomic { h = 0; producers_left-- }
}

proctype Consumer(byte c; byte records_max; bool leaver) {
    byte chain, reversed, following, seen, count, m;
    bool slept, timed_out, leaves;
    do
    :: atomic { !locked -> locked = true };
        if
        :: empty(taken) -> refill()
        :: else
        fi;
        do
        :: count < records_max && nempty(taken) ->
            d_step { taken?m; returned[m]++; count++; assert(returned[m] == 1); m = 0 }
        :: else -> break
        od;
#if MUTANT == 2
        leaves = false;
#elif MUTANT == 3
        leaves = count > 0 || closed;
#else
        leaves = count > 0 || timed_out || closed;
#endif
        if
        :: leaves && sleepers > 0 ->
            if
            :: nempty(taken) -> wake_one()
            :: else ->
                mark_sleeping();
                if
                :: !slept -> wake_one()
                :: else
                fi
            fi
        :: else
        fi;
        if
        :: count > 0 && leaver -> atomic { locked = false; break }
        :: count > 0 && !leaver ->
            atomic { count = 0; timed_out = false; slept = false; locked = false }
        :: count == 0 && closed -> atomic { locked = false; break }
        :: count == 0 && !closed && timed_out -> atomic { locked = false; break }
        :: else ->
#if MUTANT != 1
            seen = wakes;
#endif
            mark_sleeping();
            if
            :: !slept -> locked = false
            :: else ->
                atomic { sleepers++; locked = false };
#if MUTANT == 1
                seen = wakes;
#endif
                /* The futex compares and queues in one step. */
                atomic {
                    if
                    :: wakes == seen -> queued[c] = true
                    :: else
                    fi
                };
end_asleep:
                if
                :: atomic { !queued[c] -> skip }
                :: atomic { leaver && queued[c] -> queued[c] = false; timed_out = true }
                fi;
                atomic { !locked -> locked = true };
                atomic { sleepers--; locked = false; slept = false; seen = 0 }
            fi
        fi
    od;
    consumers_left--
}

/* Ends the port at any moment, or never; then the last reference is gone. */
proctype Closer() {
    byte chain, reversed, following;
    if
    :: skip
    :: atomic { !locked -> locked = true };
        refill();
        do
        :: atomic { head == EMPTY -> head = CLOSED; closed = true; break }
        :: head != EMPTY -> refill()
        od;
        locked = false;
        wake_all();
        /* Waiters hold references; a producer may have none once its operation was waited for. */
        consumers_left == 0;
#if MUTANT != 5
        wakes_made == wakes_owed;
#endif
        gone = true
    fi
}

/* When nothing can move any more, nobody sleeps beside an operation, or after the end. */
proctype Observer() {
    timeout ->
        assert(consumers_left == 0 || (empty(taken) && (head == EMPTY || head == SLEEPING)));
        assert(!closed || (consumers_left == 0 && producers_left == 0 && gone));
        assert(producers_left == 0)
}

init {
    atomic {
        run Producer(1);
        run Producer(2);
        run Consumer(0, 1, true);
        run Consumer(1, 2, false);
        run Closer();
        run Observer()
    }
}

ltl every_operation_is_returned {
    [] (accepted[1] -> <> (returned[1] == 1)) && [] (accepted[2] -> <> (returned[2] == 1))
}
