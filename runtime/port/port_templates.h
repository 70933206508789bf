// How an accepted form becomes an operation; for port*.cc alone.
#pragma once

#include <cerrno>

#include "runtime/port/port.h"

namespace cport {

inline Socket* Port::find_or_create(int descriptor, Worker*& owner, int& error) {
    Socket* socket = table_.find(descriptor);
    owner = socket == nullptr ? nullptr : owner_or_none(*socket);
    if (owner == nullptr) [[unlikely]] {
        socket = first_use(descriptor, error);
        if (socket == nullptr) return nullptr;
        owner = owner_or_none(*socket);
    }
    return socket;
}

template <typename Request>
inline Operation* Port::accept_as_owner(Worker& worker, Socket& socket, const Request& request,
                                        int& error) {
    Operation* operation = worker.slab().take_as_owner(error);
    if (operation == nullptr) [[unlikely]]
        return nullptr;
    const uint64_t word = socket.word.load(std::memory_order_acquire);
    uint32_t generation = SocketWord::generation(word);
    // What most sockets are; the rest is looked at closely.
    if (!SocketWord::takes_any_add(word)) [[unlikely]] {
        error = accept_add(socket, request.needs_socket(), false, generation);
        if (error != 0) {
            worker.slab().release_as_owner(operation);
            return nullptr;
        }
    }
    request.write(*operation, socket, generation);
    return operation;
}

template <typename Request>
int Port::add_from_elsewhere(Worker& worker, Socket& socket, Request request, uint64_t* id) {
    int error = 0;
    Operation* operation = take_mail_slot(worker, error);
    if (operation == nullptr) return error;
    uint32_t generation = 0;
    error = accept_add(socket, request.needs_socket(), true, generation);
    if (error == 0) {
        request.write(*operation, socket, generation);
        if (id != nullptr) *id = operation->id();
        if (worker.post(*operation)) return 0;
        socket.word.fetch_sub(SocketWord::kPendingOne, std::memory_order_acq_rel);
        error = -ESHUTDOWN;
    }
    release_mail_slot(worker, operation);
    return error;
}

}  // namespace cport
