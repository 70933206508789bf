/* The two macro families in which this library declares functions and enums.
 *
 *   MOCKABLE_FUNCTION(modifiers, return_type, name, type, argument, ...)   declares a function
 *   MU_DEFINE_ENUM(name, value, ...)        defines an enum; <name>_INVALID = 0 stands in front
 *   MU_ENUM_TO_STRING(name, value)          the value's name, from MU_<name>_ToString
 *
 * Production code gets plain prototypes and plain enums. A consumer that tests with umock-c defines
 * COMPLETION_PORT_USE_UMOCK_C (and, to get mocks, umock-c's own ENABLE_MOCKS) before the first
 * include: the two headers of umock-c and macro-utils then supply the macros. Definitions that a
 * consumer made before the first include are kept as they are. */
#if defined(COMPLETION_PORT_USE_UMOCK_C)
/* Outside the guard: umock_c_prod.h decides at each inclusion, by ENABLE_MOCKS as it is then. */
#include "macro_utils/macro_utils.h"
#include "umock_c/umock_c_prod.h"
#endif

#ifndef COMPLETIONPORT_MOCKABLE_H
#define COMPLETIONPORT_MOCKABLE_H

#if !defined(MOCKABLE_FUNCTION) || !defined(MU_DEFINE_ENUM)

/* The number of arguments, 1 to 20. */
#define COMPLETION_PORT_PP_COUNT(...)                                                              \
    COMPLETION_PORT_PP_COUNT_(__VA_ARGS__, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, \
                              5, 4, 3, 2, 1, 0)
#define COMPLETION_PORT_PP_COUNT_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, \
                                  a15, a16, a17, a18, a19, a20, count, ...)                    \
    count
#define COMPLETION_PORT_PP_JOIN(a, b) COMPLETION_PORT_PP_JOIN_(a, b)
#define COMPLETION_PORT_PP_JOIN_(a, b) a##b

#endif

#if !defined(MOCKABLE_FUNCTION)

/* Three arguments declare a function of none; each parameter adds its type and its name. */
#define MOCKABLE_FUNCTION(...)                                                               \
    COMPLETION_PORT_PP_JOIN(COMPLETION_PORT_DECLARE_, COMPLETION_PORT_PP_COUNT(__VA_ARGS__)) \
    (__VA_ARGS__)

#define COMPLETION_PORT_DECLARE_3(modifiers, result, name) modifiers result name(void)
#define COMPLETION_PORT_DECLARE_5(modifiers, result, name, t1, a1) modifiers result name(t1 a1)
#define COMPLETION_PORT_DECLARE_7(modifiers, result, name, t1, a1, t2, a2) \
    modifiers result name(t1 a1, t2 a2)
#define COMPLETION_PORT_DECLARE_9(modifiers, result, name, t1, a1, t2, a2, t3, a3) \
    modifiers result name(t1 a1, t2 a2, t3 a3)
#define COMPLETION_PORT_DECLARE_11(modifiers, result, name, t1, a1, t2, a2, t3, a3, t4, a4) \
    modifiers result name(t1 a1, t2 a2, t3 a3, t4 a4)
#define COMPLETION_PORT_DECLARE_13(modifiers, result, name, t1, a1, t2, a2, t3, a3, t4, a4, t5, \
                                   a5)                                                          \
    modifiers result name(t1 a1, t2 a2, t3 a3, t4 a4, t5 a5)

#endif

#if !defined(MU_DEFINE_ENUM)

#define MU_DEFINE_ENUM(name, ...)                              \
    typedef enum name##_TAG{name##_INVALID, __VA_ARGS__} name; \
    const char* MU_##name##_ToString(name value);

#endif

#if !defined(MU_ENUM_TO_STRING)

#define MU_ENUM_TO_STRING(name, value) COMPLETION_PORT_ENUM_TO_STRING_(name, value)
#define COMPLETION_PORT_ENUM_TO_STRING_(name, value) MU_##name##_ToString(value)

#endif

#endif
