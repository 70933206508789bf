// Operations of the port for objects: what a record is told to is a member function.
#pragma once

#include <completionport/operations.h>

#include <cstdint>

namespace cport::echo {

using Completion = COMPLETION_PORT_COMPLETION;

template <typename Object, void (Object::*member)(const Completion&)>
void call_member(void* object, const Completion* completion) {
    (static_cast<Object*>(object)->*member)(*completion);
}

template <typename Operation, auto member, typename Object>
[[nodiscard]] Operation operation_of(uint32_t kind, int descriptor, Object& object) {
    Operation operation{};
    operation.common.size = sizeof(operation);
    operation.common.kind = kind;
    operation.common.descriptor = descriptor;
    operation.common.on_complete = call_member<Object, member>;
    operation.common.context = &object;
    return operation;
}

}  // namespace cport::echo
