// Torch's own threads, as many as the user gave it.
#pragma once

#include <torch/csrc/stable/c/shim.h>

#include <cstdint>

namespace echoic {

inline int64_t num_threads() {
  uint32_t count = 1;
  torch_get_num_threads(&count);
  return count > 0 ? count : 1;
}

// Calls task(i) for i < count, in any order. A task must not throw: its callers are C.
template <class Task>
void parallel_tasks(int64_t count, const Task& task) {
  const auto run = [](int64_t begin, int64_t end, void* context) {
    for (int64_t i = begin; i < end; ++i) (*static_cast<const Task*>(context))(i);
  };
  if (count <= 1 || num_threads() == 1) {
    run(0, count, const_cast<void*>(static_cast<const void*>(&task)));
  } else {
    torch_parallel_for(0, count, 1, run, const_cast<void*>(static_cast<const void*>(&task)));
  }
}

}  // namespace echoic
