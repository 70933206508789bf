#include "tests/simulation/differential.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <sstream>

namespace cport::test {
namespace {

constexpr size_t kOpenMax = 12;
constexpr int kBacklog = 2;
constexpr int kEventsMax = 16;
constexpr uint32_t kPolled = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;
// What Linux may take to do what it has begun; nothing waits this long if the answers agree.
constexpr std::chrono::seconds kPatience{5};

std::string hex(uint64_t value) {
    std::ostringstream text;
    text << std::hex << value;
    return text.str();
}

}  // namespace

Differential::Differential(uint64_t seed, World& simulation, World& linux_world,
                           int first_descriptor)
    : simulation_(simulation),
      linux_(linux_world),
      first_descriptor_(first_descriptor),
      random_(seed) {}

std::string Differential::text_of(const Answer& answer) {
    return std::to_string(answer.value) + (answer.bytes.empty() ? "" : " [" + answer.bytes + "]");
}

std::string Differential::trace() const {
    std::string text;
    for (const std::string& line : trace_) text += line + "\n";
    return text;
}

int64_t Differential::both(const std::string& what, const Act& act) {
    const Answer simulated = act(simulation_);
    const Answer real = act(linux_);
    trace_.push_back(what + " = " + text_of(simulated));
    if (simulated == real) return simulated.value;
    trace_.back() += " simulated, but Linux says " + text_of(real);
    differs_ = true;
    return simulated.value;
}

int Differential::pick(std::initializer_list<Kind> kinds) {
    std::vector<int> fitting;
    for (const auto& [number, kind] : open_) {
        for (const Kind wanted : kinds) {
            if (kind == wanted) fitting.push_back(number);
        }
    }
    // Now and then a number that is not open.
    if (fitting.empty() || below(20) == 0) return first_descriptor_ + static_cast<int>(kOpenMax);
    return fitting[below(fitting.size())];
}

int Differential::pick_any() {
    return pick({Kind::kTcp, Kind::kUnix, Kind::kDatagram, Kind::kPipeReader, Kind::kPipeWriter,
                 Kind::kEventfd, Kind::kFile, Kind::kTcpListener, Kind::kUnixListener,
                 Kind::kTcpFresh, Kind::kUnixFresh});
}

uint32_t Differential::pick_events() {
    uint32_t events = 0;
    if (below(4) != 0) events |= EPOLLIN;
    if (below(2) != 0) events |= EPOLLOUT;
    if (below(2) != 0) events |= EPOLLRDHUP;
    if (below(3) == 0) events |= EPOLLPRI;
    if (below(4) != 0) events |= static_cast<uint32_t>(EPOLLET);
    if (below(6) == 0) events |= EPOLLONESHOT;
    return events;
}

std::string Differential::payload(size_t length) {
    std::string bytes(length, ' ');
    for (char& byte : bytes) byte = static_cast<char>('a' + written_++ % 26);
    return bytes;
}

bool Differential::run(int steps) {
    both("epoll_create", [](World& world) { return Answer{world.kernel().epoll_create()}; });
    open_[first_descriptor_] = Kind::kEpoll;
    for (int i = 0; i < steps && !differs_; ++i) {
        step();
        if (!differs_) settle();
    }
    while (!open_.empty()) {
        const int number = open_.begin()->first;
        open_.erase(number);
        both("close " + std::to_string(number),
             [number](World& world) { return Answer{world.kernel().close(number)}; });
    }
    return !differs_;
}

void Differential::step() {
    switch (below(20)) {
        case 0:
        case 1:
            if (open_.size() + 2 <= kOpenMax) open_something();
            break;
        case 2:
            close_something();
            break;
        case 3:
        case 4:
            control();
            break;
        case 5:
        case 6:
        case 7:
            wait_for_events();
            break;
        case 8:
        case 9:
            read_something();
            break;
        case 10:
        case 11:
        case 12:
            write_something();
            break;
        case 13:
            shut_something();
            break;
        case 14:
            ask_something();
            break;
        case 15:
        case 16:
            connect_something();
            break;
        case 17:
        case 18:
            accept_something();
            break;
        default:
            below(3) == 0 ? fill_and_drain() : duplicate();
    }
}

void Differential::open_pair(Kind kind) {
    int ours = -1;
    int theirs = -1;
    both("open pair of kind " + std::to_string(static_cast<int>(kind)), [&](World& world) {
        Ends ends{};
        switch (kind) {
            case Kind::kTcp:
                ends = world.tcp_pair();
                break;
            case Kind::kUnix:
                ends = world.unix_pair();
                break;
            case Kind::kDatagram:
                ends = world.datagram_pair();
                break;
            default:
                ends = world.pipe();
        }
        ours = ends.ours;
        theirs = ends.theirs;
        return Answer{ours, std::to_string(theirs)};
    });
    open_[ours] = kind;
    open_[theirs] = kind == Kind::kPipeReader ? Kind::kPipeWriter : kind;
    peers_[ours] = theirs;
    peers_[theirs] = ours;
}

void Differential::open_something() {
    constexpr std::array kPairs{Kind::kTcp, Kind::kTcp, Kind::kUnix, Kind::kDatagram,
                                Kind::kPipeReader};
    const uint64_t choice = below(12);
    if (choice < kPairs.size()) {
        open_pair(kPairs[choice]);
    } else if (choice == 5) {
        open_[static_cast<int>(both("eventfd", [](World& world) {
            return Answer{world.kernel().eventfd_create()};
        }))] = Kind::kEventfd;
    } else if (choice == 6) {
        open_[static_cast<int>(
            both("file", [](World& world) { return Answer{world.regular_file()}; }))] = Kind::kFile;
    } else if (choice < 10) {
        const bool is_tcp = below(2) == 0;
        const auto number = static_cast<int>(both(
            "fresh socket", [is_tcp](World& world) { return Answer{world.fresh_socket(is_tcp)}; }));
        open_[number] = is_tcp ? Kind::kTcpFresh : Kind::kUnixFresh;
    } else if (choice == 10) {
        const bool is_tcp = below(2) == 0;
        const auto number = static_cast<int>(both("listener", [is_tcp](World& world) {
            return Answer{world.listener(is_tcp, kBacklog)};
        }));
        open_[number] = is_tcp ? Kind::kTcpListener : Kind::kUnixListener;
        waiting_[number] = 0;
    } else {
        open_[static_cast<int>(both("epoll_create", [](World& world) {
            return Answer{world.kernel().epoll_create()};
        }))] = Kind::kEpoll;
    }
}

// A TCP listener that is full would have Linux ask again a second later.
void Differential::connect_something() {
    const bool is_tcp = below(2) == 0;
    const int number = pick({is_tcp ? Kind::kTcpFresh : Kind::kUnixFresh});
    int listener = pick({is_tcp ? Kind::kTcpListener : Kind::kUnixListener});
    const auto waiting = waiting_.find(listener);
    const bool to_nobody = waiting == waiting_.end();
    if (to_nobody) listener = World::kNobody;
    if (is_tcp && !to_nobody && waiting->second > kBacklog) return;
    const int64_t code =
        both("connect " + std::to_string(number) + " to " + std::to_string(listener),
             [=](World& world) { return Answer{world.connect_to(number, is_tcp, listener)}; });
    if (to_nobody || (code != 0 && code != -EINPROGRESS)) return;
    open_[number] = is_tcp ? Kind::kTcp : Kind::kUnix;
    ++waiting->second;
}

void Differential::accept_something() {
    if (open_.size() + 2 > kOpenMax) return;
    const int listener = pick({Kind::kTcpListener, Kind::kUnixListener});
    const auto end =
        static_cast<int>(both("accept " + std::to_string(listener), [listener](World& world) {
            return Answer{world.kernel().accept(listener, nullptr, nullptr, SOCK_NONBLOCK)};
        }));
    if (end < 0) return;
    open_[end] = open_.at(listener) == Kind::kTcpListener ? Kind::kTcp : Kind::kUnix;
    --waiting_.at(listener);
}

void Differential::duplicate() {
    if (open_.size() + 2 > kOpenMax) return;
    const int number = pick_any();
    // What is known of these is known by one number.
    const auto known = open_.find(number);
    if (known != open_.end() && known->second >= Kind::kTcpListener) return;
    const auto copy =
        static_cast<int>(both("dup " + std::to_string(number),
                              [number](World& world) { return Answer{world.duplicate(number)}; }));
    if (copy >= 0) open_[copy] = open_.at(number);
}

void Differential::close_something() {
    const bool resets = below(3) == 0;
    const int number = resets           ? pick({Kind::kTcp})
                       : below(12) == 0 ? pick({Kind::kEpoll})
                                        : pick_any();
    const auto waiting = waiting_.find(number);
    if (waiting != waiting_.end() && waiting->second > 0) return;
    both((resets ? "reset " : "close ") + std::to_string(number), [=](World& world) {
        return Answer{resets ? world.close_with_reset(number) : world.kernel().close(number)};
    });
    open_.erase(number);
    waiting_.erase(number);
    const auto peer = peers_.find(number);
    if (peer == peers_.end()) return;
    peers_.erase(peer->second);
    peers_.erase(number);
}

void Differential::control() {
    constexpr std::array kOperations{EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD,
                                     EPOLL_CTL_MOD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
    const int operation = kOperations[below(kOperations.size())];
    const int epoll = below(20) == 0 ? pick_any() : pick({Kind::kEpoll});
    const int number = pick_any();
    const uint32_t events = pick_events();
    const uint64_t data = below(1000);
    both("epoll_ctl " + std::to_string(epoll) + " operation " + std::to_string(operation) + " of " +
             std::to_string(number) + " events " + hex(events) + " data " + std::to_string(data),
         [=](World& world) {
             return Answer{world.kernel().epoll_ctl(epoll, operation, number, events, data)};
         });
}

void Differential::wait_for_events() {
    const int epoll = below(30) == 0 ? pick_any() : pick({Kind::kEpoll});
    const int most = static_cast<int>(below(3) == 0 ? 1 + below(3) : kEventsMax);
    both("epoll_wait " + std::to_string(epoll) + " for " + std::to_string(most), [=](World& world) {
        std::array<struct epoll_event, kEventsMax> events{};
        Answer answer{world.kernel().epoll_wait(epoll, events.data(), most, 0)};
        for (int64_t i = 0; i < answer.value; ++i) {
            const struct epoll_event& event = events[static_cast<size_t>(i)];
            answer.bytes += std::to_string(event.data.u64) + ":" + hex(event.events) + " ";
        }
        return answer;
    });
}

void Differential::read_something() {
    const int number = pick({Kind::kTcp, Kind::kTcp, Kind::kUnix, Kind::kDatagram,
                             Kind::kPipeReader, Kind::kPipeWriter, Kind::kEventfd});
    const size_t length = 1 + below(24);
    const bool as_core = below(2) == 0;
    const auto kind = open_.find(number);
    const int flags =
        as_core && kind != open_.end() && kind->second == Kind::kDatagram ? MSG_TRUNC : 0;
    both((as_core ? "receive " : "read ") + std::to_string(number) + " length " +
             std::to_string(length),
         [=](World& world) {
             std::string bytes(length, '.');
             const int64_t count = as_core
                                       ? world.kernel().receive(number, bytes.data(), length, flags)
                                       : world.read(number, bytes.data(), length);
             return Answer{count, bytes};
         });
}

void Differential::write_something() {
    const int number = pick({Kind::kTcp, Kind::kTcp, Kind::kUnix, Kind::kDatagram,
                             Kind::kPipeReader, Kind::kPipeWriter, Kind::kEventfd});
    const auto kind = open_.find(number);
    const bool is_tcp = kind != open_.end() && kind->second == Kind::kTcp;
    const bool is_datagram = kind != open_.end() && kind->second == Kind::kDatagram;
    const bool is_eventfd = kind != open_.end() && kind->second == Kind::kEventfd;
    const std::string bytes = is_eventfd ? payload(8) : payload(below(24) + (is_datagram ? 0 : 1));
    if (is_tcp && below(8) == 0) {
        both("urgent byte to " + std::to_string(number),
             [=](World& world) { return Answer{world.send_urgent(number, bytes[0])}; });
        return;
    }
    const uint64_t form = below(3);
    both("write " + bytes + " to " + std::to_string(number), [=](World& world) {
        if (form == 0) return Answer{world.kernel().send(number, bytes.data(), bytes.size())};
        if (form == 1 && is_eventfd) {
            return Answer{world.kernel().eventfd_signal(number)};
        }
        return Answer{world.write(number, bytes)};
    });
}

void Differential::shut_something() {
    const bool on_tcp = below(2) == 0;
    const int number = on_tcp ? pick({Kind::kTcp}) : pick({Kind::kUnix, Kind::kEventfd});
    const int how = on_tcp ? SHUT_WR : static_cast<int>(below(3));
    if (below(2) == 0) return;
    both("shutdown " + std::to_string(number) + " how " + std::to_string(how),
         [=](World& world) { return Answer{world.shutdown(number, how)}; });
}

void Differential::ask_something() {
    const int number = pick_any();
    both("what is " + std::to_string(number), [=](World& world) {
        platform::Kernel& kernel = world.kernel();
        return Answer{kernel.descriptor_kind(number),
                      std::to_string(kernel.socket_type(number)) + " " +
                          std::to_string(kernel.socket_protocol(number))};
    });
}

void Differential::fill(World& world, int from, int64_t& sent) {
    const std::string bytes(4096, 'f');
    for (;;) {
        const int64_t count = world.write(from, bytes);
        if (count < 0) return;
        sent += count;
    }
}

void Differential::drain(World& world, int into, int64_t expected) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    std::string bytes(1 << 20, ' ');
    while (expected > 0 && std::chrono::steady_clock::now() < deadline) {
        const int64_t count = world.read(into, bytes.data(), bytes.size());
        if (count > 0) expected -= count;
    }
}

void Differential::fill_and_drain() {
    const int from = pick({Kind::kTcp, Kind::kUnix, Kind::kPipeWriter});
    const auto peer = peers_.find(from);
    if (peer == peers_.end()) return;
    const int into = peer->second;
    // An urgent byte would be missing from the count.
    if (simulation_.kernel().poll_now(into, EPOLLPRI | EPOLLRDHUP) != 0 ||
        simulation_.kernel().poll_now(from, EPOLLOUT) != EPOLLOUT) {
        return;
    }
    both("fill " + std::to_string(from) + " and drain " + std::to_string(into), [=](World& world) {
        int64_t bytes = world.kernel().unread_bytes(into);
        fill(world, from, bytes);
        drain(world, into, bytes);
        return Answer{bytes > 0};
    });
}

bool Differential::settled(int number, std::string& difference) {
    const Kind kind = open_.at(number);
    auto state = [number, kind](World& world) {
        platform::Kernel& kernel = world.kernel();
        std::string text = hex(static_cast<uint64_t>(kernel.poll_now(number, kPolled))) + " " +
                           std::to_string(kernel.unread_bytes(number));
        if (kind == Kind::kTcp) text += " " + std::to_string(kernel.at_urgent_mark(number));
        return text;
    };
    const std::string simulated = state(simulation_);
    const std::string real = state(linux_);
    difference = std::to_string(number) + " is (" + simulated +
                 ") simulated, but on Linux it is (" + real + ")";
    return simulated == real;
}

void Differential::settle() {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (const auto& [number, kind] : open_) {
        if (kind == Kind::kEpoll || kind == Kind::kFile) continue;
        std::string difference;
        while (!settled(number, difference)) {
            if (std::chrono::steady_clock::now() < deadline) continue;
            trace_.push_back(difference);
            differs_ = true;
            return;
        }
    }
}

}  // namespace cport::test
