#include "rows.h"

#include <algorithm>
#include <vector>

#include "isa.h"
#include "parallel.h"

namespace echoic {
namespace {

constexpr int64_t kFloatsPerTask = 32768;

}  // namespace

void to_bytes(const Rows& job) {
  const ToBytes kernel = current_isa().to_bytes;
  const int64_t rows_per_task = std::max<int64_t>(1, kFloatsPerTask / std::max<int64_t>(1, job.width));
  parallel_tasks((job.rows + rows_per_task - 1) / rows_per_task, [&](int64_t task) {
    const bool changes = job.factor != nullptr || job.rectify || job.halves;
    std::vector<float> scratch(changes ? job.width : 0);
    const int64_t begin = task * rows_per_task;
    kernel(job, begin, std::min(job.rows, begin + rows_per_task), scratch.data());
  });
}

}  // namespace echoic
