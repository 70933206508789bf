/* Stands in for macro-utils in the tests: the same macro names, an expansion of our own. The extra
 * constant shows which definition a header took. */
#ifndef STANDIN_MACRO_UTILS_H
#define STANDIN_MACRO_UTILS_H

#define MU_DEFINE_ENUM(name, ...)                              \
    typedef enum name##_TAG{name##_INVALID, __VA_ARGS__} name; \
    enum { STANDIN_DEFINED_##name = 1 };                       \
    const char* MU_##name##_ToString(name value);

#endif
