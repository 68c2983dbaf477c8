// The kernels that sum rows by code, and look codes up, for Python (ctypes), run on the CPU.
#include "cuda_on_host.h"
// clang-format off: the line above stands for CUDA's own headers
#include "segments.cuh"

using namespace echoic;

extern "C" void statistics_on_host(const float* x, int64_t x_stride, const int64_t* codes,
                                   int64_t stride, int64_t rows, int size, int width,
                                   int rows_of_chunk, float* counts, float* sums, int64_t* order,
                                   unsigned seed) {
  Segments work{codes, stride, rows, size, rows_of_chunk, nullptr, nullptr, order};
  std::vector<int64_t> starts(work.chunks() * size, 0), edges(size + 1, -1);
  work.starts = starts.data();
  work.edges = edges.data();
  const dim3 chunks{unsigned(work.chunks()), 1, 1};
  const dim3 books{unsigned((size + kThreads - 1) / kThreads), 1, 1};
  on_host::launch(chunks, kLanes, 0, seed, [&] { count_kernel(work); });
  on_host::launch(books, kThreads, 0, seed, [&] { stack_kernel(work); });
  on_host::launch({1, 1, 1}, kThreads, 8 * kThreads, seed, [&] { edges_kernel(work); });
  on_host::launch(chunks, kLanes, 0, seed, [&] { place_kernel(work); });
  const dim3 grid{unsigned(size), unsigned((width + kLanes - 1) / kLanes), 1};
  on_host::launch(grid, kLanes * kStrands, 8 * kLanes * kStrands, seed, [&] {
    segment_kernel<float>(work, x, x_stride, width, counts, sums);
  });
}

extern "C" void lookup_on_host(const int64_t* codes, const float* books, int64_t rows, int layers,
                               int groups, int size, int width, float* out, unsigned seed) {
  const int64_t all = rows * groups * width;
  on_host::launch({unsigned((all + kThreads - 1) / kThreads), 1, 1}, kThreads, 0, seed, [&] {
    lookup_kernel<float>(codes, books, rows, layers, groups, size, width, out);
  });
}
