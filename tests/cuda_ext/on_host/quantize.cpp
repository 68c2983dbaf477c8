// The kernels of the residual quantization for Python (ctypes), run on the CPU.
#include "cuda_on_host.h"
// clang-format off: the line above stands for CUDA's own headers
#include "quantize.cuh"

using namespace echoic;

namespace {

dim3 tiles_of(const Job& job, int rows_of_thread) {
  const int64_t rows = rows_of_thread * kSide;
  return {unsigned((job.rows + rows - 1) / rows), 1, 1};
}

template <int R, bool kWide>
void run_fused(const Job& job, unsigned seed) {
  on_host::launch(tiles_of(job, R), kThreads, 4 * fused_floats(R, job.groups, job.width), seed,
                  [&] { fused_kernel<R, kWide>(job); });
}

template <int R, bool kWide>
void run_layer(const Job& job, int layer, const float* seen, int parts, unsigned seed) {
  std::vector<float> scores(job.groups * parts * job.rows);
  std::vector<int> codes(scores.size());
  dim3 grid = tiles_of(job, R);
  grid.y = parts;
  grid.z = job.groups;
  on_host::launch(grid, kThreads, 4 * layer_floats(R), seed, [&] {
    layer_kernel<R, kWide>(job, layer, seen, scores.data(), codes.data());
  });
  const unsigned blocks = (job.rows * job.groups + kThreads - 1) / kThreads;
  on_host::launch({blocks, 1, 1}, kThreads, 0, seed, [&] {
    merge_kernel(job, layer, parts, scores.data(), codes.data());
  });
}

template <int R, bool kWide>
void run_layers(const Job& job, int parts, unsigned seed) {
  std::vector<float> seen(job.rows * job.groups * job.width, NAN);
  const dim3 blocks{unsigned((job.rows + kWarps - 1) / kWarps), 1, 1};
  for (int layer = 0; layer < job.layers; ++layer) {
    if (layer <= job.masked) {
      on_host::launch(blocks, kThreads, 0, seed, [&] { prepare_kernel(job, layer, seen.data()); });
    }
    run_layer<R, kWide>(job, layer, seen.data(), parts, seed);
    on_host::launch(blocks, kThreads, 0, seed, [&] {
      settle_kernel(job, layer, seen.data(), layer >= job.masked);
    });
  }
  on_host::launch(blocks, kThreads, 0, seed, [&] { sum_kernel(job); });
}

template <int R>
void run(const Job& job, bool wide, int parts, unsigned seed) {
  if (parts == 0) {
    wide ? run_fused<R, true>(job, seed) : run_fused<R, false>(job, seed);
  } else {
    wide ? run_layers<R, true>(job, parts, seed) : run_layers<R, false>(job, parts, seed);
  }
}

}  // namespace

// `parts` 0: all layers in one kernel; else layer by layer with so many parts. The memory of x and
// the books must start at 16 bytes where `wide`.
extern "C" void quantize_on_host(const float* x, const float* books, const float* offsets,
                                 const float* masks, int64_t rows, int layers, int groups, int size,
                                 int width, int masked, int64_t* codes, float* quantized,
                                 float* energies, int rows_of_thread, int wide, int parts,
                                 unsigned seed) {
  const Job job{x, books, offsets, masks, rows, layers, groups, size, width, masked,
                codes, quantized, energies};
  switch (rows_of_thread) {
    case 8:
      return run<8>(job, wide, parts, seed);
    case 4:
      return run<4>(job, wide, parts, seed);
    default:
      return run<1>(job, wide, parts, seed);
  }
}
