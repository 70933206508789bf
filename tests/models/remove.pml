/* Removing a socket against adds, callbacks and another removal: one record, its owner, foreign
 * threads that add, that remove and wait, and that remove without waiting, with on_removed or from
 * a callback elsewhere with a notice.
 *
 * Spec: MODEL-REMOVE-1, MODEL-REMOVE-2, MODEL-REMOVE-3
 * Spec: MODEL-REMOVE-4, MODEL-REMOVE-5, MODEL-REMOVE-6
 *
 * The record's word {generation, removing, pending} changes in one step, as a compare and
 * exchange does. The mailbox is a channel in order of publication: MODEL-MAILBOX proves that.
 *
 * MUTANT 1: on_removed does not wait for adds on their way (pending).
 * MUTANT 2: the waiter is told when its message is handled, not after the abandoned callbacks.
 * MUTANT 3: an add that arrives is queued without comparing its stamp.
 * MUTANT 4: a foreign add does not look at the removing flag.
 * MUTANT 5: the owner marks the notice as taken only after it has read the generation. */

#ifndef MUTANT
#define MUTANT 0
#endif

/* Operations 1 and 2 come from a thread each, 3 from the callback of 1. The callback of 2 removes
 * the socket on the owner. */
#define OPERATIONS 3

byte generation;
bool removing;
byte pending;

byte stamp[OPERATIONS + 1];
bool accepted[OPERATIONS + 1];
bool returned[OPERATIONS + 1];
byte calls[OPERATIONS + 1];
byte running;
bool running_removed;

mtype = { operation, removal, removal_async, notice, callback, waiter, on_removed };
chan mail = [6] of { mtype, byte };
chan waiting = [4] of { byte };
chan run_list = [8] of { mtype, byte };

bool signalled;
byte foreign_done;
byte removed_calls;
bool removed_accepted;
/* Messages of removals that wait for adds on their way. */
bool removed_waits;
bool waiter_waits;
bool notice_posted;
/* The generation that the owner's queue is of. */
byte owner_generation;

#if MUTANT == 4
#define REFUSED false
#else
#define REFUSED removing
#endif

proctype Add(byte op) {
    atomic {
        if
        :: REFUSED -> goto refused
        :: else -> pending++; stamp[op] = generation; accepted[op] = true
        fi
    }
    atomic { mail!operation(op); returned[op] = true }
refused:
    foreign_done++
}

/* Blocks until the owner has come to the message on its run list. */
proctype Remove() {
    bool before[OPERATIONS + 1];
    byte i;
    d_step {
        for (i : 1 .. OPERATIONS) { before[i] = returned[i] }
        i = 0
    }
    generation++;
    mail!removal(0);
    signalled;
    d_step {
        for (i : 1 .. OPERATIONS) {
            assert(!before[i] || (calls[i] == 1 && running != i));
            before[i] = false
        }
        i = 0
    }
    foreign_done++
}

/* From a callback elsewhere: the owner hears of the new generation by a notice, of which there is
 * one a socket. */
inline remove_by_notice() {
    generation++;
    atomic { was_posted = notice_posted; notice_posted = true }
    if
    :: !was_posted -> mail!notice(0)
    :: else
    fi
}

proctype RemoveWithoutWaiting() {
    bool was_posted;
    if
    :: atomic { removing = true; generation++; removed_accepted = true }
        mail!removal_async(0)
    :: remove_by_notice();
        remove_by_notice()
    fi;
    atomic { was_posted = false; foreign_done++ }
}

/* Queues, run list and owner_generation are the owner's alone: its steps are cut where it touches
 * what others do. */

/* What is queued is of an older generation: it goes to the run list, in order. */
inline catch_up() {
    d_step {
        if
        :: owner_generation != generation ->
            do
            :: nempty(waiting) -> waiting?moved; run_list!callback(moved)
            :: else -> break
            od;
            moved = 0;
            owner_generation = generation
        :: else
        fi
    }
}

inline accept(number) {
    catch_up();
    if
    :: MUTANT != 3 && stamp[number] != owner_generation -> run_list!callback(number)
    :: else -> waiting!number
    fi
}

inline call_back() {
    if
    :: op == 1 ->
        /* An add on the owner goes to the queue without the mailbox. */
        atomic {
            if
            :: removing
            :: else -> stamp[3] = generation; accepted[3] = true
            fi
        }
        if
        :: accepted[3] -> atomic { accept(3); returned[3] = true }
        :: else
        fi
    :: op == 2 ->
        /* In effect when it returns. */
        generation++;
        catch_up()
    :: else
    fi;
    atomic { running = 0; op = 0 }
}

inline call_removed() {
    atomic {
        assert(running == 0 && removing);
        running_removed = true;
        for (moved : 1 .. OPERATIONS) { assert(!accepted[moved] || calls[moved] == 1) }
        moved = 0;
        removed_calls++;
        removing = false
    }
    running_removed = false
}

proctype Owner() {
    byte op, moved;
    bool none_pending;
    do
    :: atomic { mail?operation(op) -> pending--; none_pending = (pending == 0) }
        atomic {
            accept(op);
            op = 0;
            if
            :: none_pending && removed_waits ->
                removed_waits = false;
                run_list!on_removed(0);
                if
                :: waiter_waits -> waiter_waits = false; run_list!waiter(0)
                :: else
                fi
            :: else
            fi;
            none_pending = false
        }
    :: atomic { mail?removal(_) -> catch_up() }
#if MUTANT == 2
        signalled = true
#else
        atomic {
            if
            :: removed_waits -> waiter_waits = true
            :: else -> run_list!waiter(0)
            fi
        }
#endif
    :: atomic { mail?removal_async(_) -> catch_up() }
        atomic {
            if
            :: MUTANT == 1 || pending == 0 -> run_list!on_removed(0)
            :: else -> removed_waits = true
            fi
        }
    :: mail?notice(_) ->
#if MUTANT == 5
        catch_up();
        notice_posted = false
#else
        notice_posted = false;
        catch_up()
#endif
    :: nempty(waiting) ->
        /* The kernel says ready. */
        atomic {
            waiting?op;
            assert(stamp[op] == owner_generation);
            run_list!callback(op);
            op = 0
        }
    :: atomic {
            run_list?callback(op);
            assert(running == 0 && !running_removed);
            running = op;
            calls[op]++;
            assert(calls[op] == 1)
        }
        call_back()
    :: run_list?waiter(_) -> signalled = true
    :: run_list?on_removed(_) -> call_removed()
    :: foreign_done == 4 && empty(mail) && empty(waiting) && empty(run_list) -> break
    od;
    atomic {
        for (op : 1 .. OPERATIONS) { assert(calls[op] == accepted[op]) }
        assert(pending == 0 && !removing);
        assert(removed_calls == removed_accepted);
        assert(owner_generation == generation)
    }
}

init {
    atomic {
        run Add(1);
        run Add(2);
        run Remove();
        run RemoveWithoutWaiting();
        run Owner()
    }
}
