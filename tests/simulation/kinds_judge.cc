// What is right of a run of the newer kinds: each completion is held against what was asked for.
#include <cerrno>
#include <string>

#include "tests/simulation/kinds_run.h"

namespace cport::test {

std::string KindsRun::describe(const Operation& operation) {
    std::string text = "operation " + std::to_string(operation.number) + " of kind " +
                       std::to_string(operation.kind) + " with " +
                       std::to_string(operation.bytes.size()) + " bytes";
    if (operation.connection) {
        text += " on " + std::to_string(operation.connection->ours) +
                (operation.connection->is_tcp ? " (TCP)" : " (unix)");
    }
    if (operation.time_ns != 0) text += " time " + std::to_string(operation.time_ns);
    if (!operation.accepted) return text + " was refused";
    if (operation.endings == 0) return text + " waits";
    return text + " ended " + std::to_string(operation.record.result) + " value " +
           std::to_string(operation.record.value) + " error " +
           std::to_string(operation.record.error);
}

// How much of a send went out before it failed is the machine's choice.
std::string KindsRun::how_it_ended(const Operation& operation, const Record& record) {
    const bool part = operation.is_write() && record.error != 0 && record.value > 0;
    return "ended " + std::to_string(record.result) + " error " + std::to_string(record.error) +
           " value " + (part ? "of a part" : std::to_string(record.value));
}

// Completions of one direction of a socket have an order; what ends elsewhere has none to them.
void KindsRun::tell_end(const Operation& operation) {
    std::string stream = "other " + std::to_string(operation.number);
    if (operation.connection && (operation.is_read() || operation.is_write())) {
        stream =
            (operation.is_read() ? "from " : "to ") + std::to_string(operation.connection->number);
    }
    told_[stream] += std::to_string(operation.number) + " of kind " +
                     std::to_string(operation.kind) + " " +
                     how_it_ended(operation, operation.record) + "; ";
}

// A callback may come before the call that began its operation returns.
void KindsRun::tell_call(const Operation& operation, const char* call, int code) {
    told_[call + std::to_string(operation.number)] += std::to_string(code) + " ";
}

std::string KindsRun::told() {
    Lock lock(mutex_);
    std::string text;
    for (const auto& [stream, what] : told_) {
        text.append(stream).append(": ").append(what).append("\n");
    }
    return text;
}

void KindsRun::forget_told() {
    Lock lock(mutex_);
    told_.clear();
}

void KindsRun::on_complete(void* context, const Record* record) {
    auto& operation = *static_cast<Operation*>(context);
    operation.run->complete(operation, *record);
}

void KindsRun::complete(Operation& operation, const Record& record) {
    bool again = false;
    uint64_t choice = 0;
    const int64_t now = now_ns();
    {
        Lock lock(mutex_);
        operation.record = record;
        tell_end(operation);
        if (++operation.endings > 1) blame(describe(operation) + " once more");
        const std::string wrong = judge(operation, record);
        if (!wrong.empty()) blame(describe(operation) + ": " + wrong);
        if (operation.time_ns != 0 && record.error == -ETIMEDOUT && now < operation.time_ns) {
            blame(describe(operation) + " expired early");
        }
        again = operation.again && record.error == 0 && !port_ends_ && operation.connection &&
                !operation.connection->closing;
        choice = operation.number * 2'654'435'761u;
    }
    if (!again || (!operation.is_read() && !operation.is_write())) return;
    submit(operation.kind, operation.connection, choice);
}

std::string KindsRun::judge(Operation& operation, const Record& record) {
    if (record.flags != 0 || record.kind != operation.kind) return "another record";
    if ((record.error == 0) != (record.result == COMPLETION_PORT_RESULT_OK)) return "odd result";
    std::string wrong = judge_bytes(operation, record);
    if (!wrong.empty()) return wrong;
    if (record.error != 0) return judge_end(operation, record);
    ++ended_ok_;
    if (operation.kind == COMPLETION_PORT_KIND_POST) {
        const bool next = record.value == ++last_post_ended_;
        return next ? "" : "posts came out of order";
    }
    return "";
}

std::string KindsRun::judge_bytes(Operation& operation, const Record& record) {
    if (!operation.is_read() && !operation.is_write()) return "";
    Connection& connection = *operation.connection;
    const auto length = static_cast<size_t>(record.value);
    if (record.value < 0 || length > operation.bytes.size()) return "a value out of range";
    if (operation.is_write()) {
        connection.sent.append(operation.bytes, 0, length);
        const bool whole = length == operation.bytes.size();
        connection.torn |= length > 0 && !whole;
        if (record.error == 0 && !whole) return "part of a send is OK";
    } else if (length > 0) {
        if (connection.peer_sent.compare(connection.received, length, operation.bytes, 0, length)) {
            return "bytes that are not the next ones of its peer";
        }
        connection.received += length;
    } else if (record.error == 0 && !connection.peer_ended) {
        return "an end of the stream, though the peer goes on";
    }
    return "";
}

std::string KindsRun::judge_end(const Operation& operation, const Record& record) {
    const Connection* connection = operation.connection.get();
    switch (record.error) {
        case -ECANCELED:
            if (operation.cancelled || port_ends_) return "";
            if (connection == nullptr) return "cancelled, though nobody asked";
            if (record.result == COMPLETION_PORT_RESULT_ERROR) {
                return connection->torn ? "" : "cut off, though nothing before it was";
            }
            return connection->removed ? "" : "abandoned, though nobody ended it";
        case -ETIMEDOUT:
            return operation.time_ns != 0 ? "" : "expired without a deadline";
        case -ENOTCONN:
            // Of a connection that both have ended.
            return operation.kind == COMPLETION_PORT_KIND_SHUTDOWN && connection->peer_ended
                       ? ""
                       : "a connection that stands is none";
        case -EPIPE:
            return connection != nullptr && connection->shut ? "" : "EPIPE without a shutdown";
        default:
            return "a failure without cause";
    }
}

}  // namespace cport::test
