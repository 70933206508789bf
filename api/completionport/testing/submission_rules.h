/* What the library's rules say about one submission: used by CompletionCapture, not by tests. */
#ifndef COMPLETIONPORT_TESTING_SUBMISSION_RULES_H
#define COMPLETIONPORT_TESTING_SUBMISSION_RULES_H

#include <cstdint>

#include "completionport/completions.h"
#include "completionport/operations.h"
#include "completionport/testing/completion_capture.h"

namespace completionport::testing {

/* Copies the operation as completion_port_submit does. 0, or its error for what the arguments alone
 * tell. */
int read_operation(const COMPLETION_PORT_OPERATION& operation, uint32_t flags_allowed,
                   CapturedOperation& known);

/* Why the real port never ends the operation so; nullptr if it may. */
const char* objection_to(const CapturedOperation& operation,
                         const SubmissionCompletion& completion);

/* A timer has none. */
bool has_socket(const CapturedOperation& operation);

/* What a periodic timer does when it has expired so often. */
void start_next_period(COMPLETION_PORT_TIMER_OPERATION& timer, int64_t expirations);

COMPLETION_PORT_COMPLETION record_of(const CapturedSubmission& submission,
                                     const SubmissionCompletion& completion);

/* With errno as the real port sets it. */
void call_back(const CapturedSubmission& submission, const SubmissionCompletion& completion);

}  // namespace completionport::testing

#endif
