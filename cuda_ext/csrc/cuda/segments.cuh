// Sums of rows by their code. A stable counting sort brings the rows of each code together, in their
// order; then each code's rows are added up in an order that only their number decides. Nothing is
// added by atomics but whole numbers, so the result is the same each time.
#pragma once

#include "job.cuh"

namespace echoic {

constexpr int kStrands = 16;  // partial sums of one code

struct Segments {
  const int64_t* codes;  // of row r at codes[r * stride]
  int64_t stride;
  int64_t rows;
  int size;           // codes of the book
  int rows_of_chunk;  // rows that one warp sorts, one step after the other
  int64_t* starts;    // (chunks, size): how many, then where each chunk's rows of a code begin
  int64_t* edges;     // (size + 1): where each code's rows begin
  int64_t* order;     // (rows)

  __device__ __host__ int64_t chunks() const { return (rows + rows_of_chunk - 1) / rows_of_chunk; }
};

// `starts` must be zero. One chunk a block.
__global__ void __launch_bounds__(kLanes) count_kernel(const Segments work) {
  const int64_t first = int64_t(blockIdx.x) * work.rows_of_chunk;
  int64_t* counts = work.starts + int64_t(blockIdx.x) * work.size;
  for (int i = threadIdx.x; i < work.rows_of_chunk && first + i < work.rows; i += kLanes) {
    const int64_t at = work.codes[(first + i) * work.stride];
    atomicAdd(reinterpret_cast<unsigned long long*>(counts + at), 1ull);
  }
}

// Turns counts into where each chunk's rows begin within their code; totals go to edges[code + 1].
__global__ void __launch_bounds__(kThreads) stack_kernel(const Segments work) {
  const int64_t code = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (code == 0) work.edges[0] = 0;
  if (code >= work.size) return;
  int64_t total = 0;
  for (int64_t chunk = 0; chunk < work.chunks(); ++chunk) {
    int64_t* count = work.starts + chunk * work.size + code;
    const int64_t own = *count;
    *count = total;
    total += own;
  }
  work.edges[code + 1] = total;
}

// Turns totals into edges, in one block: each thread adds up its stretch of codes.
__global__ void __launch_bounds__(kThreads) edges_kernel(const Segments work) {
  int64_t* sums = reinterpret_cast<int64_t*>(shared_memory());
  const int stretch = (work.size + kThreads - 1) / kThreads;
  const int first = threadIdx.x * stretch;
  const int last = first + stretch < work.size ? first + stretch : work.size;
  int64_t sum = 0;
  for (int code = first; code < last; ++code) sum += work.edges[code + 1];
  sums[threadIdx.x] = sum;
  __syncthreads();
  int64_t before = 0;
  for (int thread = 0; thread < int(threadIdx.x); ++thread) before += sums[thread];
  for (int code = first; code < last; ++code) {
    before += work.edges[code + 1];
    work.edges[code + 1] = before;
  }
}

// Writes each row to its place, 32 at a time: lanes with the same code stand in their order.
__global__ void __launch_bounds__(kLanes) place_kernel(const Segments work) {
  const int64_t first = int64_t(blockIdx.x) * work.rows_of_chunk;
  int64_t* next = work.starts + int64_t(blockIdx.x) * work.size;
  const int lane = threadIdx.x;
  for (int i = 0; i < work.rows_of_chunk; i += kLanes) {
    const int64_t row = first + i + lane;
    const bool there = i + lane < work.rows_of_chunk && row < work.rows;
    const int code = there ? int(work.codes[row * work.stride]) : -1;
    const unsigned same = __match_any_sync(kAllLanes, code);
    const int before = __popc(same & ((1u << lane) - 1));
    const int64_t start = there ? next[code] : 0;
    __syncwarp();  // all have read before the first of each code moves on
    if (there) {
      work.order[work.edges[code] + start + before] = row;
      if (before == 0) next[code] = start + __popc(same);
    }
    __syncwarp();
  }
}

// Block (code, stretch of 32 channels): strands take the code's rows in turn and are then added up
// in their order. x (rows, width), `stride` apart; counts (size) or null; sums (size, width).
template <class T>
__global__ void __launch_bounds__(kLanes* kStrands)
    segment_kernel(const Segments work, const T* x, int64_t stride, int width, T* counts, T* sums) {
  double* partial = reinterpret_cast<double*>(shared_memory());  // (strands, lanes)
  const int code = blockIdx.x, lane = threadIdx.x % kLanes, strand = threadIdx.x / kLanes;
  const int channel = blockIdx.y * kLanes + lane;
  const int64_t begin = work.edges[code], end = work.edges[code + 1];
  double sum = 0.0;
  if (channel < width) {
#pragma unroll 4
    for (int64_t i = begin + strand; i < end; i += kStrands) {
      sum += double(x[work.order[i] * stride + channel]);
    }
  }
  partial[threadIdx.x] = sum;
  __syncthreads();
  if (strand > 0) return;
  for (int s = 1; s < kStrands; ++s) sum += partial[s * kLanes + lane];
  if (channel < width) sums[int64_t(code) * width + channel] = T(sum);
  if (counts != nullptr && channel == 0) counts[code] = T(end - begin);
}

// Sums over layers of looked-up codes: codes (rows, layers, groups), books (layers, groups, size,
// width), out (rows, groups * width).
template <class T>
__global__ void __launch_bounds__(kThreads)
    lookup_kernel(const int64_t* codes, const T* books, int64_t rows, int layers, int groups,
                  int size, int width, T* out) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t channels = int64_t(groups) * width;
  if (i >= rows * channels) return;
  const int64_t row = i / channels;
  const int group = int(i % channels / width), k = int(i % width);
  T sum = T(0);
  for (int layer = 0; layer < layers; ++layer) {
    const int64_t book = int64_t(layer) * groups + group;
    const int64_t code = codes[row * layers * groups + book];
    const T value = books[(book * size + code) * width + k];
    sum = layer == 0 ? value : sum + value;
  }
  out[i] = sum;
}

}  // namespace echoic
