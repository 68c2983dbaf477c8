// Codes back to vectors, and vectors summed by code, under their names in torch. That codes lie
// within their books is the caller's to check.
#include "segments.cuh"

#include <algorithm>
#include <tuple>

#include "tensors.h"

namespace echoic {
namespace {

constexpr int64_t kRowsOfChunk = 2048;      // at least, so that a warp's work is worth its counters
constexpr int64_t kMostCounters = 1 << 22;  // 32 MB, however many rows there are

// The rows of (rows, ...) codes at an offset sorted by code, in memory of its own.
struct Sorted {
  Tensor starts, edges, order;
  Segments work{};

  Sorted(const Tensor& like, int64_t rows, int64_t size)
      : starts(new_like(like, {chunks_of(rows, size) * size}, ScalarType::Long)),
        edges(new_like(like, {size + 1}, ScalarType::Long)),
        order(new_like(like, {rows}, ScalarType::Long)) {
    const int64_t chunks = chunks_of(rows, size);
    work.rows = rows;
    work.size = as_int(size);
    work.rows_of_chunk = as_int((rows + chunks - 1) / chunks);
    work.starts = starts.mutable_data_ptr<int64_t>();
    work.edges = edges.mutable_data_ptr<int64_t>();
    work.order = order.mutable_data_ptr<int64_t>();
  }

  void sort(const int64_t* codes, int64_t stride, cudaStream_t stream) {
    work.codes = codes;
    work.stride = stride;
    const unsigned chunks = blocks_for(work.rows, work.rows_of_chunk);
    STD_CUDA_CHECK(cudaMemsetAsync(work.starts, 0, 8 * work.chunks() * work.size, stream));
    count_kernel<<<chunks, kLanes, 0, stream>>>(work);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    stack_kernel<<<blocks_for(work.size, kThreads), kThreads, 0, stream>>>(work);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    edges_kernel<<<1, kThreads, 8 * kThreads, stream>>>(work);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    place_kernel<<<chunks, kLanes, 0, stream>>>(work);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }

  static int64_t chunks_of(int64_t rows, int64_t size) {
    const int64_t most = std::max<int64_t>(kMostCounters / size, 1);
    return std::clamp<int64_t>(rows / kRowsOfChunk, 1, most);
  }
};

template <class T>
void add_up(const Sorted& sorted, const T* x, int64_t stride, int64_t width, T* counts, T* sums,
            cudaStream_t stream) {
  const dim3 grid(unsigned(sorted.work.size), blocks_for(width, kLanes), 1);
  segment_kernel<T><<<grid, kLanes * kStrands, 8 * kLanes * kStrands, stream>>>(
      sorted.work, x, stride, as_int(width), counts, sums);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <class T>
void add_up_all(const Tensor& rows, const Tensor& codes, int64_t size, Tensor& sums) {
  const OnDeviceOf device(rows);
  const int64_t books = codes.size(1) * codes.size(2), width = rows.size(1) / codes.size(2);
  Sorted sorted(rows, rows.size(0), size);
  for (int64_t i = 0; i < books; ++i) {
    sorted.sort(codes.const_data_ptr<int64_t>() + i, books, device.stream());
    add_up<T>(sorted, rows.const_data_ptr<T>() + i % codes.size(2) * width, rows.size(1), width,
              nullptr, sums.mutable_data_ptr<T>() + i * size * width, device.stream());
  }
}

Tensor lookup_sum_backward(const Tensor& grad, const Tensor& codes, int64_t size) {
  check(codes, ScalarType::Long, 3, "codes");
  const bool wide = grad.scalar_type() == ScalarType::Double;
  check(grad, wide ? ScalarType::Double : ScalarType::Float, 2, "grad");
  check_shape(grad.size(0) == codes.size(0) && grad.size(1) % codes.size(2) == 0,
              "gradients do not fit the codes");
  const Tensor rows = torch::stable::contiguous(grad), which = torch::stable::contiguous(codes);
  const int64_t layers = codes.size(1), groups = codes.size(2);
  const int64_t width = rows.size(1) / groups;
  if (rows.size(0) == 0) return torch::stable::new_zeros(rows, {layers, groups, size, width});
  Tensor sums = torch::stable::new_empty(rows, {layers, groups, size, width});
  wide ? add_up_all<double>(rows, which, size, sums) : add_up_all<float>(rows, which, size, sums);
  return sums;
}

std::tuple<Tensor, Tensor> codebook_statistics(const Tensor& x, const Tensor& codes, int64_t size) {
  check(x, ScalarType::Float, 2, "x");
  check(codes, ScalarType::Long, 1, "codes");
  check_shape(x.size(0) == codes.size(0), "x and codes differ in their rows");
  const Tensor rows = torch::stable::contiguous(x), which = torch::stable::contiguous(codes);
  if (rows.size(0) == 0 || rows.size(1) == 0) {
    STD_TORCH_CHECK(rows.size(0) == 0, "x has no channels");
    return {torch::stable::new_zeros(rows, {size}),
            torch::stable::new_zeros(rows, {size, rows.size(1)})};
  }
  const OnDeviceOf device(rows);
  Tensor counts = new_like(rows, {size}, ScalarType::Float);
  Tensor sums = new_like(rows, {size, rows.size(1)}, ScalarType::Float);
  Sorted sorted(rows, rows.size(0), size);
  sorted.sort(which.const_data_ptr<int64_t>(), 1, device.stream());
  add_up<float>(sorted, floats(rows), rows.size(1), rows.size(1), counts.mutable_data_ptr<float>(),
                sums.mutable_data_ptr<float>(), device.stream());
  return {counts, sums};
}

template <class T>
Tensor lookup_sum_as(const Tensor& codes, const Tensor& books) {
  Tensor out = torch::stable::new_empty(books, {codes.size(0), books.size(1) * books.size(3)});
  if (out.numel() == 0) return out;
  const OnDeviceOf device(books);
  lookup_kernel<T><<<blocks_for(out.numel(), kThreads), kThreads, 0, device.stream()>>>(
      codes.const_data_ptr<int64_t>(), books.const_data_ptr<T>(), codes.size(0),
      as_int(books.size(0)), as_int(books.size(1)), as_int(books.size(2)), as_int(books.size(3)),
      out.mutable_data_ptr<T>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

Tensor lookup_sum(const Tensor& codes, const Tensor& codebooks) {
  check(codes, ScalarType::Long, 3, "codes");
  check_shape(codes.size(1) == codebooks.size(0) && codes.size(2) == codebooks.size(1),
              "codes do not fit the codebooks");
  const Tensor which = torch::stable::contiguous(codes);
  const Tensor books = torch::stable::contiguous(codebooks);
  if (books.scalar_type() == ScalarType::Double) return lookup_sum_as<double>(which, books);
  check(books, ScalarType::Float, 4, "codebooks");
  return lookup_sum_as<float>(which, books);
}

}  // namespace
}  // namespace echoic

STABLE_TORCH_LIBRARY_IMPL(echoic, CUDA, m) {
  m.impl("lookup_sum", TORCH_BOX(&echoic::lookup_sum));
  m.impl("lookup_sum_backward", TORCH_BOX(&echoic::lookup_sum_backward));
  m.impl("codebook_statistics", TORCH_BOX(&echoic::codebook_statistics));
}
