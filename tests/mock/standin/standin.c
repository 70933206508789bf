#include "umock_c/umock_c_prod.h"

static const char* last_call = "";

const char* standin_last_call(void) { return last_call; }

void standin_record(const char* function) { last_call = function; }
