// Rows to bytes under torch's names. The schema stands in int8_rows_registry.py.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>
#include <tuple>

#include "rows.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

const float* floats(const Tensor& tensor, int64_t count, const char* name) {
  if (tensor.scalar_type() != ScalarType::Float || tensor.numel() != count) {
    STD_TORCH_CHECK(false, name, ": expected ", count, " float32 values, got ", tensor.numel(),
                    " of dtype ", int(tensor.scalar_type()));
  }
  return tensor.const_data_ptr<float>();
}

std::tuple<Tensor, Tensor> rows_to_bytes(const Tensor& x, const std::optional<Tensor>& factor,
                                         const std::optional<Tensor>& bias, bool rectify,
                                         int64_t levels, bool halves) {
  STD_TORCH_CHECK(x.dim() == 2, "x: expected 2 dimensions, got ", x.dim());
  const Tensor from = torch::stable::contiguous(x);
  std::optional<Tensor> factors, biases;
  echoic::Rows job{};
  job.rows = from.size(0);
  job.width = from.size(1);
  job.x = floats(from, job.rows * job.width, "x");
  if (factor.has_value() && bias.has_value()) {
    factors = torch::stable::contiguous(*factor);
    biases = torch::stable::contiguous(*bias);
    job.factor = floats(*factors, job.rows, "factor");
    job.bias = floats(*biases, job.width, "bias");
  }
  job.rectify = rectify;
  job.levels = float(levels);
  job.halves = halves;
  const int64_t rows = halves ? 2 * job.rows : job.rows;
  Tensor bytes = torch::stable::new_empty(from, {rows, job.width}, ScalarType::Byte);
  Tensor scales = torch::stable::new_empty(from, {rows}, ScalarType::Float);
  job.bytes = bytes.mutable_data_ptr<uint8_t>();
  job.scales = scales.mutable_data_ptr<float>();
  echoic::to_bytes(job);
  return {bytes, scales};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(echoic, CPU, m) { m.impl("rows_to_bytes", TORCH_BOX(&rows_to_bytes)); }
