#ifndef PERF_PEERS_LISTENER_H
#define PERF_PEERS_LISTENER_H

#include <cstddef>
#include <cstdint>

namespace cport::perf {

/* The same receive buffer for every peer, so that none wins by its size. */
inline constexpr std::size_t kReceiveBytes = std::size_t{64} * 1024;

/* The port from "NAME PORT"; ends the program with status 2 and one line where there is none. */
std::uint16_t parse_port(int argc, char** argv);

/* A non-blocking listener on 127.0.0.1 (port 0 = any). Ends the program with status 1 where that
 * fails. */
int listen_on_loopback(std::uint16_t port);

/* Accepts one connection, non-blocking and without Nagle's delay; -1 where there is none. */
int accept_connection(int listener);

/* The line that the run script waits for. */
void announce(int listener);

}  // namespace cport::perf

#endif
