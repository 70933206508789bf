/* A completion port without input and output: it keeps accepted adds, and the test fires them.
 *
 * The first group of methods is the library's side: it refuses, counts references and ends adds as
 * the real port does. It asks the kernel nothing, so any number that is not negative is a socket.
 * MockCompletionPort::delegate_to makes them the mock's default behaviour.
 *
 * The second group is the test's side. Every accepted add has a number: 1 for the first, counted
 * over all ports. An add is completed once; completing one that has ended, or in a way that the
 * real port never does (an amount beyond the buffer, EPOLLIN for a send), fails the test and calls
 * nothing back. A group that takes a socket means its oldest add that waits for that action.
 *
 * Callbacks run one at a time, on the thread that fires them, with errno set as the real port
 * does and no lock held. From inside a callback every method may be called: what it fires runs when
 * that callback has returned. What the real port does later on its worker (the abandoning of
 * shutdown and remove_async, and on_removed) waits in a queue for the next fire or run_queued().
 *
 * A port that still has references when the capture is destroyed fails the test. */
#ifndef COMPLETIONPORT_TESTING_COMPLETION_CAPTURE_H
#define COMPLETIONPORT_TESTING_COMPLETION_CAPTURE_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "completionport/completion_port.h"

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

class CompletionCapture {
 public:
    CompletionCapture();
    ~CompletionCapture();
    CompletionCapture(const CompletionCapture&) = delete;
    CompletionCapture& operator=(const CompletionCapture&) = delete;

    /* The library's side. A handle that is not this capture's, or was freed, fails the test. */
    COMPLETION_PORT_HANDLE completion_port_create();
    void completion_port_inc_ref(COMPLETION_PORT_HANDLE completion_port);
    void completion_port_dec_ref(COMPLETION_PORT_HANDLE completion_port);
    int completion_port_shutdown(COMPLETION_PORT_HANDLE completion_port);
    int completion_port_add(COMPLETION_PORT_HANDLE completion_port,
                            const COMPLETION_PORT_INGRESS_DATA* ingress_data);
    void completion_port_remove(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket);
    int completion_port_remove_async(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket,
                                     ON_COMPLETION_PORT_REMOVED on_removed, void* context);

    /* The test's side: what waits, oldest first. */
    std::vector<CapturedAdd> pending() const;
    std::vector<CapturedAdd> pending(SOCKET_HANDLE socket) const;
    size_t pending_count() const;
    /* The number of the newest accepted add; 0 before the first. */
    uint64_t last_number() const;
    /* References that are held on the port; 0 when it was freed or is not this capture's. */
    size_t references(COMPLETION_PORT_HANDLE completion_port) const;

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
    /* Ends every add that waits now with (CLOSING, ABANDONED, -1), oldest first. */
    void abandon_all();
    /* Runs what shutdown and remove_async left for the worker. */
    void run_queued();

 private:
    class State;
    std::unique_ptr<State> state_;
};

}  // namespace completionport::testing

#endif
