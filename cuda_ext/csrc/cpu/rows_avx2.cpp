#include "rows_kernel.h"

namespace echoic {

void to_bytes_avx2(const Rows& job, int64_t begin, int64_t end, float* scratch) {
  rows_to_bytes(job, begin, end, scratch);
}

}  // namespace echoic
