// 4 codes a vector, with nothing but the compiler's own vectors: any processor, and the same bits.
#include "search_kernel.h"

namespace {

struct Portable {
  static constexpr int lanes = 4;
  static constexpr int columns = 2;
  static constexpr int rows = 4;
  typedef float F __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  typedef double D __attribute__((vector_size(32)));
  typedef int64_t L __attribute__((vector_size(32)));

  static F zero() { return F{0, 0, 0, 0}; }
  static F load(const float* p) { return F{p[0], p[1], p[2], p[3]}; }
  static void store(float* p, F v) {
    for (int i = 0; i < lanes; ++i) p[i] = v[i];
  }
  static I load_index(const int32_t* p) { return I{p[0], p[1], p[2], p[3]}; }
  static void store_index(int32_t* p, I v) {
    for (int i = 0; i < lanes; ++i) p[i] = v[i];
  }
  static F broadcast(const float* p) { return F{*p, *p, *p, *p}; }
  static I splat_index(int32_t i) { return I{i, i, i, i}; }
  static F sub(F a, F b) { return a - b; }

#ifdef __FP_FAST_FMAF
  static F fma(F a, F b, F c) {
    F sum;
    for (int i = 0; i < lanes; ++i) sum[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return sum;
  }
#else
  // A product of floats is exact in double. Their sum with c, rounded to odd there, then rounds to
  // float as the unrounded sum would (Boldo and Melquiond 2008, theorem 1).
  static F fma(F a, F b, F c) {
    const D product = __builtin_convertvector(a, D) * __builtin_convertvector(b, D);
    const D addend = __builtin_convertvector(c, D);
    const D sum = product + addend;
    const D back = sum - product;
    const D error = (product - (sum - back)) + (addend - back);
    const L bits = (L)sum;
    const L inexact = (error > 0.0) | (error < 0.0);  // neither for NaN, which stays as it is
    const L even = (bits & 1) == 0;
    const L away = (error > 0.0) == (sum > 0.0);  // -1 where the rest lies beyond the sum
    const L odd = bits + ((-2 * away - 1) & inexact & even);
    return __builtin_convertvector((D)odd, F);
  }
#endif

  static void keep_greater(F score, I base, F& top, I& who) {
    const I greater = score > top;
    top = greater ? score : top;
    who = greater ? base : who;
  }

  static void reduce(const float* best, const int32_t* index, float& score, int32_t& code) {
    score = best[0];
    for (int lane = 1; lane < lanes; ++lane) score = best[lane] > score ? best[lane] : score;
    code = INT32_MAX;
    for (int lane = 0; lane < lanes; ++lane) {
      const int32_t own = index[lane] + lane;
      if (best[lane] == score && own < code) code = own;
    }
  }
};

}  // namespace

namespace echoic {

void search_portable(const Book& book, const Query& query, float* scratch) {
  search<Portable>(book, query, scratch);
}

}  // namespace echoic
