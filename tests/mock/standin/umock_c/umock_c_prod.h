/* Stands in for umock-c in the tests. As there, each inclusion decides anew: with ENABLE_MOCKS
 * a MOCKABLE_FUNCTION defines the function, which records its call; without, it declares it. It
 * has no guard for that reason. */
#include "macro_utils/macro_utils.h"

#undef MOCKABLE_FUNCTION
#undef STANDIN_BODY

#ifndef STANDIN_UMOCK_C_PROD_H
#define STANDIN_UMOCK_C_PROD_H

const char* standin_last_call(void);
void standin_record(const char* function);

#define STANDIN_COUNT(...) STANDIN_COUNT_(__VA_ARGS__, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define STANDIN_COUNT_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, count, ...) count
#define STANDIN_JOIN(a, b) STANDIN_JOIN_(a, b)
#define STANDIN_JOIN_(a, b) a##b

#define STANDIN_RETURN_void
#define STANDIN_RETURN_int return 0;
#define STANDIN_RETURN_int64_t return 0;
#define STANDIN_RETURN_COMPLETION_PORT_BUFFER_POOL_HANDLE return 0;
#define STANDIN_RETURN_COMPLETION_PORT_HANDLE return 0;

/* By the number of arguments after modifiers and result: the name, then a type and a name each. */
#define STANDIN_FUNCTION_1(modifiers, result, name) \
    modifiers result name(void) STANDIN_BODY(result, name, )
#define STANDIN_FUNCTION_3(modifiers, result, name, t1, a1) \
    modifiers result name(t1 a1) STANDIN_BODY(result, name, (void)a1;)
#define STANDIN_FUNCTION_5(modifiers, result, name, t1, a1, t2, a2) \
    modifiers result name(t1 a1, t2 a2) STANDIN_BODY(result, name, (void)a1; (void)a2;)
#define STANDIN_FUNCTION_7(modifiers, result, name, t1, a1, t2, a2, t3, a3) \
    modifiers result name(t1 a1, t2 a2, t3 a3)                              \
        STANDIN_BODY(result, name, (void)a1; (void)a2; (void)a3;)
#define STANDIN_FUNCTION_9(modifiers, result, name, t1, a1, t2, a2, t3, a3, t4, a4) \
    modifiers result name(t1 a1, t2 a2, t3 a3, t4 a4)                               \
        STANDIN_BODY(result, name, (void)a1; (void)a2; (void)a3; (void)a4;)
#define STANDIN_FUNCTION_11(modifiers, result, name, t1, a1, t2, a2, t3, a3, t4, a4, t5, a5) \
    modifiers result name(t1 a1, t2 a2, t3 a3, t4 a4, t5 a5)                                 \
        STANDIN_BODY(result, name, (void)a1; (void)a2; (void)a3; (void)a4; (void)a5;)

#endif

#define MOCKABLE_FUNCTION(modifiers, result, ...)               \
    STANDIN_JOIN(STANDIN_FUNCTION_, STANDIN_COUNT(__VA_ARGS__)) \
    (modifiers, result, __VA_ARGS__)

#if defined(ENABLE_MOCKS)

/* The declaration at the end takes the semicolon that follows in the header. */
#define STANDIN_BODY(result, name, use_arguments) \
    {                                             \
        use_arguments standin_record(#name);      \
        STANDIN_RETURN_##result                   \
    }                                             \
    struct standin_defined_##name

#else

#define STANDIN_BODY(result, name, use_arguments)

#endif
