/* The worker's mailbox and its sleeping edge: many producers, one consumer, one atomic word.
 *
 * Spec: MODEL-MAILBOX-1, MODEL-MAILBOX-2, MODEL-MAILBOX-3, MODEL-MAILBOX-4, MODEL-MAILBOX-5
 *
 * Spin is sequentially consistent, so the weaker machine is written out: a plain store goes to its
 * process's FIFO store buffer, which drains at any time; a read-modify-write of the word drains
 * it first.
 *
 * MUTANT 1: the publication is relaxed; it may be seen before the message's own stores.
 * MUTANT 2: the sleeping edge is a flag beside the word, stored without draining (Dekker).
 * MUTANT 3: the consumer sleeps without asking whether mail came since it took the last. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define PRODUCERS 2
#define MESSAGES 3

/* Producer 0 sends messages 1 and 2, producer 1 sends message 3. */
#define FIRST(p) (1 + 2 * (p))
#define LAST(p) (2 + (p))
#define SENDER(m) ((m) / 3)

/* The word: one of these, or the newest message, 1 to MESSAGES. */
#define EMPTY 0
#define SLEEPING 100
#define CLOSED 101

byte head = EMPTY;
byte next[MESSAGES + 1];
bool written[MESSAGES + 1];
bool event;
bool sleeping_flag;

bool accepted[MESSAGES + 1];
bool consumed[MESSAGES + 1];
byte other_wakes = 1;
bool closing;

/* A producer's buffered stores: which message, its next; the payload travels with its own entry. */
mtype = { payload, link };
chan buffer[PRODUCERS] = [2] of { mtype, byte, byte };
chan consumer_buffer = [1] of { bool };

#define is_message(h) (h != EMPTY && h != SLEEPING && h != CLOSED)

inline drain_one(p) {
    atomic {
        if
        :: buffer[p]?payload(drained, value) -> written[drained] = true
        :: buffer[p]?link(drained, value) -> next[drained] = value
        fi;
        drained = 0; value = 0
    }
}

proctype StoreBuffer(byte p) {
    byte drained, value;
end:
    do
    :: nempty(buffer[p]) -> drain_one(p)
    od
}

proctype ConsumerBuffer() {
end:
    do
    :: atomic { nempty(consumer_buffer) -> consumer_buffer?sleeping_flag }
    od
}

#if MUTANT == 1
#define DRAINED(p) true
#else
#define DRAINED(p) empty(buffer[p])
#endif

proctype Producer(byte p) {
    byte m = FIRST(p);
    byte h, found;
    do
    :: m <= LAST(p) ->
        buffer[p]!payload(m, 0);
        do
        :: h = head;
            if
            :: h == CLOSED -> goto refused
            :: else
            fi;
            buffer[p]!link(m, (h == SLEEPING -> EMPTY : h));
            /* Compare and exchange. */
            atomic {
                DRAINED(p) ->
                found = head;
                if
                :: found == h -> head = m; accepted[m] = true
                :: else
                fi
            }
            if
            :: found == h -> break
            :: else
            fi
        od;
#if MUTANT == 2
        if
        :: sleeping_flag -> event = true
        :: else
        fi;
#else
        if
        :: h == SLEEPING -> event = true
        :: else
        fi;
#endif
        atomic { m++; h = 0; found = 0 }
    :: else -> break
    od;
refused:
    atomic { m = 0; h = 0; found = 0 }
}

byte newest[PRODUCERS];

inline consume(m) {
    assert(written[m]);
    assert(!consumed[m]);
    /* Messages of one producer arrive in the order of their numbers. */
    assert(m > newest[SENDER(m)]);
    newest[SENDER(m)] = m;
    consumed[m] = true
}

inline take() {
    /* An exchange: what was published is seen. */
    d_step { chain = head; head = EMPTY; }
    if
    :: chain == SLEEPING -> chain = EMPTY
    :: else
    fi;
    d_step {
        reversed = EMPTY;
        do
        :: chain != EMPTY ->
            assert(written[chain]);
            following = next[chain];
            next[chain] = reversed;
            reversed = chain;
            chain = following
        :: else -> break
        od;
        following = 0
    }
    do
    :: reversed != EMPTY ->
        d_step { consume(reversed); reversed = next[reversed] }
    :: else -> break
    od
}

proctype Consumer() {
    byte chain, reversed, following;
    bool slept;
    do
    :: take();
        if
        :: closing ->
            /* Closing: EMPTY to CLOSED, or there is mail to take. */
            atomic {
                if
                :: head == EMPTY -> head = CLOSED; goto closed
                :: else
                fi
            }
        :: else ->
#if MUTANT == 2
            consumer_buffer!true;
            slept = (head == EMPTY);
#elif MUTANT == 3
            d_step { head = SLEEPING; slept = true }
#else
            d_step {
                slept = (head == EMPTY);
                if
                :: slept -> head = SLEEPING
                :: else
                fi
            }
#endif
            if
            :: slept ->
end_asleep:
                atomic {
                    if
                    :: event -> event = false
                    :: other_wakes > 0 -> other_wakes--
                    fi
                }
            :: else
            fi;
#if MUTANT == 2
            consumer_buffer!false;
#endif
            slept = false
        fi
    od;
closed:
    skip
}

/* Ends the port at any moment, through the eventfd as the end message does, or never. */
proctype Closer() {
    if
    :: closing = true; event = true
    :: skip
    fi
}

#define all_consumed                                                                    \
    ((!accepted[1] || consumed[1]) && (!accepted[2] || consumed[2]) && \
     (!accepted[3] || consumed[3]))

/* When nothing can move any more, no accepted message lies in the mailbox. */
proctype Observer() {
    timeout -> assert(all_consumed)
}

init {
    atomic {
        run StoreBuffer(0);
        run StoreBuffer(1);
#if MUTANT == 2
        run ConsumerBuffer();
#endif
        run Producer(0);
        run Producer(1);
        run Consumer();
        run Closer();
        run Observer()
    }
}

ltl every_message_is_consumed {
    [] (accepted[1] -> <> consumed[1]) && [] (accepted[2] -> <> consumed[2]) &&
    [] (accepted[3] -> <> consumed[3])
}
