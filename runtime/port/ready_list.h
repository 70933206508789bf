// Sockets that can advance, the first come first. A socket is on one list at most: kReady says so.
#pragma once

#include "runtime/operation/socket.h"

namespace cport {

class ReadyList {
 public:
    ReadyList() = default;
    ReadyList(const ReadyList&) = delete;
    ReadyList& operator=(const ReadyList&) = delete;

    bool empty() const { return head_ == nullptr; }

    void push(Socket& socket) {
        socket.next_ready = nullptr;
        *tail_ = &socket;
        tail_ = &socket.next_ready;
    }

    // There is one.
    Socket& front() const { return *head_; }
    Socket& pop() {
        Socket& first = *head_;
        head_ = first.next_ready;
        if (head_ == nullptr) tail_ = &head_;
        return first;
    }

 private:
    Socket* head_ = nullptr;
    Socket** tail_ = &head_;
};

}  // namespace cport
