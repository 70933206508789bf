/* The last reference of a port: who ends it, who waits for the workers, who frees it.
 *
 * Spec: MODEL-LIFETIME-1, MODEL-LIFETIME-2, MODEL-LIFETIME-3, MODEL-LIFETIME-4
 *
 * Holders of the port's memory are its workers and, as one, all its references. The mailbox is a
 * channel with a closed state, as MODEL-MAILBOX proves. Whoever posts to a worker that sleeps signals
 * it afterwards, and so touches the port once more; the callback of what was posted may have given
 * back the only reference by then. So a worker leaves when it has got the signals that it is owed.
 *
 * MUTANT 1: a worker touches the port after it gave up its holding.
 * MUTANT 2: the last dec_ref in a callback waits for the workers.
 * MUTANT 3: a worker that ends leaves its mailbox open.
 * MUTANT 4: a worker leaves without waiting for the signals that it is owed. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define WORKERS 2
#define OPERATIONS 3

/* One thread holds one; the other's is given back by the callback of its operation 1. */
byte references = 2;
byte holders = WORKERS + 1;
bool ending;
bool freed;
bool closed[WORKERS];
bool asleep[WORKERS];
byte signals[WORKERS];
bool ended[WORKERS];
byte slots;

bool accepted[OPERATIONS + 1];
byte calls[OPERATIONS + 1];

mtype = { operation, end_of_port };
chan mail_0 = [5] of { mtype, byte };
chan mail_1 = [5] of { mtype, byte };
chan waiting_0 = [3] of { byte };
chan waiting_1 = [3] of { byte };

#define touch() assert(!freed)

inline free_port() {
    d_step {
        assert(!freed);
        for (op : 1 .. OPERATIONS) { assert(calls[op] == accepted[op]) }
        op = 0;
        assert(slots == 0);
        freed = true
    }
}

inline drop_holding() {
    atomic { touch(); holders--; last = (holders == 0) }
    if
    :: last -> free_port(); last = false
    :: else
    fi
}

/* The mailbox's one word: who replaces "sleeping" owes a signal. */
inline post_end(w, mail) {
    atomic { touch(); mail!end_of_port(0); sleeper = asleep[w]; asleep[w] = false };
    if
    :: sleeper -> sleeper = false; atomic { touch(); signals[w]++ }
    :: else
    fi
}

inline shut_down() {
    atomic { touch(); first = !ending; ending = true }
    if
    :: first -> first = false;
        post_end(0, mail_0);
        post_end(1, mail_1)
    :: else
    fi
}

/* in_callback: of this port or of another. */
inline dec_ref(in_callback) {
    atomic { touch(); references--; last = (references == 0) }
    if
    :: last -> last = false;
        shut_down();
        if
        :: !(in_callback) || MUTANT == 2 -> ended[0] && ended[1]
        :: else
        fi;
        drop_holding()
    :: else
    fi
}

inline add(w, mail, number) {
    atomic { touch(); refused = ending }
    if
    :: !refused ->
        atomic { touch(); slots++ }
        atomic {
            touch();
            if
            :: closed[w] -> refused = true
            :: else ->
                mail!operation(number);
                accepted[number] = true;
                sleeper = asleep[w];
                asleep[w] = false
            fi
        }
        if
        :: sleeper -> sleeper = false; atomic { touch(); signals[w]++ }
        :: else
        fi;
        if
        :: refused -> atomic { touch(); slots-- }
        :: else
        fi
    :: else
    fi
}

proctype User() {
    bool first, last, refused, sleeper, elsewhere;
    byte op;
    add(0, mail_0, 2);
    refused = false;
    add(1, mail_1, 3);
    refused = false;
    if
    :: shut_down()
    :: skip
    fi;
    /* The thread may be inside a callback of another port. */
    if
    :: elsewhere = true
    :: skip
    fi;
    dec_ref(elsewhere)
}

proctype OtherUser() {
    bool first, last, refused, sleeper;
    byte op;
    add(0, mail_0, 1);
    if
    :: refused -> refused = false; dec_ref(false)
    :: else
    fi
}

inline call_back() {
    touch();
    calls[op]++;
    assert(calls[op] == 1);
    if
    :: op == 1 -> dec_ref(true)
    :: else
    fi;
    atomic { touch(); slots--; op = 0 }
}

/* It slept and there is mail: the signal may have come, or other events ended the sleep before it. */
inline note_wake() {
    atomic {
        touch();
        if
        :: slept -> assert(!asleep[w]); slept = false; owed++
        :: else
        fi
    }
}

proctype Worker(byte w; chan mail; chan waiting) {
    bool first, last, ends, sleeper, slept;
    byte op, owed;
    do
    :: mail?operation(op) ->
        note_wake();
        if
        :: !ends -> waiting!op; op = 0
        :: ends -> call_back()
        fi
    :: mail?end_of_port(_) -> note_wake(); ends = true
    :: waiting?op -> call_back()
    :: atomic { !ends && !slept && empty(mail) && empty(waiting) ->
        touch(); asleep[w] = true; slept = true }
    :: ends && !slept && empty(waiting) ->
        /* EMPTY to CLOSED, or there is mail to take. */
        atomic {
            touch();
            if
            :: empty(mail) -> closed[w] = (MUTANT != 3); break
            :: else
            fi
        }
    od;
#if MUTANT != 4
    signals[w] == owed;
#endif
    drop_holding();
#if MUTANT == 1
    touch();
#endif
    ended[w] = true
}

init {
    atomic {
        run Worker(0, mail_0, waiting_0);
        run Worker(1, mail_1, waiting_1);
        run User();
        run OtherUser()
    }
    /* Everybody has left. */
    _nr_pr == 1;
    assert(freed)
}
