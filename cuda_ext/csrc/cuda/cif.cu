// Integrate-and-fire under its names in torch.
#include "cif.cuh"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "tensors.h"

namespace echoic {
namespace {

constexpr int64_t kMostRows = 65535;  // blockIdx.y

// The words before each colon are cif_reference.py's: cif.py makes a ValueError of the line.
void check_report(const std::vector<int64_t>& report, int64_t batch, int64_t frames) {
  for (int64_t row = 0; row < batch; ++row) {
    const int64_t bad = report[kBad * batch + row], length = report[kLength * batch + row];
    if (length < 0 || length > frames) {
      STD_TORCH_CHECK(false, "a length lies outside the frames: expected 0..", frames, ", got ",
                      length);
    }
    if (bad == kBadWeight) {
      STD_TORCH_CHECK(false, "a carried weight lies outside 0 <= weight < 1: pass on what the last "
                      "step returned");
    }
    if (bad != kGood) {
      STD_TORCH_CHECK(false, "alphas hold a value that is negative, not finite or above 2^31: row ",
                      row, ", frame ", bad);
    }
  }
}

int64_t longest_of(const int64_t* counts, int64_t batch, std::optional<int64_t> most) {
  int64_t longest = 0;
  for (int64_t row = 0; row < batch; ++row) {
    if (counts[row] < 0 || (most.has_value() && counts[row] > *most)) {
      STD_TORCH_CHECK(false, "a count of tokens lies outside its range: expected 0..",
                      most.has_value() ? std::to_string(*most) : "", ", got ", counts[row]);
    }
    longest = std::max(longest, counts[row]);
  }
  return most.value_or(longest);
}

// Rows may lie anywhere, so that slices of longer ones are not copied.
Tensor side_by_side(const Tensor& rows) {
  const bool fits = rows.dim() == 3 && (rows.size(2) <= 1 || rows.stride(2) == 1);
  return fits ? rows : torch::stable::contiguous(rows);
}

template <class T>
CifRows<const T> rows_of(const Tensor& tensor) {
  return {static_cast<const T*>(tensor.const_data_ptr()), tensor.stride(0), tensor.stride(1)};
}

std::optional<Tensor> of_rows(const std::optional<Tensor>& values, int64_t batch) {
  if (!values.has_value()) return std::nullopt;
  check(*values, ScalarType::Long, 1, "lengths or counts");
  check_shape(values->size(0) == batch, "lengths or counts do not fit hidden");
  return torch::stable::contiguous(*values);
}

const int64_t* longs(const std::optional<Tensor>& tensor) {
  return tensor.has_value() ? tensor->const_data_ptr<int64_t>() : nullptr;
}

// The sums of all rows on the device, and what the tensors are that hold them.
struct Summed {
  Tensor hidden, alphas, wholes, rests, report;
  std::optional<Tensor> lengths, wanted;
  Sums sums{};

  Summed(const Tensor& frames, const Tensor& values, const std::optional<Tensor>& valid,
         const std::optional<Tensor>& counts)
      : hidden(side_by_side(frames)),
        alphas(torch::stable::contiguous(values)),
        lengths(of_rows(valid, frames.size(0))),
        wanted(of_rows(counts, frames.size(0))) {
    check(alphas, ScalarType::Double, 2, "alphas");
    check_shape(hidden.dim() == 3 && alphas.size(0) == hidden.size(0) &&
                    alphas.size(1) == hidden.size(1),
                "alphas do not fit hidden");
    check_shape(batch() <= kMostRows, "too many rows for one call: split them");
    wholes = new_like(alphas, {batch(), sizes(1)}, ScalarType::Long);
    rests = new_like(alphas, {batch(), sizes(1)}, ScalarType::Double);
    report = new_like(alphas, {kReports, batch()}, ScalarType::Long);
    sums = {alphas.const_data_ptr<double>(),
            longs(lengths),
            longs(wanted),
            nullptr,
            batch(),
            sizes(1),
            wholes.mutable_data_ptr<int64_t>(),
            rests.mutable_data_ptr<double>(),
            nullptr,
            report.mutable_data_ptr<int64_t>()};
  }

  int64_t batch() const { return hidden.size(0); }
  int64_t sizes(int64_t axis) const { return hidden.size(axis); }

  void add_up(cudaStream_t stream) const {
    if (batch() == 0) return;
    sum_kernel<<<unsigned(batch()), kThreads, 16 * kThreads, stream>>>(sums);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }

  // Waits for the device: how many tokens there are decides how long the output is.
  std::vector<int64_t> read(cudaStream_t stream) const {
    std::vector<int64_t> values(kReports * batch());
    STD_CUDA_CHECK(cudaMemcpyAsync(values.data(), sums.report, 8 * values.size(),
                                   cudaMemcpyDeviceToHost, stream));
    STD_CUDA_CHECK(cudaStreamSynchronize(stream));
    check_report(values, batch(), sums.frames);
    return values;
  }
};

template <class Work>
void for_dtype(const Tensor& hidden, const Work& work) {
  switch (hidden.scalar_type()) {
    case ScalarType::Float:
      return work(float());
    case ScalarType::Double:
      return work(double());
    case ScalarType::BFloat16:
      return work(c10::BFloat16());
    case ScalarType::Half:
      return work(c10::Half());
    default:
      STD_TORCH_CHECK(false, "hidden: expected float32, float64, bfloat16 or float16");
  }
}

struct Fired {
  Tensor tokens, counts, fires;
};

// Makes the tokens; `carry` and `rest` (batch, width) where a stream goes on.
Fired fire(const Summed& in, std::optional<int64_t> max_tokens, const Tensor* carry, Tensor* rest,
           cudaStream_t stream) {
  const std::vector<int64_t> report = in.read(stream);
  const bool open_ended = in.wanted.has_value();
  const int64_t* found = report.data() + (open_ended ? kWanted : kWhole) * in.batch();
  const int64_t size = longest_of(found, in.batch(), max_tokens);
  Fired out{new_like(in.hidden, {in.batch(), size, in.sizes(2)}, in.hidden.scalar_type()),
            new_like(in.hidden, {in.batch()}, ScalarType::Long),
            new_like(in.hidden, {in.batch(), size}, ScalarType::Double)};
  const int64_t blocks = size + (rest != nullptr ? 1 : 0);
  if (in.batch() == 0 || blocks == 0) {
    torch::stable::zero_(out.counts);
    return out;
  }
  STD_CUDA_CHECK(cudaMemcpyAsync(out.counts.mutable_data_ptr(),
                                 in.sums.report + (open_ended ? kWanted : kWhole) * in.batch(),
                                 8 * in.batch(), cudaMemcpyDeviceToDevice, stream));
  for_dtype(in.hidden, [&](auto zero) {
    using T = decltype(zero);
    using C = typename CifForward<T>::C;
    CifForward<T> job{};
    job.sums = in.sums;
    job.hidden = rows_of<T>(in.hidden);
    job.width = as_int(in.sizes(2));
    job.counts = out.counts.template const_data_ptr<int64_t>();
    job.open_ended = open_ended;
    job.size = size;
    job.tokens = static_cast<T*>(out.tokens.mutable_data_ptr());
    job.fires = out.fires.template mutable_data_ptr<double>();
    if (rest != nullptr) {
      job.carry = static_cast<const C*>(carry->const_data_ptr());
      job.rest = static_cast<C*>(rest->mutable_data_ptr());
    }
    const dim3 grid(blocks_for(blocks, 1), unsigned(in.batch()));
    token_kernel<T><<<grid, kTokenThreads, 0, stream>>>(job);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> cif(const Tensor& hidden, const Tensor& alphas,
                                       const std::optional<Tensor>& lengths,
                                       const std::optional<Tensor>& wanted,
                                       std::optional<int64_t> max_tokens) {
  const Summed in(hidden, alphas, lengths, wanted);
  const OnDeviceOf device(in.hidden);
  in.add_up(device.stream());
  const Fired fired = fire(in, max_tokens, nullptr, nullptr, device.stream());
  return {fired.tokens, fired.counts, fired.fires};
}

std::tuple<Tensor, Tensor> cif_backward(const Tensor& grad, const Tensor& hidden,
                                        const Tensor& alphas, const std::optional<Tensor>& lengths,
                                        const Tensor& counts, bool open_ended) {
  const Summed in(hidden, alphas, lengths, counts);
  const OnDeviceOf device(in.hidden);
  const Tensor rows = side_by_side(grad);
  check(rows, in.hidden.scalar_type(), 3, "grad");
  check_shape(rows.size(0) == in.batch() && rows.size(2) == in.sizes(2),
              "gradients do not fit hidden");
  const int64_t batch = in.batch(), frames = in.sizes(1);
  Tensor of_hidden =
      new_like(in.hidden, {batch, frames, in.sizes(2)}, in.hidden.scalar_type());
  Tensor of_alphas = new_like(in.alphas, {batch, frames}, ScalarType::Double);
  const Tensor jumps = new_like(in.alphas, {batch, frames}, ScalarType::Double);
  if (of_alphas.numel() == 0) return {of_hidden, of_alphas};
  const cudaStream_t stream = device.stream();
  in.add_up(stream);
  for_dtype(in.hidden, [&](auto zero) {
    using T = decltype(zero);
    CifBackward<T> job{};
    job.sums = in.sums;
    job.hidden = rows_of<T>(in.hidden);
    job.grad = rows_of<T>(rows);
    job.width = as_int(in.sizes(2));
    job.counts = in.sums.wanted;
    job.open_ended = open_ended;
    job.of_hidden = static_cast<T*>(of_hidden.mutable_data_ptr());
    job.of_alphas = of_alphas.mutable_data_ptr<double>();
    job.jumps = jumps.mutable_data_ptr<double>();
    const dim3 grid(blocks_for(frames, kWarps), unsigned(batch));
    frame_kernel<T><<<grid, kThreads, 0, stream>>>(job);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  });
  shift_kernel<<<unsigned(batch), kThreads, 8 * kThreads, stream>>>(
      jumps.const_data_ptr<double>(), frames, of_alphas.mutable_data_ptr<double>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {of_hidden, of_alphas};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> cif_step(const Tensor& hidden,
                                                            const Tensor& alphas,
                                                            const std::optional<Tensor>& lengths,
                                                            const Tensor& weight,
                                                            const Tensor& carry) {
  Summed in(hidden, alphas, lengths, std::nullopt);
  const OnDeviceOf device(in.hidden);
  const Tensor weights = torch::stable::contiguous(weight);
  const Tensor carried = torch::stable::contiguous(carry);
  const bool wide = hidden.scalar_type() == ScalarType::Double;
  check(weights, ScalarType::Double, 1, "weight");
  check(carried, wide ? ScalarType::Double : ScalarType::Float, 2, "carry");
  check_shape(weights.size(0) == in.batch() && carried.size(0) == in.batch() &&
                  carried.size(1) == in.sizes(2),
              "what is carried does not fit hidden");
  Tensor left = new_like(weights, {in.batch()}, ScalarType::Double);
  Tensor rest = new_like(carried, {in.batch(), in.sizes(2)}, carried.scalar_type());
  in.sums.weights = weights.const_data_ptr<double>();
  in.sums.left = left.mutable_data_ptr<double>();
  in.add_up(device.stream());
  const Fired fired = fire(in, std::nullopt, &carried, &rest, device.stream());
  return {fired.tokens, fired.counts, fired.fires, left, rest};
}

}  // namespace
}  // namespace echoic

STABLE_TORCH_LIBRARY_IMPL(echoic, CUDA, m) {
  m.impl("cif", TORCH_BOX(&echoic::cif));
  m.impl("cif_backward", TORCH_BOX(&echoic::cif_backward));
  m.impl("cif_step", TORCH_BOX(&echoic::cif_step));
}
