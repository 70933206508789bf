/* The names of the enums' values, for the library and for its mock. In C, where an enum may hold
 * any value of its integer: in C++ a value outside its range is undefined before it can be looked
 * at. */
#include <stddef.h>

#include "completionport/completion_port.h"

const char* MU_COMPLETION_PORT_EPOLL_ACTION_ToString(COMPLETION_PORT_EPOLL_ACTION value) {
    switch (value) {
        case COMPLETION_PORT_EPOLL_ACTION_INVALID:
            return "COMPLETION_PORT_EPOLL_ACTION_INVALID";
        case COMPLETION_PORT_EPOLL_EPOLLRDHUP:
            return "COMPLETION_PORT_EPOLL_EPOLLRDHUP";
        case COMPLETION_PORT_EPOLL_EPOLLIN:
            return "COMPLETION_PORT_EPOLL_EPOLLIN";
        case COMPLETION_PORT_EPOLL_EPOLLOUT:
            return "COMPLETION_PORT_EPOLL_EPOLLOUT";
        case COMPLETION_PORT_CLOSING:
            return "COMPLETION_PORT_CLOSING";
    }
    return NULL;
}

const char* MU_COMPLETION_PORT_RESULT_ToString(COMPLETION_PORT_RESULT value) {
    switch (value) {
        case COMPLETION_PORT_RESULT_INVALID:
            return "COMPLETION_PORT_RESULT_INVALID";
        case COMPLETION_PORT_RESULT_OK:
            return "COMPLETION_PORT_RESULT_OK";
        case COMPLETION_PORT_RESULT_ERROR:
            return "COMPLETION_PORT_RESULT_ERROR";
        case COMPLETION_PORT_RESULT_ABANDONED:
            return "COMPLETION_PORT_RESULT_ABANDONED";
    }
    return NULL;
}
