/* A completion port without input and output: it keeps what it accepts, and the test ends it.
 *
 * The first group of methods is the library's side: it refuses, counts references and ends adds and
 * submissions as the real port does. It asks the kernel nothing, so any number that is not negative
 * is a socket. It has no clock: a timer expires when the test completes it, and a deadline passes
 * when the test completes with (ERROR, -ETIMEDOUT).
 * MockCompletionPort::delegate_to makes them the mock's default behaviour.
 *
 * The other groups are the test's side. Every accepted add has a number: 1 for the first, counted
 * over all ports. An add is completed once; completing one that has ended, or in a way that the
 * real port never does (an amount beyond the buffer, EPOLLIN for a send), fails the test and calls
 * nothing back. A method that takes a socket means its oldest add that waits for that action.
 * The same holds for submissions; theirs is the id that completion_port_submit gave.
 *
 * Callbacks run one at a time, on the thread that fires them, with errno set as the real port
 * does and no lock held. From inside a callback every method may be called: what it fires runs when
 * that callback has returned. What the real port does later on its worker (the abandoning of
 * shutdown, remove_async and a close, on_removed, on_ended, a cancel, a post to a callback) waits
 * in a queue for the next fire or run_queued(); so it does where the port is caller-driven.
 *
 * The record of a submission or post without a callback is there for completion_port_wait as soon
 * as it has ended. That call never blocks and never calls back, whatever its timeout: it returns
 * -ETIMEDOUT when there is no record, and -ESHUTDOWN when there is none and the port is ending.
 *
 * A port that still has references when the capture is destroyed fails the test.
 * [CP-MOCK-2 to CP-MOCK-13, CP-MOCK-SOURCE, CP-STATS-9] */
#ifndef COMPLETIONPORT_TESTING_COMPLETION_CAPTURE_H
#define COMPLETIONPORT_TESTING_COMPLETION_CAPTURE_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "completionport/buffers.h"
#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "completionport/connections.h"
#include "completionport/files.h"
#include "completionport/messages.h"
#include "completionport/operations.h"
#include "completionport/options.h"
#include "completionport/source.h"
#include "completionport/stats.h"
#include "completionport/timers.h"

namespace completionport::testing {

/* An accepted add that has not been completed. */
struct CapturedAdd {
    uint64_t number;
    COMPLETION_PORT_HANDLE completion_port;
    COMPLETION_PORT_INGRESS_DATA ingress_data;
};

/* How an add ends. error is what errno says in the callback. */
struct Completion {
    COMPLETION_PORT_EPOLL_ACTION action;
    COMPLETION_PORT_RESULT result;
    int32_t amount = -1;
    int error = 0;
};

/* An operation as the library read it: what a shorter structure lacks is 0. common.kind tells which
 * of the others holds. */
union CapturedOperation {
    COMPLETION_PORT_OPERATION common;
    COMPLETION_PORT_RECEIVE_OPERATION receive;
    COMPLETION_PORT_SEND_OPERATION send;
    COMPLETION_PORT_POLL_OPERATION poll;
    COMPLETION_PORT_TIMER_OPERATION timer; /* expires_ns: when it expires next */
    COMPLETION_PORT_ACCEPT_OPERATION accept;
    COMPLETION_PORT_CONNECT_OPERATION connect;
    COMPLETION_PORT_SHUTDOWN_OPERATION shutdown;
    COMPLETION_PORT_CLOSE_OPERATION close;
    COMPLETION_PORT_RECEIVE_VECTOR_OPERATION receive_vector;
    COMPLETION_PORT_SEND_VECTOR_OPERATION send_vector;
    COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION receive_message;
    COMPLETION_PORT_SEND_MESSAGE_OPERATION send_message;
    COMPLETION_PORT_SENDFILE_OPERATION sendfile;
    COMPLETION_PORT_FILE_READ_OPERATION file_read;
    COMPLETION_PORT_FILE_WRITE_OPERATION file_write;
    COMPLETION_PORT_FILE_SYNC_OPERATION file_sync;
    COMPLETION_PORT_RECEIVE_POOLED_OPERATION receive_pooled;
};

/* An accepted submission that has not been completed. */
struct CapturedSubmission {
    uint64_t id; /* never 0, and beyond 32 bits, as the real port's */
    COMPLETION_PORT_HANDLE completion_port;
    CapturedOperation operation;
    bool cancel_asked;
};

/* How a submission ends: what its record says. */
struct SubmissionCompletion {
    COMPLETION_PORT_RESULT result;
    int32_t error = 0;      /* OK: 0; else a negative errno, which the callback finds in errno */
    int64_t value = 0;      /* as of COMPLETION_PORT_COMPLETION; bytes also before a failure */
    uint32_t flags = 0;     /* COMPLETION_PORT_COMPLETION_MORE: a record, but not the last */
    void* buffer = nullptr; /* of a receive from a pool: from draw_buffer */
};

/* The options that a port was made with. */
struct CapturedOptions {
    COMPLETION_PORT_OPTIONS options{}; /* worker_cpus, worker_nodes and name: NULL */
    std::vector<int32_t> worker_cpus;  /* of each worker; none where it was NULL */
    std::vector<int32_t> worker_nodes; /* the same; every node is there */
    std::optional<std::string> name;   /* none where it was NULL */
};

/* A source that has not been detached. */
struct CapturedSource {
    uint64_t id; /* never 0, and beyond 32 bits, as the real port's */
    COMPLETION_PORT_HANDLE completion_port;
    COMPLETION_PORT_SOURCE source; /* a budget of 0: 64 */
    size_t kicks;                  /* since it was drained */
};

class CompletionCapture {
 public:
    CompletionCapture();
    ~CompletionCapture();
    CompletionCapture(const CompletionCapture&) = delete;
    CompletionCapture& operator=(const CompletionCapture&) = delete;

    /* The library's side. A handle that is not this capture's, or was freed, fails the test. */
    COMPLETION_PORT_HANDLE completion_port_create();
    COMPLETION_PORT_HANDLE completion_port_create_with_options(
        const COMPLETION_PORT_OPTIONS* options);
    void completion_port_inc_ref(COMPLETION_PORT_HANDLE completion_port);
    void completion_port_dec_ref(COMPLETION_PORT_HANDLE completion_port);
    int completion_port_shutdown(COMPLETION_PORT_HANDLE completion_port);
    int completion_port_add(COMPLETION_PORT_HANDLE completion_port,
                            const COMPLETION_PORT_INGRESS_DATA* ingress_data);
    void completion_port_remove(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket);
    int completion_port_remove_async(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket,
                                     ON_COMPLETION_PORT_REMOVED on_removed, void* context);
    int completion_port_submit(COMPLETION_PORT_HANDLE completion_port,
                               const COMPLETION_PORT_OPERATION* operation, uint64_t* id,
                               COMPLETION_PORT_COMPLETION* completed);
    int completion_port_submit_batch(COMPLETION_PORT_HANDLE completion_port,
                                     const COMPLETION_PORT_OPERATION* const* operations,
                                     uint32_t count, uint64_t* ids);
    /* A cancelled submission stays pending, with cancel_asked, and ends (ABANDONED, -ECANCELED) at
     * the next fire or run_queued(); one without a callback at the next completion_port_wait, too.
     * Until then the test may complete it in another way: the cancel came too late. In the same way
     * an accepted close ends OK by itself, and closes nothing. */
    int completion_port_cancel(COMPLETION_PORT_HANDLE completion_port, uint64_t operation);
    int completion_port_timer_move(COMPLETION_PORT_HANDLE completion_port, uint64_t timer,
                                   uint64_t expires_ns);
    int completion_port_post(COMPLETION_PORT_HANDLE completion_port, uint64_t key, int64_t value,
                             ON_COMPLETION_PORT_COMPLETION on_complete, void* context);
    int completion_port_wait(COMPLETION_PORT_HANDLE completion_port,
                             COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max,
                             int64_t timeout_ns);
    /* A wait keeps to the limit of threads that process records: -ETIMEDOUT over it. */
    int completion_port_wait_leave(COMPLETION_PORT_HANDLE completion_port);
    /* Of a caller-driven port: a number that is no open descriptor. A loop that waits for it needs
     * one of the test's own, from an expectation of the mock. */
    int completion_port_fd(COMPLETION_PORT_HANDLE completion_port);
    /* Of a caller-driven port: 0 where a record that this thread may take, or a queued callback
     * is there, else INT64_MAX. */
    int64_t completion_port_next_timeout(COMPLETION_PORT_HANDLE completion_port);
    /* Sources are drained by the test alone; a kick is counted. */
    int completion_port_source_attach(COMPLETION_PORT_HANDLE completion_port,
                                      const COMPLETION_PORT_SOURCE* source, uint64_t* id);
    int completion_port_source_kick(COMPLETION_PORT_HANDLE completion_port, uint64_t id);
    int completion_port_source_detach(COMPLETION_PORT_HANDLE completion_port, uint64_t id);

    COMPLETION_PORT_BUFFER_POOL_HANDLE completion_port_buffer_pool_create(
        COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_BUFFER_POOL_OPTIONS* options);
    void completion_port_buffer_pool_destroy(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool);
    int64_t completion_port_buffer_pool_in_use(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool);
    int completion_port_buffer_release(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool,
                                       void* buffer);
    /* What the test has set, below; before that, zeroes but for workers, engine and reason. */
    int completion_port_stats(COMPLETION_PORT_HANDLE completion_port, COMPLETION_PORT_STATS* stats);
    int completion_port_worker_stats(COMPLETION_PORT_HANDLE completion_port, uint32_t worker,
                                     COMPLETION_PORT_WORKER_STATS* stats);

    /* The test's side, adds: what waits, oldest first. */
    std::vector<CapturedAdd> pending() const;
    std::vector<CapturedAdd> pending(SOCKET_HANDLE socket) const;
    size_t pending_count() const;
    /* The number of the newest accepted add; 0 before the first. */
    uint64_t last_number() const;
    /* References that are held on the port; 0 when it was freed or is not this capture's. */
    size_t references(COMPLETION_PORT_HANDLE completion_port) const;
    /* What the port was made with: all zero for completion_port_create, and for a port that is not
     * this capture's. */
    CapturedOptions options(COMPLETION_PORT_HANDLE completion_port) const;
    /* What completion_port_stats and completion_port_worker_stats say from here on; their sizes do
     * not matter. A port that is not this capture's, or a worker that it has not, fails the test.
     * There is no log: a test calls options(port).options.on_log itself. */
    void set_stats(COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_STATS& stats);
    void set_worker_stats(COMPLETION_PORT_HANDLE completion_port, uint32_t worker,
                          const COMPLETION_PORT_WORKER_STATS& stats);

    /* Completes the socket's oldest add that waits for the action. True if one was completed. */
    bool complete(SOCKET_HANDLE socket, COMPLETION_PORT_EPOLL_ACTION action,
                  COMPLETION_PORT_RESULT result, int32_t amount, int error = 0);
    /* Completes the add of that number. */
    bool complete_number(uint64_t number, const Completion& completion);
    /* Copies bytes into the buffer of the oldest read and completes it OK, as a stream does: at
     * most as many as the buffer takes. Returns how many it took; no bytes are the stream's end. */
    size_t fill_and_complete(SOCKET_HANDLE socket, std::string_view bytes);
    size_t fill_and_complete(std::string_view bytes);
    /* Returns the bytes of the socket's oldest send and completes it OK. */
    std::string take_and_complete(SOCKET_HANDLE socket);

    /* The test's side, submissions: what waits, oldest first. Timers have no descriptor. */
    std::vector<CapturedSubmission> submissions() const;
    std::vector<CapturedSubmission> submissions(int descriptor) const;
    std::vector<CapturedSubmission> timers() const;
    size_t submission_count() const;
    /* The id of the newest accepted submission; 0 before the first. */
    uint64_t last_submission() const;
    /* The id of the descriptor's oldest submission of that COMPLETION_PORT_KIND_... that waits. If
     * there is none, the test fails and 0 is returned. */
    uint64_t oldest_submission(int descriptor, uint32_t kind) const;
    /* Records that completion_port_wait has not taken yet. */
    size_t record_count(COMPLETION_PORT_HANDLE completion_port) const;

    /* Completes the submission, or gives one of its records where that has MORE among its flags: of
     * a periodic timer or a multishot accept, which then still waits and ends with a result that is
     * not OK. Such a timer's expires_ns moves on by its expirations. True if it was done. */
    bool complete_submission(uint64_t id, const SubmissionCompletion& completion);
    /* As fill_and_complete and take_and_complete, for a receive or a read of a file, and a send or
     * a write, also of vectors and of messages: of a received message only the bytes, neither
     * address nor ancillary data. A receive from a pool gets them in a buffer that is drawn as by
     * draw_buffer, at most as many as its largest holds; no bytes are the stream's end. Where no
     * buffer is left it ends with (ERROR, -ENOBUFS), and 0 is returned. */
    size_t fill_submission(uint64_t id, std::string_view bytes);
    std::string take_submission(uint64_t id);
    /* A buffer of the pool that is in use and holds these bytes, as long as the smallest that fits.
     * NULL where the budget does not allow it, the pool was destroyed, or they fit none. */
    void* draw_buffer(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool, std::string_view bytes);
    /* Without these two a submission with COMPLETION_PORT_FLAG_INLINE stays pending and returns 0.
     * Each makes one accepted submission with that flag succeed at once, the next that no call
     * before it was meant for: with that value, or, a receive, with those bytes (as many as its
     * buffer takes). It may be made outside callbacks too, where the real port never does so. What
     * does not fit the submission fails the test, and the submission stays pending. */
    void succeed_inline(int64_t value);
    void fill_inline(std::string_view bytes);

    /* The test's side, sources: what is attached, oldest first. */
    std::vector<CapturedSource> sources() const;
    /* Calls drain with the source's budget, or arm, once, as the worker does, outside callbacks.
     * Returns what that returned; a negative errno detaches the source. */
    int32_t drain_source(uint64_t id);
    int32_t arm_source(uint64_t id);

    /* The test's side, all. */
    /* Ends all that waits now, oldest first: adds with (CLOSING, ABANDONED, -1), submissions with
     * (ABANDONED, -ECANCELED), sources with -ECANCELED. */
    void abandon_all();
    /* Runs what shutdown, remove_async, cancel and post left for the worker. */
    void run_queued();

 private:
    size_t fill_pooled(const CapturedSubmission& receive, std::string_view bytes);

    class State;
    std::unique_ptr<State> state_;
};

}  // namespace completionport::testing

#endif
