// Numbers to try kernels with, and how far results are from the truth.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

// scale·sin(i·frequency + phase) + shift.
template <typename T>
std::vector<T> numbers(int64_t n, double frequency, double scale = 1, double shift = 0,
                       double phase = 0.3) {
  std::vector<T> x(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    x[size_t(i)] = static_cast<T>(std::sin(double(i) * frequency + phase) * scale + shift);
  }
  return x;
}

// Other numbers for every seed.
template <typename T>
std::vector<T> seeded(int64_t n, double seed) {
  return numbers<T>(n, 1.3, 1, 0, seed * 7.7);
}

// The largest distance of the entries that `b` has.
template <typename T>
double difference(const std::vector<T>& a, const std::vector<double>& b) {
  double error = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double apart = std::fabs(double(a[i]) - b[i]);
    if (!(apart <= error)) error = apart;  // NaN too
  }
  return error;
}

// Bits of a mask: about `density` of 100, others for every seed.
inline std::vector<uint64_t> random_mask(int64_t n, uint64_t seed, int density = 50) {
  std::vector<uint64_t> words(static_cast<size_t>((n + 63) / 64));
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    if (static_cast<int>((state >> 33) % 100) < density) words[size_t(i / 64)] |= uint64_t{1} << (i % 64);
  }
  return words;
}

inline bool bit(const std::vector<uint64_t>& words, int64_t i) {
  return ((words[size_t(i / 64)] >> (i % 64)) & 1) != 0;
}
