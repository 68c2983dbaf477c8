// Continuous integrate-and-fire. One thread adds up a row's alphas in their order, as the CPU does;
// then each token is a block that looks up its frames, and each frame of the gradient a warp.
// Nothing is added by atomics, so the result is the same each time. See cif_reference.py for what
// is computed.
#pragma once

#include <cmath>

#include "job.cuh"

namespace echoic {

constexpr double kMostAlpha = 2147483648.0;
constexpr int kTokenThreads = 128;

// What a row says to the host, besides the sums.
enum Report { kWhole, kBad, kLength, kWanted, kReports };
enum Bad { kGood = -1, kBadWeight = -2 };  // else the first frame whose alpha no sum can have

struct Sums {
  const double* alphas;    // (batch, frames)
  const int64_t* lengths;  // (batch), or null
  const int64_t* wanted;   // (batch), or null
  const double* weights;   // (batch), what the sums start from, or null
  int64_t batch, frames;
  int64_t* wholes;  // (batch, frames), of the sum after each frame
  double* rests;    // (batch, frames), what lies above
  double* left;     // (batch), the rest after all frames
  int64_t* report;  // (kReports, batch)

  __device__ int64_t length(int64_t row) const {
    const int64_t own = lengths == nullptr ? frames : lengths[row];
    return own < 0 ? 0 : own < frames ? own : frames;
  }
  __device__ double start(int64_t row) const { return weights == nullptr ? 0.0 : weights[row]; }
  // Of the sum of a row before and after a frame.
  __device__ int64_t whole(int64_t row, int64_t t) const {
    return t < 0 ? 0 : wholes[row * frames + t];
  }
  __device__ double rest(int64_t row, int64_t t) const {
    return t < 0 ? start(row) : rests[row * frames + t];
  }
  // How far the sum after frame t lies above the start of a token.
  __device__ double above(int64_t row, int64_t t, int64_t token) const {
    return double(whole(row, t) - token) + rest(row, t);
  }
  // The first frame of a row after which the sum is above `level`, or reaches it; else the length.
  __device__ int64_t first(int64_t row, double level_rest, int64_t level_whole, bool above) const {
    int64_t low = 0, high = length(row);
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      const int64_t own = whole(row, middle);
      const double own_rest = rest(row, middle);
      const bool same = own == level_whole;
      const bool there = own > level_whole ||
                         (same && (above ? own_rest > level_rest : own_rest >= level_rest));
      if (there) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

// One row a block, tile by tile. Shared: a double and an int64 a thread.
__global__ void __launch_bounds__(kThreads) sum_kernel(const Sums sums) {
  double* rests = reinterpret_cast<double*>(shared_memory());
  int64_t* wholes = reinterpret_cast<int64_t*>(rests + kThreads);
  const int64_t row = blockIdx.x, length = sums.length(row), first = row * sums.frames;
  int64_t whole = 0, bad = kGood;
  double rest = sums.start(row);
  if (!(rest >= 0.0 && rest < 1.0)) bad = kBadWeight;
  for (int64_t begin = 0; begin < length; begin += kThreads) {
    const int64_t t = begin + threadIdx.x;
    const int count = int(length - begin < kThreads ? length - begin : kThreads);
    if (t < length) rests[threadIdx.x] = sums.alphas[first + t];
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int i = 0; i < count; ++i) {
        const double alpha = rests[i];
        const bool good = alpha >= 0.0 && alpha <= kMostAlpha;
        if (!good && bad == kGood) bad = begin + i;
        double sum = rest + (good ? alpha : 0.0);
        if (sum >= 1.0) {
          const double filled = floor(sum);
          whole += int64_t(filled);
          sum -= filled;
        }
        rest = sum;
        rests[i] = rest;
        wholes[i] = whole;
      }
    }
    __syncthreads();
    if (t < length) {
      sums.rests[first + t] = rests[threadIdx.x];
      sums.wholes[first + t] = wholes[threadIdx.x];
    }
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  if (sums.left != nullptr) sums.left[row] = rest;
  if (sums.report == nullptr) return;
  int64_t* report = sums.report + row;
  report[kWhole * sums.batch] = whole;
  report[kBad * sums.batch] = bad;
  report[kLength * sums.batch] = sums.lengths == nullptr ? 0 : sums.lengths[row];
  report[kWanted * sums.batch] = sums.wanted == nullptr ? 0 : sums.wanted[row];
}

// Frames (batch, frames, width) or tokens, the channels side by side.
template <class T>
struct CifRows {
  T* data;
  int64_t batch_stride, stride;

  __device__ T* at(int64_t row, int64_t frame) const {
    return data + row * batch_stride + frame * stride;
  }
};

template <class T>
struct Computed {
  using Type = float;
};
template <>
struct Computed<double> {
  using Type = double;
};

template <class T>
struct CifForward {
  using C = typename Computed<T>::Type;
  Sums sums;
  CifRows<const T> hidden;
  int width;
  const int64_t* counts;  // (batch)
  bool open_ended;        // the last token takes all that is left
  int64_t size;           // tokens of a row of the output
  T* tokens;              // (batch, size, width)
  double* fires;          // (batch, size)
  const C* carry;         // (batch, width), what the first token starts from, or null
  C* rest;                // (batch, width), what is left over; or null
};

// When the sum reaches the end of a token; of one that never fills, when the sum ends.
template <class T>
__device__ inline double fire_of(const CifForward<T>& job, int64_t row, int64_t token) {
  const Sums& sums = job.sums;
  const int64_t length = sums.length(row);
  const int64_t t = sums.first(row, 0.0, token + 1, false);
  if (t < length) {
    const double before = double(token + 1 - sums.whole(row, t - 1)) - sums.rest(row, t - 1);
    const double inside = before / sums.alphas[row * sums.frames + t];
    return double(t) + (inside < 1.0 ? inside : 1.0);
  }
  const int64_t whole = sums.whole(row, length - 1);
  const double rest = sums.rest(row, length - 1);
  if (whole == 0 && rest == sums.start(row)) return 0.0;
  return double(sums.first(row, rest, whole, false) + 1);
}

// Block (token, row); one token more than `size` where what is left over is wanted.
template <class T>
__global__ void __launch_bounds__(kTokenThreads) token_kernel(const CifForward<T> job) {
  using C = typename CifForward<T>::C;
  const int64_t token = blockIdx.x, row = blockIdx.y, count = job.counts[row];
  const bool left_over = token == job.size;  // what lies behind the last token
  if (!left_over) {
    if (threadIdx.x == 0) {
      job.fires[row * job.size + token] = token < count ? fire_of(job, row, token) : 0.0;
    }
    if (token >= count) {
      T* out = job.tokens + (row * job.size + token) * job.width;
      for (int k = threadIdx.x; k < job.width; k += kTokenThreads) out[k] = T(C(0));
      return;
    }
  }
  const int64_t which = left_over ? count : token;
  const bool open_ended = left_over || (job.open_ended && which == count - 1);
  const Sums& sums = job.sums;
  const int64_t length = sums.length(row), first = sums.first(row, 0.0, which, true);
  for (int k = threadIdx.x; k < job.width; k += kTokenThreads) {
    C sum = which == 0 && job.carry != nullptr ? job.carry[row * job.width + k] : C(0);
    for (int64_t t = first; t < length; ++t) {
      const double before = sums.above(row, t - 1, which);
      const bool fills = !open_ended && sums.whole(row, t) > which;
      const double to = fills ? 1.0 : sums.above(row, t, which);
      const double weight = to - (before > 0.0 ? before : 0.0);
      if (weight > 0.0) sum += C(weight) * C(job.hidden.at(row, t)[k]);
      if (fills) break;
    }
    if (left_over) {
      job.rest[row * job.width + k] = sum;
    } else {
      job.tokens[(row * job.size + token) * job.width + k] = T(sum);
    }
  }
}

template <class T>
struct CifBackward {
  Sums sums;
  CifRows<const T> hidden, grad;
  int width;
  const int64_t* counts;
  bool open_ended;
  T* of_hidden;       // (batch, frames, width)
  double* of_alphas;  // (batch, frames)
  double* jumps;      // (batch, frames), what the frame's end gains less what its start loses
};

// One frame a warp, kWarps of them a block; row blockIdx.y.
template <class T>
__global__ void __launch_bounds__(kThreads) frame_kernel(const CifBackward<T> job) {
  using C = typename Computed<T>::Type;
  const Sums& sums = job.sums;
  const int64_t row = blockIdx.y, t = int64_t(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (t >= sums.frames) return;
  const int lane = threadIdx.x % kLanes;
  const int64_t at = row * sums.frames + t, count = job.counts[row];
  const int64_t last = job.open_ended ? count - 1 : count;
  T* out = job.of_hidden + at * job.width;
  double at_start = 0.0, at_end = 0.0;
  if (t >= sums.length(row) || last < 0) {
    for (int k = lane; k < job.width; k += kLanes) out[k] = T(C(0));
  } else {
    const int64_t before = sums.whole(row, t - 1), after = sums.whole(row, t);
    const int64_t first = before < last ? before : last, final = after < last ? after : last;
    const T* frame = job.hidden.at(row, t);
    C start = 0, end = 0;
    for (int k = lane; k < job.width; k += kLanes) {
      const C h = C(frame[k]);
      C sum = 0, g = 0;
      for (int64_t token = first; token <= final && token < count; ++token) {
        const double from = token == first ? sums.above(row, t - 1, token) : 0.0;
        const double to = token < final ? 1.0 : sums.above(row, t, token);
        g = C(job.grad.at(row, token)[k]);
        sum += C(to - from) * g;
        if (token == first) start += g * h;
      }
      if (final < count) end += g * h;
      out[k] = T(sum);
    }
    for (int step = kLanes / 2; step > 0; step /= 2) {
      start += __shfl_xor_sync(kAllLanes, start, step);
      end += __shfl_xor_sync(kAllLanes, end, step);
    }
    at_start = double(start);
    at_end = double(end);
  }
  if (lane > 0) return;
  job.of_alphas[at] = at_end;
  job.jumps[at] = at_end - at_start;
}

// Adds to each frame the jumps of all later ones. One row a block; shared: a double a thread.
__global__ void __launch_bounds__(kThreads)
    shift_kernel(const double* jumps, int64_t frames, double* of_alphas) {
  double* tile = reinterpret_cast<double*>(shared_memory());
  const int64_t first = int64_t(blockIdx.x) * frames;
  double later = 0.0;
  for (int64_t end = frames; end > 0; end -= kThreads) {
    const int64_t t = end - 1 - threadIdx.x;
    if (t >= 0) tile[threadIdx.x] = jumps[first + t];
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int i = 0; i < kThreads && i < end; ++i) {
        const double own = tile[i];
        tile[i] = later;
        later += own;
      }
    }
    __syncthreads();
    if (t >= 0) of_alphas[first + t] += tile[threadIdx.x];
    __syncthreads();
  }
}

}  // namespace echoic
