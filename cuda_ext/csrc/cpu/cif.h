// Continuous integrate-and-fire, row by row: each frame is read once, and nothing is kept but the
// token under way. See cif_reference.py for what is computed.
#pragma once

#include <cmath>
#include <cstdint>

namespace echoic {

// A sum of alphas: whole tokens and what lies above them, as exact after hours as at the start. So
// the steps of a stream, which pass `rest` on, fire where one call does.
struct Sum {
  int64_t whole = 0;
  double rest = 0.0;

  Sum plus(double alpha) const {
    const double sum = rest + alpha;
    if (sum < 1.0) return {whole, sum};
    const double filled = std::floor(sum);
    return {whole + int64_t(filled), sum - filled};
  }
  // How far it lies above the start of a token.
  double above(int64_t token) const { return double(whole - token) + rest; }
};

struct Alphas {
  const double* values;    // (batch, frames)
  const int64_t* lengths;  // (batch), or null
  const double* weights;   // (batch), what the sum starts from, or null
  int64_t batch, frames;

  int64_t length(int64_t row) const { return lengths == nullptr ? frames : lengths[row]; }
  const double* row(int64_t row) const { return values + row * frames; }
  Sum start(int64_t row) const { return {0, weights == nullptr ? 0.0 : weights[row]}; }
};

// Frames (batch, frames, width) or tokens, the channels side by side.
template <class T>
struct Rows {
  T* data;
  int64_t batch_stride, stride;

  T* at(int64_t row, int64_t frame) const { return data + row * batch_stride + frame * stride; }
};

// What is computed in: float, but for double.
template <class T>
struct Computed {
  using Type = float;
};
template <>
struct Computed<double> {
  using Type = double;
};

template <class T>
struct CifForward {
  using C = typename Computed<T>::Type;
  Alphas alphas;
  Rows<const T> hidden;
  int64_t width;
  const int64_t* counts;  // (batch)
  bool open_ended;        // the last token takes all that is left
  int64_t size;           // tokens of a row of the output
  T* tokens;              // (batch, size, width)
  double* fires;          // (batch, size)
  C* carry;               // (batch, width), what is left over before and after, or null
};

template <class T>
struct CifBackward {
  Alphas alphas;
  Rows<const T> hidden, grad;
  int64_t width;
  const int64_t* counts;
  bool open_ended;
  T* of_hidden;       // (batch, frames, width)
  double* of_alphas;  // (batch, frames)
};

template <class T>
void cif_forward(const CifForward<T>& job);

template <class T>
void cif_backward(const CifBackward<T>& job);

}  // namespace echoic
