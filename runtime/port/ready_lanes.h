// Sockets that can advance. Three lanes, so that who has little to do does not wait for who has
// much: sparse sockets go first, bulk ones and listeners let a bounded number of turns pass. A bulk
// socket has several turns before the next one has its first: a visit.
#pragma once

#include <cstdint>

#include "runtime/operation/socket.h"

namespace cport {

// First in, first out. A socket is on one list at most.
class ReadyList {
 public:
    ReadyList() = default;
    ReadyList(const ReadyList&) = delete;
    ReadyList& operator=(const ReadyList&) = delete;

    bool empty() const { return head_ == nullptr; }

    void push(Socket& socket) {
        socket.next_ready = &socket;
        (head_ == nullptr ? head_ : tail_->next_ready) = &socket;
        tail_ = &socket;
    }

    void push_front(Socket& socket) {
        if (head_ == nullptr) {
            push(socket);
            return;
        }
        socket.next_ready = head_;
        head_ = &socket;
    }

    Socket* front() const { return head_; }
    // There is one.
    Socket& pop() {
        Socket& first = *head_;
        head_ = &first == tail_ ? nullptr : first.next_ready;
        first.next_ready = nullptr;
        return first;
    }

 private:
    Socket* head_ = nullptr;
    Socket* tail_ = nullptr;
};

class ReadyLanes {
 public:
    // While a bulk socket waits, at most this many sparse ones in a row go before it. A turn of 64
    // bytes to and fro costs about a tenth of one of 256 KiB: so neither lane takes most of the
    // time from the other.
    static constexpr int kSparseTurnsMax = 16;
    // While connections wait to be accepted, at most this many other sockets have their turn before
    // some of them are. Who connects waits for the listener, and then for its own first turn: among
    // a thousand busy sockets, those that are accepted last would begin long after the first.
    static constexpr int kTurnsBetweenAcceptsMax = 64;
    // A visit ends before so many bytes are moved, to and fro and by anyone, or after so many
    // turns. What belongs to one socket, and the buffer that its bytes pass through, is in near
    // caches meanwhile: among a thousand sockets several turns in a row cost a third less than the
    // same turns one by one. Visits twice as long cost less still, but others wait five times as
    // long.
    static constexpr uint64_t kVisitBytesMax = 1u << 20;
    static constexpr int kVisitTurnsMax = 16;

    bool empty() const { return sparse_.empty() && bulk_.empty() && accepting_.empty(); }

    // `moved` is how many bytes all sockets have moved so far.
    // By what its last turn was.
    void push(Socket& socket, uint64_t moved) {
        socket.has(kBulk) ? push_bulk(socket, moved) : sparse_.push(socket);
    }
    // Whatever its last turn was.
    void push_bulk(Socket& socket, uint64_t moved) {
        const bool visited = &socket == visited_;
        if (visited && socket.has(kBulk) && visit_goes_on(moved)) {
            bulk_.push_front(socket);
            return;
        }
        if (visited) visited_ = nullptr;
        bulk_.push(socket);
    }
    // A listener that has more to accept.
    void push_accepting(Socket& socket) { accepting_.push(socket); }

    // There is one.
    Socket& take(uint64_t moved) {
        if (bulk_.empty() && accepting_.empty()) [[likely]]
            return sparse_.pop();
        if (accepting_.is_due(sparse_.empty() && bulk_.empty())) return accepting_.pop();
        if (bulk_.is_due(sparse_.empty())) return visit(bulk_.pop(), moved);
        return sparse_.pop();
    }
    // Whose turn most likely is next, listeners aside.
    Socket* likely_next() const { return sparse_.empty() ? bulk_.front() : sparse_.front(); }

 private:
    // Lets others go first, `kPassesMax` times in a row.
    template <int kPassesMax>
    class PatientList : public ReadyList {
     public:
        // Asked once a turn.
        bool is_due(bool others_empty) {
            if (empty()) return false;
            if (!others_empty && passes_++ < kPassesMax) return false;
            passes_ = 0;
            return true;
        }

     private:
        int passes_ = 0;
    };

    // With another turn that moves as much as the last.
    bool visit_goes_on(uint64_t moved) const {
        const uint64_t with_another = (moved - visit_began_at_) + (moved - turn_began_at_);
        return visit_turns_ < kVisitTurnsMax && with_another <= kVisitBytesMax;
    }
    Socket& visit(Socket& socket, uint64_t moved) {
        if (&socket != visited_) {
            visited_ = &socket;
            visit_began_at_ = moved;
            visit_turns_ = 0;
        }
        turn_began_at_ = moved;
        ++visit_turns_;
        return socket;
    }

    ReadyList sparse_;
    PatientList<kSparseTurnsMax> bulk_;
    PatientList<kTurnsBetweenAcceptsMax> accepting_;
    // Who had the last turn of the bulk lane and may have another; it may wait for an edge by now.
    const Socket* visited_ = nullptr;
    uint64_t visit_began_at_ = 0;  // in bytes moved
    uint64_t turn_began_at_ = 0;
    int visit_turns_ = 0;
};

}  // namespace cport
