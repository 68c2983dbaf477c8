// Integrate-and-fire under torch's names. Schemas stand in cif_registry.py.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>

#include "cif.h"
#include "pages.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr double kMostAlpha = 2147483648.0;

// The words before each colon are cif_reference.py's: cif.py makes a ValueError of the line.

void check_lengths(const echoic::Alphas& alphas) {
  for (int64_t row = 0; row < alphas.batch; ++row) {
    const int64_t length = alphas.length(row);
    if (length < 0 || length > alphas.frames) {
      STD_TORCH_CHECK(false, "a length lies outside the frames: expected 0..", alphas.frames,
                      ", got ", length);
    }
  }
}

void check_weights(const echoic::Alphas& alphas) {
  for (int64_t row = 0; row < alphas.batch; ++row) {
    const double weight = alphas.start(row).rest;
    if (!(weight >= 0.0 && weight < 1.0)) {
      STD_TORCH_CHECK(false, "a carried weight lies outside 0 <= weight < 1: pass on what the last "
                      "step returned");
    }
  }
}

// The sum of a row.
echoic::Sum sum_of(const echoic::Alphas& alphas, int64_t row) {
  echoic::Sum sum = alphas.start(row);
  for (int64_t t = 0; t < alphas.length(row); ++t) {
    const double alpha = alphas.row(row)[t];
    if (!(alpha >= 0.0 && alpha <= kMostAlpha)) {
      STD_TORCH_CHECK(false, "alphas hold a value that is negative, not finite or above 2^31: ",
                      alpha, " at row ", row, ", frame ", t);
    }
    sum = sum.plus(alpha);
  }
  return sum;
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

void check(bool fits, const char* what) {
  if (!fits) STD_TORCH_CHECK(false, what);
}

// Tensors that a call reads, made fit for the kernels and kept alive.
struct Inputs {
  Tensor hidden, alphas;
  std::optional<Tensor> lengths;

  Inputs(const Tensor& frames, const Tensor& values, const std::optional<Tensor>& valid)
      : hidden(side_by_side(frames)), alphas(torch::stable::contiguous(values)) {
    check(frames.dim() == 3 && alphas.dim() == 2 && alphas.scalar_type() == ScalarType::Double &&
              alphas.size(0) == frames.size(0) && alphas.size(1) == frames.size(1),
          "alphas do not fit hidden");
    if (!valid.has_value()) return;
    check(valid->scalar_type() == ScalarType::Long && valid->numel() == frames.size(0),
          "lengths do not fit hidden");
    lengths = torch::stable::contiguous(*valid);
  }

  // Rows may lie anywhere, so that slices of longer ones are not copied.
  static Tensor side_by_side(const Tensor& rows) {
    const bool fits = rows.dim() == 3 && (rows.size(2) <= 1 || rows.stride(2) == 1);
    return fits ? rows : torch::stable::contiguous(rows);
  }

  int64_t batch() const { return hidden.size(0); }
  int64_t frames() const { return hidden.size(1); }
  int64_t width() const { return hidden.size(2); }

  echoic::Alphas view() const {
    return {alphas.const_data_ptr<double>(),
            lengths.has_value() ? lengths->const_data_ptr<int64_t>() : nullptr, nullptr, batch(),
            frames()};
  }
};

template <class T>
echoic::Rows<const T> rows_of(const Tensor& tensor) {
  return {static_cast<const T*>(tensor.const_data_ptr()), tensor.stride(0), tensor.stride(1)};
}

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

// What the kernels write whole.
Tensor output_like(const Inputs& in, int64_t rows) {
  Tensor out = torch::stable::new_empty(in.hidden, {in.batch(), rows, in.width()});
  const int64_t bytes = out.numel() * out.element_size();
  echoic::ask_for_large_pages(out.mutable_data_ptr(), bytes);
  return out;
}

Tensor counts_like(const Inputs& in, const std::optional<Tensor>& wanted) {
  Tensor counts = torch::stable::new_empty(in.hidden, {in.batch()}, ScalarType::Long);
  if (!wanted.has_value()) return counts;
  check(wanted->scalar_type() == ScalarType::Long && wanted->numel() == in.batch(),
        "counts do not fit hidden");
  const Tensor given = torch::stable::contiguous(*wanted);
  std::copy_n(given.const_data_ptr<int64_t>(), in.batch(), counts.mutable_data_ptr<int64_t>());
  return counts;
}

struct Fired {
  Tensor tokens, fires;
};

// Makes the tokens; `carry` (batch, width) is changed into what is left over, where it is given.
Fired fire(const Inputs& in, const echoic::Alphas& alphas, const Tensor& counts, bool open_ended,
           int64_t size, Tensor* carry) {
  Fired out{output_like(in, size),
            torch::stable::new_empty(in.hidden, {in.batch(), size}, ScalarType::Double)};
  for_dtype(in.hidden, [&](auto zero) {
    using T = decltype(zero);
    echoic::CifForward<T> job{};
    job.alphas = alphas;
    job.hidden = rows_of<T>(in.hidden);
    job.width = in.width();
    job.counts = counts.const_data_ptr<int64_t>();
    job.open_ended = open_ended;
    job.size = size;
    job.tokens = static_cast<T*>(out.tokens.mutable_data_ptr());
    job.fires = out.fires.mutable_data_ptr<double>();
    if (carry != nullptr) {
      job.carry = static_cast<typename echoic::CifForward<T>::C*>(carry->mutable_data_ptr());
    }
    echoic::cif_forward(job);
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> cif(const Tensor& hidden, const Tensor& alphas,
                                       const std::optional<Tensor>& lengths,
                                       const std::optional<Tensor>& wanted,
                                       std::optional<int64_t> max_tokens) {
  const Inputs in(hidden, alphas, lengths);
  const echoic::Alphas view = in.view();
  check_lengths(view);
  Tensor counts = counts_like(in, wanted);
  int64_t* found = counts.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < view.batch; ++row) {
    const int64_t whole = sum_of(view, row).whole;
    if (!wanted.has_value()) found[row] = whole;
  }
  const int64_t size = longest_of(found, view.batch, max_tokens);
  const Fired fired = fire(in, view, counts, wanted.has_value(), size, nullptr);
  return {fired.tokens, counts, fired.fires};
}

std::tuple<Tensor, Tensor> cif_backward(const Tensor& grad, const Tensor& hidden,
                                        const Tensor& alphas, const std::optional<Tensor>& lengths,
                                        const Tensor& counts, bool open_ended) {
  const Inputs in(hidden, alphas, lengths);
  const echoic::Alphas view = in.view();
  const Tensor found = torch::stable::contiguous(counts), rows = Inputs::side_by_side(grad);
  check_lengths(view);
  check(found.scalar_type() == ScalarType::Long && found.numel() == view.batch &&
            rows.dim() == 3 && rows.scalar_type() == in.hidden.scalar_type() &&
            rows.size(0) == view.batch && rows.size(2) == in.width(),
        "gradients do not fit hidden");
  longest_of(found.const_data_ptr<int64_t>(), view.batch, rows.size(1));
  Tensor of_hidden = output_like(in, view.frames);
  Tensor of_alphas = torch::stable::new_empty(in.alphas, {view.batch, view.frames});
  for_dtype(in.hidden, [&](auto zero) {
    using T = decltype(zero);
    echoic::CifBackward<T> job{};
    job.alphas = view;
    job.hidden = rows_of<T>(in.hidden);
    job.grad = rows_of<T>(rows);
    job.width = in.width();
    job.counts = found.const_data_ptr<int64_t>();
    job.open_ended = open_ended;
    job.of_hidden = static_cast<T*>(of_hidden.mutable_data_ptr());
    job.of_alphas = of_alphas.mutable_data_ptr<double>();
    echoic::cif_backward(job);
  });
  return {of_hidden, of_alphas};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> cif_step(const Tensor& hidden,
                                                            const Tensor& alphas,
                                                            const std::optional<Tensor>& lengths,
                                                            const Tensor& weight,
                                                            const Tensor& carry) {
  const Inputs in(hidden, alphas, lengths);
  const Tensor weights = torch::stable::contiguous(weight);
  const bool wide = hidden.scalar_type() == ScalarType::Double;
  check(weights.scalar_type() == ScalarType::Double && weights.numel() == in.batch() &&
            carry.scalar_type() == (wide ? ScalarType::Double : ScalarType::Float) &&
            carry.dim() == 2 && carry.size(0) == in.batch() && carry.size(1) == in.width(),
        "what is carried does not fit hidden");
  echoic::Alphas view = in.view();
  view.weights = weights.const_data_ptr<double>();
  check_lengths(view);
  check_weights(view);
  Tensor counts = counts_like(in, std::nullopt);
  Tensor left = torch::stable::new_empty(in.alphas, {view.batch});
  int64_t* found = counts.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < view.batch; ++row) {
    const echoic::Sum sum = sum_of(view, row);
    found[row] = sum.whole;
    left.mutable_data_ptr<double>()[row] = sum.rest;
  }
  Tensor rest = torch::stable::contiguous(torch::stable::clone(carry));
  const int64_t size = longest_of(found, view.batch, std::nullopt);
  const Fired fired = fire(in, view, counts, false, size, &rest);
  return {fired.tokens, counts, fired.fires, left, rest};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(echoic, CPU, m) {
  m.impl("cif", TORCH_BOX(&cif));
  m.impl("cif_backward", TORCH_BOX(&cif_backward));
  m.impl("cif_step", TORCH_BOX(&cif_step));
}
