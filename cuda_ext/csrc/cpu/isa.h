// Which of the instruction sets this processor has; the best one is taken unless told otherwise.
#pragma once

#include "rows.h"
#include "search.h"

namespace echoic {

struct Isa {
  const char* name;
  Search exact;
  Search screened;  // the same codes by way of bfloat16, or `exact` where that would not be faster
  ToBytes to_bytes;
};

const Isa& current_isa();

}  // namespace echoic

// For Python (ctypes): names from the best to the one that always works, null behind the last.
extern "C" const char* echoic_isa_name(int index);
// Takes a set by its name, or the best one for null; 0 where this processor lacks it.
extern "C" int echoic_use_isa(const char* name);
