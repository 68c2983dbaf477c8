// 8 codes a vector; 6 rows x 2 vectors of sums fill the registers.
#include <immintrin.h>

#include "search_kernel.h"

namespace {

struct Avx2 {
  static constexpr int lanes = 8;
  static constexpr int columns = 2;
  static constexpr int rows = 6;
  using F = __m256;
  using I = __m256i;

  static F zero() { return _mm256_setzero_ps(); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static I load_index(const int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store_index(int32_t* p, I v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  static F broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static I splat_index(int32_t i) { return _mm256_set1_epi32(i); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }

  static void keep_greater(F score, I base, F& top, I& who) {
    const F greater = _mm256_cmp_ps(score, top, _CMP_GT_OQ);
    top = _mm256_max_ps(score, top);  // the second where one is NaN
    who = _mm256_blendv_epi8(who, base, _mm256_castps_si256(greater));
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

void search_avx2(const Book& book, const Query& query, float* scratch) {
  search<Avx2>(book, query, scratch);
}

}  // namespace echoic
