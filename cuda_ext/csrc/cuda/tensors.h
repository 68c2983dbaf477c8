// What all kernels ask of torch's tensors.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <initializer_list>
#include <limits>

namespace echoic {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline void check(const Tensor& tensor, ScalarType dtype, int64_t dims, const char* name) {
  if (!tensor.is_cuda() || tensor.scalar_type() != dtype || tensor.dim() != dims) {
    STD_TORCH_CHECK(false, name, ": expected ", dims, " dimensions and dtype ", int(dtype),
                    " on a GPU, got ", tensor.dim(), " and ", int(tensor.scalar_type()));
  }
}

inline void check_shape(bool fits, const char* what) {
  if (!fits) {
    STD_TORCH_CHECK(false, what);
  }
}

inline const float* floats(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

inline Tensor new_like(const Tensor& tensor, std::initializer_list<int64_t> shape,
                       ScalarType dtype) {
  return torch::stable::new_empty(tensor, shape, dtype);
}

// For kernels that count in int; rows are counted in int64 everywhere.
inline int as_int(int64_t value) {
  check_shape(value <= std::numeric_limits<int>::max(), "an axis is longer than 2^31 - 1");
  return int(value);
}

inline unsigned blocks_for(int64_t items, int64_t per_block) {
  const int64_t blocks = (items + per_block - 1) / per_block;
  check_shape(blocks <= std::numeric_limits<int>::max(), "too many rows for one call: split them");
  return unsigned(blocks);
}

// The device of a tensor made current, and torch's stream there.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const Tensor& tensor)
      : device_(tensor.get_device()), guard_(tensor.get_device()) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  cudaStream_t stream() const { return stream_; }
  int attribute(cudaDeviceAttr name) const {
    int value = 0;
    STD_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, device_));
    return value;
  }

 private:
  int device_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace echoic
