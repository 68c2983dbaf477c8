// Which kernels a residual quantization runs, and its names in torch.
#include "quantize.cuh"

#include <algorithm>
#include <optional>
#include <tuple>

#include "tensors.h"

namespace echoic {
namespace {

constexpr int64_t kBigBookBytes = 1 << 20;  // too much for one processor to read alone
constexpr int kMaxParts = 256;

// Rows of a thread that the kernels are made for, the most efficient first.
constexpr int kRowsOfThread[] = {8, 4, 1};

template <class Kernel>
void allow_shared(Kernel kernel, int64_t bytes) {
  STD_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

bool wide_books(const Job& job) { return job.width % 4 == 0 && aligned(job.books); }

template <int R, bool kWide>
void run_fused(const Job& job, cudaStream_t stream) {
  const int64_t bytes = 4 * fused_floats(R, job.groups, job.width);
  allow_shared(fused_kernel<R, kWide>, bytes);
  fused_kernel<R, kWide><<<blocks_for(job.rows, R * kSide), kThreads, bytes, stream>>>(job);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <int R>
void run_fused(const Job& job, cudaStream_t stream) {
  wide_books(job) ? run_fused<R, true>(job, stream) : run_fused<R, false>(job, stream);
}

struct LayerPlan {
  int rows_of_thread;
  int parts;
};

// Where one layer's search has fewer tiles than the GPU has processors, they share out its codes.
LayerPlan plan_layer(const Job& job, int processors) {
  const int rows = job.rows > 4 * kSide ? 8 : job.rows > kSide ? 4 : 1;
  const int64_t tiles = (job.rows + rows * kSide - 1) / (rows * kSide) * job.groups;
  const int64_t code_tiles = (job.size + kCodesOfTile - 1) / kCodesOfTile;
  const int64_t wanted = (2 * processors + tiles - 1) / tiles;
  return {rows, int(std::min<int64_t>({wanted, code_tiles, kMaxParts}))};
}

struct Candidates {
  float* scores;
  int* codes;
  int parts;
};

template <int R, bool kWide>
void run_layer(const Job& job, int layer, const float* seen, const Candidates& found,
               cudaStream_t stream) {
  const int64_t bytes = 4 * layer_floats(R);
  const dim3 grid(blocks_for(job.rows, R * kSide), unsigned(found.parts), unsigned(job.groups));
  allow_shared(layer_kernel<R, kWide>, bytes);
  layer_kernel<R, kWide>
      <<<grid, kThreads, bytes, stream>>>(job, layer, seen, found.scores, found.codes);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

void search_layer(const Job& job, int layer, const float* seen, int rows_of_thread,
                  const Candidates& found, cudaStream_t stream) {
  const bool wide = wide_books(job) && aligned(seen);
  switch (rows_of_thread) {
    case 8:
      wide ? run_layer<8, true>(job, layer, seen, found, stream)
           : run_layer<8, false>(job, layer, seen, found, stream);
      break;
    case 4:
      wide ? run_layer<4, true>(job, layer, seen, found, stream)
           : run_layer<4, false>(job, layer, seen, found, stream);
      break;
    default:
      wide ? run_layer<1, true>(job, layer, seen, found, stream)
           : run_layer<1, false>(job, layer, seen, found, stream);
  }
  merge_kernel<<<blocks_for(job.rows * job.groups, kThreads), kThreads, 0, stream>>>(
      job, layer, found.parts, found.scores, found.codes);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// Layer by layer; what a layer sees lies in memory.
void run_layers(const Job& job, const Tensor& like, const OnDeviceOf& device) {
  const LayerPlan plan = plan_layer(job, device.attribute(cudaDevAttrMultiProcessorCount));
  const Tensor scores = new_like(like, {job.groups, plan.parts, job.rows}, ScalarType::Float);
  const Tensor codes = new_like(like, {job.groups, plan.parts, job.rows}, ScalarType::Int);
  const Candidates found{scores.mutable_data_ptr<float>(), codes.mutable_data_ptr<int32_t>(),
                         plan.parts};
  const bool changes = job.layers > 1 || job.masked > 0;
  const int64_t channels = int64_t(job.groups) * job.width;
  const Tensor space = new_like(like, {changes ? job.rows : 0, channels}, ScalarType::Float);
  // One layer without a mask sees x itself; nothing is written there then.
  float* seen = changes ? space.mutable_data_ptr<float>() : const_cast<float*>(job.x);
  const unsigned blocks = blocks_for(job.rows, kWarps);
  const cudaStream_t stream = device.stream();
  for (int layer = 0; layer < job.layers; ++layer) {
    if (changes && layer <= job.masked) {
      prepare_kernel<<<blocks, kThreads, 0, stream>>>(job, layer, seen);
      STD_CUDA_KERNEL_LAUNCH_CHECK();
    }
    search_layer(job, layer, seen, plan.rows_of_thread, found, stream);
    if (job.quantized == nullptr) continue;
    settle_kernel<<<blocks, kThreads, 0, stream>>>(job, layer, seen,
                                                   changes && layer >= job.masked);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  if (job.quantized != nullptr) {
    sum_kernel<<<blocks, kThreads, 0, stream>>>(job);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

// The rows of a thread with which all layers run in one kernel, or 0 where that would be slower.
int plan_fused(const Job& job, const OnDeviceOf& device) {
  const int64_t shared = device.attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int64_t processors = device.attribute(cudaDevAttrMultiProcessorCount);
  if (4 * fused_floats(4, job.groups, job.width) > shared) return 0;
  const int64_t few = (job.rows + kSide - 1) / kSide;
  if (few < processors && int64_t(job.size) * job.width * 4 > kBigBookBytes) return 0;
  for (const int rows : kRowsOfThread) {
    const bool fits = 4 * fused_floats(rows, job.groups, job.width) <= shared;
    const int64_t tiles = (job.rows + rows * kSide - 1) / (rows * kSide);
    if (fits && (tiles >= processors || rows == 1)) return rows;
  }
  return 0;
}

void quantize(const Job& job, const Tensor& like) {
  if (job.rows == 0) return;
  const OnDeviceOf device(like);
  switch (job.quantized == nullptr ? 0 : plan_fused(job, device)) {
    case 8:
      return run_fused<8>(job, device.stream());
    case 4:
      return run_fused<4>(job, device.stream());
    case 1:
      return run_fused<1>(job, device.stream());
    default:
      return run_layers(job, like, device);
  }
}

// NaN and Inf in x are for the caller to find: a kernel that raised would stop all others. Such
// rows get some code of their book here, and no other row changes.
std::tuple<Tensor, Tensor, Tensor> residual_quantize(
    const Tensor& x, const Tensor& codebooks, const Tensor& offsets,
    const std::optional<Tensor>& panels, const std::optional<Tensor>& screen,
    const std::optional<Tensor>& bounds, const std::optional<Tensor>& masks, bool screened) {
  check(x, ScalarType::Float, 2, "x");
  check(codebooks, ScalarType::Float, 4, "codebooks");
  check(offsets, ScalarType::Float, 3, "offsets");
  const Tensor rows = torch::stable::contiguous(x), books = torch::stable::contiguous(codebooks);
  const Tensor taken = torch::stable::contiguous(offsets);
  const Tensor mask = masks.has_value() ? torch::stable::contiguous(*masks) : Tensor();
  Job job{};
  job.x = floats(rows);
  job.books = floats(books);
  job.offsets = floats(taken);
  job.rows = rows.size(0);
  job.layers = as_int(books.size(0));
  job.groups = as_int(books.size(1));
  job.size = as_int(books.size(2));
  job.width = as_int(books.size(3));
  check_shape(rows.size(1) == books.size(1) * books.size(3), "x is not as wide as the codebooks");
  check_shape(taken.numel() * books.size(3) == books.numel(), "offsets do not fit the codebooks");
  if (masks.has_value()) {
    check(mask, ScalarType::Float, 2, "masks");
    check_shape(mask.size(1) == rows.size(1) && mask.size(0) <= books.size(0),
                "masks do not fit the codebooks");
    job.masks = floats(mask);
    job.masked = as_int(mask.size(0));
  }
  Tensor codes = new_like(rows, {job.rows, job.layers, job.groups}, ScalarType::Long);
  Tensor quantized = new_like(rows, {job.rows, rows.size(1)}, ScalarType::Float);
  Tensor energies = new_like(rows, {job.rows, job.layers}, ScalarType::Float);
  job.codes = codes.mutable_data_ptr<int64_t>();
  job.quantized = quantized.mutable_data_ptr<float>();
  job.energies = energies.mutable_data_ptr<float>();
  quantize(job, rows);
  return {codes, quantized, energies};
}

Tensor nearest_code(const Tensor& x, const Tensor& codebook, const Tensor& offsets,
                    const std::optional<Tensor>& panels, const std::optional<Tensor>& screen,
                    const std::optional<Tensor>& bounds, bool screened) {
  check(x, ScalarType::Float, 2, "x");
  check(codebook, ScalarType::Float, 2, "codebook");
  check(offsets, ScalarType::Float, 1, "offsets");
  const Tensor rows = torch::stable::contiguous(x), book = torch::stable::contiguous(codebook);
  const Tensor taken = torch::stable::contiguous(offsets);
  check_shape(rows.size(1) == book.size(1), "x is not as wide as the codebook");
  check_shape(taken.numel() == book.size(0), "offsets do not fit the codebook");
  Job job{};
  job.x = floats(rows);
  job.books = floats(book);
  job.offsets = floats(taken);
  job.rows = rows.size(0);
  job.layers = job.groups = 1;
  job.size = as_int(book.size(0));
  job.width = as_int(book.size(1));
  Tensor codes = new_like(rows, {job.rows}, ScalarType::Long);
  job.codes = codes.mutable_data_ptr<int64_t>();
  quantize(job, rows);
  return codes;
}

}  // namespace
}  // namespace echoic

STABLE_TORCH_LIBRARY_IMPL(echoic, CUDA, m) {
  m.impl("residual_quantize", TORCH_BOX(&echoic::residual_quantize));
  m.impl("nearest_code", TORCH_BOX(&echoic::nearest_code));
}
