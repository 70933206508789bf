/* What sets one kind of operation apart: used by CompletionCapture, not by tests. */
#ifndef COMPLETIONPORT_TESTING_KIND_RULES_H
#define COMPLETIONPORT_TESTING_KIND_RULES_H

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "completionport/testing/completion_capture.h"

namespace completionport::testing {

struct KindRules {
    uint32_t kind;
    size_t size;
    uint32_t flags_allowed; /* besides COMPLETION_PORT_FLAG_INLINE */
    /* 0, or the error for its own fields. */
    int (*refusal_of)(const CapturedOperation& operation);
    /* Why the real port never ends it with that value or result; nullptr if it may. */
    const char* (*objection_to)(const CapturedOperation& operation,
                                const SubmissionCompletion& completion);
    /* Of the record. */
    void* (*buffer_of)(const CapturedOperation& operation);
};

/* nullptr for what is no kind of operation. */
const KindRules* rules_of(uint32_t kind);

/* Whether it has records with COMPLETION_PORT_COMPLETION_MORE. */
bool goes_on(const CapturedOperation& operation);

/* The memory that a receive fills or a send takes from; nothing for other kinds. */
std::vector<struct iovec> pieces_of(const CapturedOperation& operation);

bool is_time(uint64_t time_ns);

}  // namespace completionport::testing

#endif
