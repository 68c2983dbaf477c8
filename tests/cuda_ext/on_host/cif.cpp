// The kernels of integrate-and-fire for Python (ctypes), run on the CPU.
#include "cuda_on_host.h"
// clang-format off: the line above stands for CUDA's own headers
#include "cif.cuh"

using namespace echoic;

namespace {

constexpr unsigned kSeed = 1;

// The sums of all rows, in memory of their own; `report` is (kReports, batch).
struct Run {
  Sums sums;
  std::vector<int64_t> wholes;
  std::vector<double> rests;

  Run(const double* alphas, const int64_t* lengths, const int64_t* wanted, int64_t batch,
      int64_t frames, int64_t* report)
      : wholes(batch * frames, -1), rests(batch * frames, NAN) {
    sums = {alphas, lengths, wanted, nullptr, batch, frames, wholes.data(), rests.data(), nullptr,
            report};
  }

  void add_up() {
    on_host::launch({unsigned(sums.batch), 1, 1}, kThreads, 16 * kThreads, kSeed,
                    [&] { sum_kernel(sums); });
  }
};

}  // namespace

extern "C" void cif_sums_on_host(const double* alphas, const int64_t* lengths,
                                 const int64_t* wanted, const double* weights, int64_t batch,
                                 int64_t frames, int64_t* report, double* left) {
  Run run(alphas, lengths, wanted, batch, frames, report);
  run.sums.weights = weights;
  run.sums.left = left;
  run.add_up();
}

extern "C" void cif_on_host(const float* hidden, const double* alphas, const int64_t* lengths,
                            const double* weights, int64_t batch, int64_t frames, int width,
                            const int64_t* counts, int open_ended, int64_t size, float* tokens,
                            double* fires, const float* carry, float* rest) {
  std::vector<int64_t> report(kReports * batch);
  Run run(alphas, lengths, nullptr, batch, frames, report.data());
  run.sums.weights = weights;
  run.add_up();
  const CifForward<float> job{run.sums, {hidden, frames * width, width}, width, counts,
                              open_ended != 0, size, tokens, fires, carry, rest};
  const dim3 grid{unsigned(size + (rest != nullptr)), unsigned(batch), 1};
  on_host::launch(grid, kTokenThreads, 0, kSeed, [&] { token_kernel<float>(job); });
}

extern "C" void cif_backward_on_host(const float* grad, const float* hidden, const double* alphas,
                                     const int64_t* lengths, int64_t batch, int64_t frames,
                                     int width, const int64_t* counts, int open_ended, int64_t size,
                                     float* of_hidden, double* of_alphas) {
  std::vector<int64_t> report(kReports * batch);
  std::vector<double> jumps(batch * frames, NAN);
  Run run(alphas, lengths, counts, batch, frames, report.data());
  run.add_up();
  const CifBackward<float> job{run.sums, {hidden, frames * width, width},
                               {grad, size * width, width}, width, counts, open_ended != 0,
                               of_hidden, of_alphas, jumps.data()};
  const dim3 grid{unsigned((frames + kWarps - 1) / kWarps), unsigned(batch), 1};
  on_host::launch(grid, kThreads, 0, kSeed, [&] { frame_kernel<float>(job); });
  on_host::launch({unsigned(batch), 1, 1}, kThreads, 8 * kThreads, kSeed,
                  [&] { shift_kernel(jumps.data(), frames, of_alphas); });
}
