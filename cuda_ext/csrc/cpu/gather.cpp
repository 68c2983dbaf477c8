#include "gather.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "parallel.h"

namespace echoic {
namespace {

constexpr int64_t kRowsPerTask = 256;
constexpr int64_t kCodesPerTask = 64;

}  // namespace

template <class T>
bool lookup_sum(const int64_t* codes, const T* books, int64_t rows, int64_t layers, int64_t groups,
                int64_t size, int64_t width, T* out) {
  std::atomic<bool> inside{true};
  const auto add_row = [&](int64_t row) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t code = codes[(row * layers + layer) * groups + group];
        if (code < 0 || code >= size) {
          inside.store(false);
          return;
        }
        const T* from = books + ((layer * groups + group) * size + code) * width;
        T* to = out + (row * groups + group) * width;
        for (int64_t i = 0; i < width; ++i) to[i] = layer == 0 ? from[i] : to[i] + from[i];
      }
    }
  };
  parallel_tasks((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; ++row) add_row(row);
  });
  return inside.load();
}

template <class T>
bool scatter(const ScatterJob<T>& job) {
  std::vector<int64_t> edges(job.size + 1, 0);
  for (int64_t row = 0; row < job.rows; ++row) {
    const int64_t code = job.codes[row * job.codes_stride];
    if (code < 0 || code >= job.size) return false;
    ++edges[code + 1];
  }
  for (int64_t code = 0; code < job.size; ++code) edges[code + 1] += edges[code];
  std::vector<int64_t> order(job.rows), next(edges.begin(), edges.end() - 1);
  for (int64_t row = 0; row < job.rows; ++row) {
    order[next[job.codes[row * job.codes_stride]]++] = row;
  }
  parallel_tasks((job.size + kCodesPerTask - 1) / kCodesPerTask, [&](int64_t task) {
    std::vector<double> sum(job.width);
    const int64_t end = std::min(job.size, (task + 1) * kCodesPerTask);
    for (int64_t code = task * kCodesPerTask; code < end; ++code) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t i = edges[code]; i < edges[code + 1]; ++i) {
        const T* row = job.x + order[i] * job.x_stride;
        for (int64_t k = 0; k < job.width; ++k) sum[k] += double(row[k]);
      }
      for (int64_t k = 0; k < job.width; ++k) job.sums[code * job.width + k] = T(sum[k]);
      if (job.counts != nullptr) job.counts[code] = T(edges[code + 1] - edges[code]);
    }
  });
  return true;
}

template bool lookup_sum(const int64_t*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t,
                         float*);
template bool lookup_sum(const int64_t*, const double*, int64_t, int64_t, int64_t, int64_t, int64_t,
                         double*);
template bool scatter(const ScatterJob<float>&);
template bool scatter(const ScatterJob<double>&);

}  // namespace echoic
