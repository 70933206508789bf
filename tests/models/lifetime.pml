/* The last reference of a port: who ends it, who waits for the workers, who frees it.
 *
 * Spec: MODEL-LIFETIME-1, MODEL-LIFETIME-2, MODEL-LIFETIME-3, MODEL-LIFETIME-4
 *
 * Holders of the port's memory are its workers and, as one, all its references. The mailbox is a
 * channel with a closed state, as MODEL-MAILBOX proves. An add that pushed wakes the worker
 * afterwards, and so touches the port once more.
 *
 * MUTANT 1: a worker touches the port after it gave up its holding.
 * MUTANT 2: the last dec_ref in a callback waits for the workers.
 * MUTANT 3: a worker that ends leaves its mailbox open.
 * MUTANT 4: a caller breaks the rule of references: its add's callback gives back the only one. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define WORKERS 2
#define OPERATIONS 3

/* Two threads hold one each, and operation 1 holds one that its callback gives back. */
#if MUTANT == 4
byte references = 2;
#else
byte references = 3;
#endif
byte holders = WORKERS + 1;
bool ending;
bool freed;
bool closed[WORKERS];
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

inline shut_down() {
    atomic { touch(); first = !ending; ending = true }
    if
    :: first -> first = false;
        mail_0!end_of_port(0); touch();
        mail_1!end_of_port(0); touch()
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
            :: else -> mail!operation(number); accepted[number] = true
            fi
        }
        atomic {
            touch();
            if
            :: refused -> slots--
            :: else
            fi
        }
    :: else
    fi
}

proctype User() {
    bool first, last, refused;
    byte op;
    add(0, mail_0, 2);
    refused = false;
    if
    :: shut_down()
    :: skip
    fi;
    dec_ref(false)
}

proctype OtherUser() {
    bool first, last, refused, elsewhere;
    byte op;
    add(0, mail_0, 1);
    if
    :: refused -> refused = false; dec_ref(false)
    :: else
    fi;
#if MUTANT != 4
    add(1, mail_1, 3);
    refused = false;
    /* The thread may be inside a callback of another port. */
    if
    :: elsewhere = true
    :: skip
    fi;
    dec_ref(elsewhere)
#endif
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

proctype Worker(byte w; chan mail; chan waiting) {
    bool first, last, ends;
    byte op;
    do
    :: mail?operation(op) ->
        touch();
        if
        :: !ends -> waiting!op; op = 0
        :: ends -> call_back()
        fi
    :: mail?end_of_port(_) -> touch(); ends = true
    :: waiting?op -> call_back()
    :: ends && empty(waiting) ->
        /* EMPTY to CLOSED, or there is mail to take. */
        atomic {
            touch();
            if
            :: empty(mail) -> closed[w] = (MUTANT != 3); break
            :: else
            fi
        }
    od;
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
