#include "completionport/testing/submission_rules.h"

#include <cerrno>
#include <cstring>

#include "completionport/testing/kind_rules.h"
#include "completionport/testing/sized_structure.h"

namespace completionport::testing {

int read_operation(const COMPLETION_PORT_OPERATION& operation, uint32_t flags_allowed,
                   CapturedOperation& known) {
    if (operation.size < sizeof(operation)) return -EINVAL;
    const KindRules* const rules = rules_of(operation.kind);
    if (rules == nullptr) return -EINVAL;
    std::memset(&known, 0, sizeof(known));
    int error = read_sized(&operation, operation.size, &known, rules->size);
    if (error != 0) return error;
    if ((operation.flags & ~(flags_allowed | rules->flags_allowed)) != 0) return -EINVAL;
    if (!is_time(operation.deadline_ns)) return -ERANGE;
    error = rules->refusal_of(known);
    if (error != 0) return error;
    return operation.descriptor < 0 ? -EBADF : 0;
}

const char* objection_to(const CapturedOperation& operation,
                         const SubmissionCompletion& completion) {
    const bool ok = completion.result == COMPLETION_PORT_RESULT_OK;
    const bool more = completion.flags == COMPLETION_PORT_COMPLETION_MORE;
    if (completion.result == COMPLETION_PORT_RESULT_INVALID) return "the result is INVALID";
    if (ok && completion.error != 0) return "OK has no error";
    if (!ok && completion.error >= 0) return "a result that is not OK has a negative errno";
    if (!more && completion.flags != 0) return "no record has such flags";
    if (more && !goes_on(operation)) return "it does not go on after its first record";
    if (more && !ok) return "what goes on is OK";
    const bool may_end_ok = operation.common.kind == COMPLETION_PORT_KIND_RECEIVE_POOLED;
    if (!more && ok && goes_on(operation) && !may_end_ok) return "what goes on does not end OK";
    if (completion.buffer != nullptr && !may_end_ok) return "it draws no buffer";
    return rules_of(operation.common.kind)->objection_to(operation, completion);
}

bool has_socket(const CapturedOperation& operation) {
    return operation.common.kind != COMPLETION_PORT_KIND_TIMER;
}

void start_next_period(COMPLETION_PORT_TIMER_OPERATION& timer, int64_t expirations) {
    constexpr uint64_t kLatest_ns = COMPLETION_PORT_TIME_MAX_NS;
    const auto periods = static_cast<uint64_t>(expirations);
    const bool within = periods <= (kLatest_ns - timer.expires_ns) / timer.period_ns;
    timer.expires_ns = within ? timer.expires_ns + periods * timer.period_ns : kLatest_ns;
}

COMPLETION_PORT_COMPLETION record_of(const CapturedSubmission& submission,
                                     const SubmissionCompletion& completion) {
    const COMPLETION_PORT_OPERATION& common = submission.operation.common;
    COMPLETION_PORT_COMPLETION record{};
    record.operation = submission.id;
    record.key = common.key;
    record.context = common.context;
    record.buffer = completion.buffer != nullptr
                        ? completion.buffer
                        : rules_of(common.kind)->buffer_of(submission.operation);
    record.value = completion.value;
    record.error = completion.error;
    record.result = completion.result;
    record.kind = common.kind;
    record.flags = completion.flags;
    return record;
}

void call_back(const CapturedSubmission& submission, const SubmissionCompletion& completion) {
    const COMPLETION_PORT_COMPLETION record = record_of(submission, completion);
    errno = -completion.error;
    submission.operation.common.on_complete(record.context, &record);
}

}  // namespace completionport::testing
