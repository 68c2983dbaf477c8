// 16 codes a vector; 12 rows x 2 vectors of sums fill the registers.
#include <immintrin.h>

#include "search_kernel.h"

namespace {

struct Avx512 {
  static constexpr int lanes = 16;
  static constexpr int columns = 2;
  static constexpr int rows = 12;
  using F = __m512;
  using I = __m512i;

  static F zero() { return _mm512_setzero_ps(); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static I load_index(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store_index(int32_t* p, I v) { _mm512_storeu_si512(p, v); }
  static F broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static I splat_index(int32_t i) { return _mm512_set1_epi32(i); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }

  static void keep_greater(F score, I base, F& top, I& who) {
    const __mmask16 greater = _mm512_cmp_ps_mask(score, top, _CMP_GT_OQ);
    top = _mm512_max_ps(score, top);  // the second where one is NaN
    who = _mm512_mask_mov_epi32(who, greater, base);
  }

  static void reduce(const float* best, const int32_t* index, float& score, int32_t& code) {
    const F top = load(best);
    score = _mm512_reduce_max_ps(top);
    const __mmask16 equal = _mm512_cmp_ps_mask(top, _mm512_set1_ps(score), _CMP_EQ_OQ);
    const I lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    code = _mm512_mask_reduce_min_epi32(equal, _mm512_add_epi32(load_index(index), lane));
  }
};

}  // namespace

namespace echoic {

void search_avx512(const Book& book, const Query& query, float* scratch) {
  search<Avx512>(book, query, scratch);
}

}  // namespace echoic
