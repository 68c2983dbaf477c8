// The kernels under torch's names. Schemas stand in registry.py; here only what the CPU does.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>
#include <tuple>

#include "gather.h"
#include "pack.h"
#include "quantize.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

void check(const Tensor& tensor, ScalarType dtype, int64_t dims, const char* name) {
  if (tensor.scalar_type() != dtype || tensor.dim() != dims) {
    STD_TORCH_CHECK(false, name, ": expected ", dims, " dimensions and dtype ", int(dtype),
                    ", got ", tensor.dim(), " and ", int(tensor.scalar_type()));
  }
}

const float* floats(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

Tensor floats_like(const Tensor& tensor, std::initializer_list<int64_t> shape) {
  return torch::stable::new_empty(tensor, shape, ScalarType::Float);
}

Tensor codes_like(const Tensor& tensor, std::initializer_list<int64_t> shape) {
  return torch::stable::new_empty(tensor, shape, ScalarType::Long);
}

[[noreturn]] void not_finite() {
  // The words before the colon are reference.py's: ops.py makes a ValueError of the line.
  STD_TORCH_CHECK(false, "x holds NaN or Inf: expected finite vectors, clean or skip the input");
  __builtin_unreachable();
}

[[noreturn]] void not_in_book(int64_t size) {
  STD_TORCH_CHECK(false, "a code lies outside its book: expected 0..", size - 1);
  __builtin_unreachable();
}

std::tuple<Tensor, Tensor> pack_codebooks(const Tensor& codebooks) {
  check(codebooks, ScalarType::Float, 4, "codebooks");
  const Tensor books = torch::stable::contiguous(codebooks);
  const int64_t layers = books.size(0), groups = books.size(1);
  const int64_t size = books.size(2), width = books.size(3);
  const int64_t panels_of_book = (size + echoic::kPanel - 1) / echoic::kPanel;
  Tensor norms = floats_like(books, {layers, groups, size});
  Tensor panels = floats_like(books, {layers, groups, panels_of_book, width, echoic::kPanel});
  echoic::pack(floats(books), layers * groups, size, width, norms.mutable_data_ptr<float>(),
               panels.mutable_data_ptr<float>());
  return {norms, panels};
}

std::tuple<Tensor, Tensor> pack_screen(const Tensor& codebooks, const Tensor& offsets) {
  check(codebooks, ScalarType::Float, 4, "codebooks");
  check(offsets, ScalarType::Float, 3, "offsets");
  const Tensor books = torch::stable::contiguous(codebooks);
  const Tensor taken = torch::stable::contiguous(offsets);
  const int64_t layers = books.size(0), groups = books.size(1);
  const int64_t size = books.size(2), width = books.size(3);
  const int64_t panels = (size + echoic::kPanel - 1) / echoic::kPanel;
  Tensor screen = torch::stable::new_empty(
      books, {layers, groups, panels, (width + 1) / 2, echoic::kPanel, 2}, ScalarType::BFloat16);
  Tensor bounds = floats_like(books, {layers, groups, panels, 3});
  echoic::pack_screen(floats(books), floats(taken), layers * groups, size, width,
                      static_cast<uint16_t*>(screen.mutable_data_ptr()),
                      bounds.mutable_data_ptr<float>());
  return {screen, bounds};
}

// Books that came unpacked are packed here; what is returned keeps them alive.
Tensor panels_of(const Tensor& books, const std::optional<Tensor>& panels) {
  if (panels.has_value()) return torch::stable::contiguous(*panels);
  return std::get<1>(pack_codebooks(books));
}

void set_screen(echoic::Quantize& job, const std::optional<Tensor>& screen,
                const std::optional<Tensor>& bounds, bool screened) {
  if (!screened || !screen.has_value() || !bounds.has_value()) return;
  job.screen = static_cast<const uint16_t*>(screen->const_data_ptr());
  job.bounds = floats(*bounds);
}

std::tuple<Tensor, Tensor, Tensor> residual_quantize(
    const Tensor& x, const Tensor& codebooks, const Tensor& offsets,
    const std::optional<Tensor>& panels, const std::optional<Tensor>& screen,
    const std::optional<Tensor>& bounds, const std::optional<Tensor>& masks, bool screened) {
  check(x, ScalarType::Float, 2, "x");
  check(codebooks, ScalarType::Float, 4, "codebooks");
  const Tensor rows = torch::stable::contiguous(x), books = torch::stable::contiguous(codebooks);
  const Tensor taken = torch::stable::contiguous(offsets);
  const Tensor packed = panels_of(books, panels);
  const Tensor mask = masks.has_value() ? torch::stable::contiguous(*masks) : Tensor();
  echoic::Quantize job{};
  job.x = floats(rows);
  job.codebooks = floats(books);
  job.offsets = floats(taken);
  job.panels = floats(packed);
  set_screen(job, screen, bounds, screened);
  job.rows = rows.size(0);
  job.width = rows.size(1);
  job.layers = books.size(0);
  job.groups = books.size(1);
  job.size = books.size(2);
  if (masks.has_value()) {
    job.masks = floats(mask);
    job.masked = mask.size(0);
  }
  Tensor codes = codes_like(rows, {job.rows, job.layers, job.groups});
  Tensor quantized = floats_like(rows, {job.rows, job.width});
  Tensor energies = floats_like(rows, {job.rows, job.layers});
  job.codes = codes.mutable_data_ptr<int64_t>();
  job.quantized = quantized.mutable_data_ptr<float>();
  job.energies = energies.mutable_data_ptr<float>();
  if (!echoic::quantize(job)) not_finite();
  return {codes, quantized, energies};
}

Tensor nearest_code(const Tensor& x, const Tensor& codebook, const Tensor& offsets,
                    const std::optional<Tensor>& panels, const std::optional<Tensor>& screen,
                    const std::optional<Tensor>& bounds, bool screened) {
  check(x, ScalarType::Float, 2, "x");
  check(codebook, ScalarType::Float, 2, "codebook");
  const Tensor rows = torch::stable::contiguous(x), book = torch::stable::contiguous(codebook);
  const Tensor taken = torch::stable::contiguous(offsets);
  const int64_t size = book.size(0), width = book.size(1);
  const Tensor packed = panels_of(torch::stable::view(book, {1, 1, size, width}), panels);
  echoic::Quantize job{};
  job.x = floats(rows);
  job.codebooks = floats(book);
  job.offsets = floats(taken);
  job.panels = floats(packed);
  set_screen(job, screen, bounds, screened);
  job.rows = rows.size(0);
  job.width = width;
  job.layers = job.groups = 1;
  job.size = size;
  Tensor codes = codes_like(rows, {job.rows});
  job.codes = codes.mutable_data_ptr<int64_t>();
  if (!echoic::quantize(job)) not_finite();
  return codes;
}

template <class T>
Tensor lookup_sum_as(const Tensor& codes, const Tensor& books) {
  Tensor out = torch::stable::new_empty(books, {codes.size(0), books.size(1) * books.size(3)});
  const bool inside =
      echoic::lookup_sum(codes.const_data_ptr<int64_t>(), books.const_data_ptr<T>(), codes.size(0),
                         books.size(0), books.size(1), books.size(2), books.size(3),
                         out.mutable_data_ptr<T>());
  if (!inside) not_in_book(books.size(2));
  return out;
}

Tensor lookup_sum(const Tensor& codes, const Tensor& codebooks) {
  check(codes, ScalarType::Long, 3, "codes");
  const Tensor which = torch::stable::contiguous(codes);
  const Tensor books = torch::stable::contiguous(codebooks);
  if (books.scalar_type() == ScalarType::Double) return lookup_sum_as<double>(which, books);
  check(books, ScalarType::Float, 4, "codebooks");
  return lookup_sum_as<float>(which, books);
}

template <class T>
Tensor scatter_gradients(const Tensor& grad, const Tensor& codes, int64_t size) {
  const int64_t layers = codes.size(1), groups = codes.size(2), width = grad.size(1) / groups;
  Tensor out = torch::stable::new_empty(grad, {layers, groups, size, width});
  for (int64_t i = 0; i < layers * groups; ++i) {
    echoic::ScatterJob<T> job{};
    job.x = grad.const_data_ptr<T>() + i % groups * width;
    job.x_stride = grad.size(1);
    job.codes = codes.const_data_ptr<int64_t>() + i;
    job.codes_stride = layers * groups;
    job.rows = codes.size(0);
    job.width = width;
    job.size = size;
    job.sums = out.mutable_data_ptr<T>() + i * size * width;
    if (!echoic::scatter(job)) not_in_book(size);
  }
  return out;
}

Tensor lookup_sum_backward(const Tensor& grad, const Tensor& codes, int64_t size) {
  check(codes, ScalarType::Long, 3, "codes");
  const Tensor which = torch::stable::contiguous(codes);
  const Tensor rows = torch::stable::contiguous(grad);
  if (rows.scalar_type() == ScalarType::Double) return scatter_gradients<double>(rows, which, size);
  check(rows, ScalarType::Float, 2, "grad");
  return scatter_gradients<float>(rows, which, size);
}

std::tuple<Tensor, Tensor> codebook_statistics(const Tensor& x, const Tensor& codes, int64_t size) {
  check(x, ScalarType::Float, 2, "x");
  check(codes, ScalarType::Long, 1, "codes");
  const Tensor rows = torch::stable::contiguous(x), which = torch::stable::contiguous(codes);
  Tensor counts = floats_like(rows, {size}), sums = floats_like(rows, {size, rows.size(1)});
  echoic::ScatterJob<float> job{};
  job.x = floats(rows);
  job.x_stride = job.width = rows.size(1);
  job.codes = which.const_data_ptr<int64_t>();
  job.codes_stride = 1;
  job.rows = rows.size(0);
  job.size = size;
  job.counts = counts.mutable_data_ptr<float>();
  job.sums = sums.mutable_data_ptr<float>();
  if (!echoic::scatter(job)) not_in_book(size);
  return {counts, sums};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(echoic, CPU, m) {
  m.impl("pack_codebooks", TORCH_BOX(&pack_codebooks));
  m.impl("pack_screen", TORCH_BOX(&pack_screen));
  m.impl("residual_quantize", TORCH_BOX(&residual_quantize));
  m.impl("nearest_code", TORCH_BOX(&nearest_code));
  m.impl("lookup_sum", TORCH_BOX(&lookup_sum));
  m.impl("lookup_sum_backward", TORCH_BOX(&lookup_sum_backward));
  m.impl("codebook_statistics", TORCH_BOX(&codebook_statistics));
}
