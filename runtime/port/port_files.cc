// Operations on files at offsets: what files.h asks of the port.
#include <cerrno>

#include "runtime/check.h"
#include "runtime/port/port.h"
#include "runtime/port/port_templates.h"

namespace cport {

int Port::check_file(const SubmitRequest& request) {
    const int kind = platform_.kernel.file_kind(request.descriptor);
    if (kind < 0) return kind;
    const bool syncs = request.record_kind == COMPLETION_PORT_KIND_FILE_SYNC;
    switch (static_cast<platform::FileKind>(kind)) {
        case platform::FileKind::kRegular:
        case platform::FileKind::kBlockDevice:
            return 0;
        case platform::FileKind::kDirectory:
            return syncs ? 0 : -EISDIR;
        case platform::FileKind::kNone:
            break;
    }
    return syncs ? -EINVAL : -ESPIPE;
}

int Port::accept_file(Socket& socket, uint32_t& generation) {
    uint64_t word = socket.word.load(std::memory_order_acquire);
    uint64_t accepted = 0;
    do {
        // A removal that is awaited waits for what is under way: there must not come ever more.
        if ((word & SocketWord::kRemoving) != 0 || SocketWord::removal_awaited(word)) {
            return -ECANCELED;
        }
        if ((word & SocketWord::kPendingMask) == SocketWord::kPendingMask) return -ENOBUFS;
        accepted = (word | SocketWord::kUsedAsFile) + SocketWord::kPendingOne;
    } while (!socket.word.compare_exchange_weak(word, accepted, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
    generation = SocketWord::generation(accepted);
    return 0;
}

int Port::submit_file(const SubmitRequest& request, uint64_t* id,
                      COMPLETION_PORT_COMPLETION* completed) {
    int error = refusal();
    if (error == 0 && request.deadline_ns != 0) error = check_time(request.deadline_ns);
    if (error == 0) error = check_file(request);
    if (error == 0) error = files_.start();
    if (error != 0) return error;
    Socket* socket = table_.find(request.descriptor);
    if (socket == nullptr || owner_or_none(*socket) == nullptr) {
        socket = adopt(request.descriptor, error);
    }
    if (socket == nullptr) return error;
    Worker& worker = owner_of(*socket);
    const bool owner = is_current(worker);
    Operation* operation = take_slot(worker, owner, error);
    if (operation == nullptr) return error;
    uint32_t generation = 0;
    error = accept_file(*socket, generation);
    if (error == 0) {
        request.write(*operation, *socket, generation);
        operation->kind = TaskKind::kFile;
        if (id != nullptr) *id = operation->id();
        if (owner && request.inline_success) {
            if (!worker.owner().accept_file_inline(*operation)) return 0;
            operation->write_record(*completed);
            worker.counters().count_inline(operation->record_kind);
            worker.slab().release_as_owner(operation);
            return 1;
        }
        if (owner) {
            worker.owner().arrive_file(*operation);
            return 0;
        }
        if (worker.post(*operation)) return 0;
        socket->word.fetch_sub(SocketWord::kPendingOne, std::memory_order_acq_rel);
        error = -ESHUTDOWN;
    }
    release_slot(worker, operation, owner);
    return error;
}

void Port::file_done(void* port, Operation& operation) {
    Worker& worker = static_cast<Port*>(port)->workers_[Slab::number_of(operation.slot)];
    operation.kind = TaskKind::kFileDone;
    // A worker does not end before its files have come back.
    CPORT_CHECK(worker.post(operation));
}

}  // namespace cport
