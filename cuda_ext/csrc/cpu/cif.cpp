#include "cif.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "parallel.h"

// No file of its own for each instruction set: memory limits it, and wider vectors than these gain
// nothing. Both forms round alike: nothing is contracted, and the sums have as many strands.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define ECHOIC_AVX2_TOO __attribute__((target_clones("avx2", "default")))
#else
#define ECHOIC_AVX2_TOO  // the loader cannot choose between forms
#endif

namespace echoic {
namespace {

constexpr int64_t kStrands = 32;  // partial sums of a dot product, on any processor

template <class T, class C>
const C* computed(const T* row, C* buffer, int64_t width) {
  if constexpr (std::is_same_v<T, C>) {
    return row;
  } else {
    for (int64_t i = 0; i < width; ++i) buffer[i] = C(row[i]);
    return buffer;
  }
}

template <class C>
ECHOIC_AVX2_TOO void scale(C weight, const C* __restrict x, C* __restrict out, int64_t width) {
  for (int64_t i = 0; i < width; ++i) out[i] = weight * x[i];
}

template <class C>
ECHOIC_AVX2_TOO void add(C weight, const C* __restrict x, C* __restrict out, int64_t width) {
  for (int64_t i = 0; i < width; ++i) out[i] += weight * x[i];
}

// The token under way.
template <class C>
class Token {
 public:
  explicit Token(int64_t width) : sum_(width) {}

  void start_from(const C* carry) {
    std::copy_n(carry, sum_.size(), sum_.begin());
    empty_ = false;
  }
  void take(C weight, const C* frame) {
    empty_ ? scale(weight, frame, sum_.data(), width()) : add(weight, frame, sum_.data(), width());
    empty_ = false;
  }
  template <class T>
  void move_to(T* out) {
    if (empty_) {
      std::fill_n(out, width(), T(0));
    } else {
      for (int64_t i = 0; i < width(); ++i) out[i] = T(sum_[i]);
    }
    empty_ = true;
  }

 private:
  int64_t width() const { return int64_t(sum_.size()); }
  std::vector<C> sum_;
  bool empty_ = true;
};

template <class T>
void forward_row(const CifForward<T>& job, int64_t row) {
  using C = typename CifForward<T>::C;
  const int64_t count = job.counts[row], length = job.alphas.length(row);
  // Tokens from `last` on are one: the last that is wanted, or what is left over.
  const int64_t last = job.open_ended ? count - 1 : count;
  const double* alphas = job.alphas.row(row);
  T* tokens = job.tokens + row * job.size * job.width;
  double* fires = job.fires + row * job.size;
  std::vector<C> buffer(std::is_same_v<T, C> ? 0 : job.width);
  Token<C> token(job.width);
  if (job.carry != nullptr) token.start_from(job.carry + row * job.width);
  const bool keeps_last = job.open_ended || job.carry != nullptr;
  Sum before = job.alphas.start(row);
  double end = 0.0;
  int64_t current = 0;
  for (int64_t t = 0; t < length && last >= 0; ++t) {
    const Sum after = before.plus(alphas[t]);
    if (alphas[t] > 0.0) {
      for (int64_t k = before.whole; k < std::min(after.whole, count); ++k) {
        const double inside = (double(k + 1 - before.whole) - before.rest) / alphas[t];
        fires[k] = double(t) + std::min(inside, 1.0);
      }
      if (after.whole > before.whole || after.rest > before.rest) end = double(t + 1);
      const C* frame = nullptr;
      double from = before.above(current);
      while (true) {
        const bool fills = current < last && current < after.whole;
        const double weight = (fills ? 1.0 : after.above(current)) - from;
        if (weight > 0.0 && (current < last || keeps_last)) {
          if (frame == nullptr) frame = computed(job.hidden.at(row, t), buffer.data(), job.width);
          token.take(C(weight), frame);
        }
        if (!fills) break;
        token.move_to(tokens + current++ * job.width);
        from = 0.0;
      }
    }
    before = after;
  }
  for (int64_t k = before.whole; k < count; ++k) fires[k] = end;
  if (job.carry != nullptr) token.move_to(job.carry + row * job.width);
  // What is under way, and zeros after it.
  for (; current < job.size; ++current) token.move_to(tokens + current * job.width);
  std::fill(fires + count, fires + job.size, 0.0);
}

// Writes weight * g to out, or adds it; returns g . h, added up in the same order everywhere.
template <bool kAdds, class C>
ECHOIC_AVX2_TOO double spread(C weight, const C* __restrict g, const C* __restrict h,
                              C* __restrict out, int64_t width) {
  C strands[kStrands] = {};
  const int64_t even = width - width % kStrands;
  for (int64_t i = 0; i < even; i += kStrands) {
    for (int64_t j = 0; j < kStrands; ++j) {
      out[i + j] = kAdds ? out[i + j] + weight * g[i + j] : weight * g[i + j];
      strands[j] += g[i + j] * h[i + j];
    }
  }
  C sum = 0;
  for (int64_t i = even; i < width; ++i) {
    out[i] = kAdds ? out[i] + weight * g[i] : weight * g[i];
    sum += g[i] * h[i];
  }
  for (const C strand : strands) sum += strand;
  return double(sum);
}

// More alpha gives its frame more of the token in which the sum then stands, and shifts all later
// frames along: each loses at its start and gains at its end, which cancels out within one token.
template <class T>
void backward_row(const CifBackward<T>& job, int64_t row) {
  using C = typename Computed<T>::Type;
  constexpr bool kDirect = std::is_same_v<T, C>;
  const int64_t count = job.counts[row], length = job.alphas.length(row), width = job.width;
  const int64_t last = job.open_ended ? count - 1 : count;
  const double* alphas = job.alphas.row(row);
  double* of_alphas = job.of_alphas + row * job.alphas.frames;
  T* of_hidden = job.of_hidden + row * job.alphas.frames * width;
  std::vector<C> buffers(kDirect ? 0 : 3 * width);
  std::vector<double> jumps(length);
  Sum before = job.alphas.start(row);
  int64_t current = 0;
  for (int64_t t = 0; t < length && last >= 0; ++t) {
    const Sum after = before.plus(alphas[t]);
    T* to = of_hidden + t * width;
    C* out = kDirect ? reinterpret_cast<C*>(to) : buffers.data();
    const C* frame = computed(job.hidden.at(row, t), buffers.data() + width, width);
    double at_start = 0.0, at_end = 0.0, from = before.above(current);
    const int64_t first = current;
    while (true) {
      const bool fills = current < last && current < after.whole;
      at_end = 0.0;
      if (current < count) {
        const C weight = C((fills ? 1.0 : after.above(current)) - from);
        const C* g = computed(job.grad.at(row, current), buffers.data() + 2 * width, width);
        at_end = current == first ? spread<false>(weight, g, frame, out, width)
                                  : spread<true>(weight, g, frame, out, width);
      } else if (current == first) {
        std::fill_n(out, width, C(0));
      }
      if (current == first) at_start = at_end;
      if (!fills) break;
      ++current;
      from = 0.0;
    }
    if constexpr (!kDirect) std::copy_n(out, width, to);
    of_alphas[t] = at_end;
    jumps[t] = at_end - at_start;
    before = after;
  }
  const int64_t seen = last >= 0 ? length : 0;
  double later = 0.0;
  for (int64_t t = seen - 1; t >= 0; --t) {
    of_alphas[t] += later;
    later += jumps[t];
  }
  std::fill(of_hidden + seen * width, of_hidden + job.alphas.frames * width, T(0));
  std::fill(of_alphas + seen, of_alphas + job.alphas.frames, 0.0);
}

}  // namespace

template <class T>
void cif_forward(const CifForward<T>& job) {
  parallel_tasks(job.alphas.batch, [&](int64_t row) { forward_row(job, row); });
}

template <class T>
void cif_backward(const CifBackward<T>& job) {
  // From the last row on: of what the forward pass read, that is still in the cache.
  const int64_t last = job.alphas.batch - 1;
  parallel_tasks(job.alphas.batch, [&](int64_t row) { backward_row(job, last - row); });
}

template void cif_forward(const CifForward<float>&);
template void cif_forward(const CifForward<double>&);
template void cif_forward(const CifForward<c10::BFloat16>&);
template void cif_forward(const CifForward<c10::Half>&);
template void cif_backward(const CifBackward<float>&);
template void cif_backward(const CifBackward<double>&);
template void cif_backward(const CifBackward<c10::BFloat16>&);
template void cif_backward(const CifBackward<c10::Half>&);

}  // namespace echoic
