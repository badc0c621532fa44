// Divide and conquer (Gu & Eisenstat 1995, "A divide-and-conquer algorithm for the bidiagonal SVD").
// One row is taken out of the middle of a matrix of n rows and n + 1 columns; the two halves are
// decomposed; in their singular vectors the whole is an arrow, z in its first row and d on its
// diagonal, whose singular values are the roots of 1 + Σ zⱼ²/(dⱼ² − σ²). Values that z hardly touches
// or that nearly coincide are deflated first. From the computed roots a ẑ is found for which they are
// exact (Löwner's formula), so that the vectors are orthogonal however close the roots are.
//
// The halves go down to no rows at all: an empty half is the vector 1. All scalars are double,
// whatever T is; the first and last components of the right vectors, all that a merge needs, are
// carried beside the matrix, so that values alone need no matrix. Floor with vectors: about 8n³/3
// FLOPs without deflation, nearly all in matrix products.

#include "ops/bidiagonal_svd.h"

#include <cstring>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace palimpsest {
namespace {

constexpr int64_t kTaskRows = 96;       // halves up to this size are solved inside one task
constexpr int64_t kRootsATask = 16;
constexpr int64_t kSmallProduct = 20;   // products below this size are plain loops

// σ² = d[origin]² + μ, so that every dⱼ² − σ² is accurate.
struct Root {
  int64_t origin;
  double mu;
};

// The roots of 1 + Σ zⱼ²/(dⱼ² − σ²), d ascending from d₀ = 0, largest d at most 1.
class Secular {
 public:
  Secular(const double* d, const double* z, int64_t k) : d_(d), k_(k), squares_(static_cast<size_t>(k)) {
    for (int64_t j = 0; j < k; ++j) squares_[static_cast<size_t>(j)] = z[j] * z[j];
    total_ = std::accumulate(squares_.begin(), squares_.end(), 0.0);
  }

  double distance(int64_t j, const Root& root) const {
    return (d_[j] - d_[root.origin]) * (d_[j] + d_[root.origin]) - root.mu;
  }

  Root solve(int64_t i) const {
    return i + 1 < k_ ? between(i) : last();
  }

 private:
  // Σ over [begin, end) of zⱼ²/(δⱼ − μ), and its derivative.
  void sum(int64_t begin, int64_t end, const Root& at, double& value, double& slope) const {
    double values[4] = {};
    double slopes[4] = {};
    const double origin = d_[at.origin];
    int64_t j = begin;
    for (; j + 4 <= end; j += 4) {
      for (int64_t l = 0; l < 4; ++l) {
        const double t = 1 / ((d_[j + l] - origin) * (d_[j + l] + origin) - at.mu);
        const double term = squares_[static_cast<size_t>(j + l)] * t;
        values[l] += term;
        slopes[l] += term * t;
      }
    }
    for (; j < end; ++j) {
      const double t = 1 / ((d_[j] - origin) * (d_[j] + origin) - at.mu);
      const double term = squares_[static_cast<size_t>(j)] * t;
      values[0] += term;
      slopes[0] += term * t;
    }
    value = (values[0] + values[1]) + (values[2] + values[3]);
    slope = (slopes[0] + slopes[1]) + (slopes[2] + slopes[3]);
  }

  static constexpr double kEps = std::numeric_limits<double>::epsilon();
  static constexpr int kMostSteps = 200;

  // In (dᵢ², dᵢ₊₁²), measured from the nearer end; steps of the "middle way" of Li (LAPACK working
  // note 89): two poles and a constant that agree with the function's value and slopes.
  Root between(int64_t i) const {
    const double gap = (d_[i + 1] - d_[i]) * (d_[i + 1] + d_[i]);
    double psi = 0, dpsi = 0, phi = 0, dphi = 0;
    Root at{i, gap / 2};
    sum(0, i + 1, at, psi, dpsi);
    sum(i + 1, k_, at, phi, dphi);
    const bool left = 1 + psi + phi >= 0;
    const double a = squares_[static_cast<size_t>(i)];
    const double b = squares_[static_cast<size_t>(i + 1)];
    // The function without its two nearest poles, at the middle.
    const double c = 1 + psi + phi + (a - b) / (gap / 2);
    double low = left ? 0 : -gap / 2;
    double high = left ? gap / 2 : 0;
    at.origin = left ? i : i + 1;
    if (left) {
      const double p = c * gap + a + b;
      const double root = std::sqrt(std::fabs(p * p - 4 * c * a * gap));
      at.mu = p > 0 ? 2 * a * gap / (p + root) : (p - root) / (2 * c);
    } else {
      const double p = c * gap - a - b;
      const double root = std::sqrt(std::fabs(p * p + 4 * c * b * gap));
      at.mu = p < 0 ? 2 * b * gap / (p - root) : -(p + root) / (2 * c);
    }
    if (!(at.mu > low && at.mu < high)) at.mu = (low + high) / 2;
    for (int step = 0; step < kMostSteps; ++step) {
      sum(0, i + 1, at, psi, dpsi);
      sum(i + 1, k_, at, phi, dphi);
      const double g = 1 + psi + phi;
      if (std::fabs(g) <= kEps * (8 * (phi - psi) + 1 + std::fabs(at.mu) * (dpsi + dphi))) break;
      (g > 0 ? high : low) = at.mu;
      const double d1 = distance(i, at);
      const double d2 = distance(i + 1, at);
      const double cc = g - d1 * dpsi - d2 * dphi;
      const double p = (d1 + d2) * g - d1 * d2 * (dpsi + dphi);
      const double q = d1 * d2 * g;
      const double root = std::sqrt(std::fabs(p * p - 4 * q * cc));
      const double eta = p <= 0 ? (p - root) / (2 * cc) : 2 * q / (p + root);
      double next = at.mu + eta;
      if (!(next > low && next < high)) next = (low + high) / 2;
      if (next == at.mu || next == low || next == high) break;
      at.mu = next;
    }
    return at;
  }

  // Above the largest d: one pole and a constant.
  Root last() const {
    double low = 0;
    double high = total_;
    Root at{k_ - 1, total_};
    for (int step = 0; step < kMostSteps; ++step) {
      double psi = 0, dpsi = 0;
      sum(0, k_, at, psi, dpsi);
      const double g = 1 + psi;
      if (std::fabs(g) <= kEps * (1 - 8 * psi + at.mu * dpsi)) break;
      (g > 0 ? high : low) = at.mu;
      double next = at.mu * at.mu * dpsi / (g + at.mu * dpsi);
      if (!(next > low && next < high)) next = (low + high) / 2;
      if (next == at.mu || next == low || next == high) break;
      at.mu = next;
    }
    return at;
  }

  const double* d_;
  int64_t k_;
  std::vector<double> squares_;
  double total_ = 0;
};

enum Side : uint8_t { kTop, kBoth, kBottom };

// A column of the arrow: d, z, and the row of both vectors' matrices where its vectors lie.
struct Entry {
  double d, z;
  int64_t row;
  Side side;
};

template <typename T>
class Solver {
 public:
  Solver(int64_t n, const double* diagonal, const double* super, T* u, T* v)
      : n_(n), diagonal_(diagonal), super_(super), u_(u), v_(v), stride_(n + 1),
        d_(static_cast<size_t>(n + 1)), first_(static_cast<size_t>(n + 1)), last_(static_cast<size_t>(n + 1)) {}

  Status run(Context& context) {
    std::vector<std::pair<int64_t, int64_t>> leaves, merges;
    divide(0, n_, leaves, merges);
    std::vector<Status> results(leaves.size());
    context.parallel(static_cast<int64_t>(leaves.size()), [&](int64_t i) {
      Context own(context.kernels, Workspace::local(), 1);
      const auto& [low, rows] = leaves[static_cast<size_t>(i)];
      results[static_cast<size_t>(i)] = whole(own, low, rows);
    });
    for (const Status& result : results) {
      if (!result.ok()) return result;
    }
    for (const auto& [low, rows] : merges) {
      PALIMPSEST_TRY(check_abort(context));
      PALIMPSEST_TRY(merge(context, low, rows));
    }
    return {};
  }

  double value(int64_t row) const { return d_[static_cast<size_t>(row)]; }

 private:
  void divide(int64_t low, int64_t n, std::vector<std::pair<int64_t, int64_t>>& leaves,
              std::vector<std::pair<int64_t, int64_t>>& merges) {
    if (n <= kTaskRows) {
      leaves.emplace_back(low, n);
      return;
    }
    divide(low, n / 2, leaves, merges);
    divide(low + n / 2 + 1, n - n / 2 - 1, leaves, merges);
    merges.emplace_back(low, n);
  }

  Status whole(Context& context, int64_t low, int64_t n) {
    if (n == 0) {
      first_[static_cast<size_t>(low)] = last_[static_cast<size_t>(low)] = 1;
      if (v_ != nullptr) v_[low * stride_ + low] = 1;
      return {};
    }
    PALIMPSEST_TRY(whole(context, low, n / 2));
    PALIMPSEST_TRY(whole(context, low + n / 2 + 1, n - n / 2 - 1));
    return merge(context, low, n);
  }

  // (x, y) ← (cx + sy, cy − sx) of two rows of everything.
  void rotate(int64_t low, int64_t n, int64_t x, int64_t y, double c, double s, bool with_u) {
    const auto turn = [c, s](auto& a, auto& b) {
      using Value = std::remove_reference_t<decltype(a)>;
      const auto cc = static_cast<Value>(c);
      const auto ss = static_cast<Value>(s);
      const Value old = a;
      a = cc * old + ss * b;
      b = cc * b - ss * old;
    };
    turn(first_[static_cast<size_t>(x)], first_[static_cast<size_t>(y)]);
    turn(last_[static_cast<size_t>(x)], last_[static_cast<size_t>(y)]);
    for (int64_t i = low; v_ != nullptr && i <= low + n; ++i) {
      turn(v_[x * stride_ + i], v_[y * stride_ + i]);
    }
    for (int64_t i = low; with_u && u_ != nullptr && i < low + n; ++i) {
      turn(u_[x * n_ + i], u_[y * n_ + i]);
    }
  }

  // Rows [low, low + n), columns [low, low + n].
  Status merge(Context& context, int64_t low, int64_t n) {
    const int64_t middle = low + n / 2;
    const double alpha = diagonal_[middle];
    const double beta = middle < n_ - 1 ? super_[middle] : 0;
    std::vector<Entry> entries;
    entries.reserve(static_cast<size_t>(n));
    double norm = std::max(std::fabs(alpha), std::fabs(beta));
    for (int64_t row = low; row < low + n; ++row) {
      if (row == middle) continue;
      const auto i = static_cast<size_t>(row);
      entries.push_back(row < middle ? Entry{d_[i], alpha * last_[i], row, kTop}
                                     : Entry{d_[i], beta * first_[i], row, kBottom});
      norm = std::max(norm, d_[i]);
    }
    // The two vectors that the halves do not see: one combination is met by the row taken out, the
    // other stays unseen.
    Entry head{0, 0, middle, kTop};
    const double z1 = alpha * last_[static_cast<size_t>(middle)];
    const double z2 = beta * first_[static_cast<size_t>(low + n)];
    // From here on components count at the ends of the whole.
    for (int64_t row = low; row <= low + n; ++row) {
      (row <= middle ? last_ : first_)[static_cast<size_t>(row)] = 0;
    }
    const double tolerance = 8 * static_cast<double>(std::numeric_limits<T>::epsilon()) / 2 * norm;
    head.z = std::hypot(z1, z2);
    if (head.z <= tolerance) {
      // Not zero, so that the equation keeps its first root.
      constexpr double kEps = std::numeric_limits<double>::epsilon();
      head.z = std::max(head.z, kEps * kEps * norm);
    } else if (z2 != 0) {
      rotate(low, n, middle, low + n, z1 / head.z, z2 / head.z, false);
      head.side = kBoth;
    } else if (z1 < 0) {
      rotate(low, n, middle, low + n, -1, 0, false);
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return a.d < b.d || (a.d == b.d && a.row < b.row);
    });

    std::vector<Entry> kept{head};  // the head changes until all is seen
    std::vector<Entry> deflated;
    Entry* previous = nullptr;
    for (Entry& entry : entries) {
      if (std::fabs(entry.z) <= tolerance) {
        deflated.push_back(entry);
        continue;
      }
      if (entry.d <= tolerance) {
        // As good as zero: the row taken out can be met by the head alone.
        const double length = std::hypot(head.z, entry.z);
        rotate(low, n, middle, entry.row, head.z / length, entry.z / length, false);
        head.z = length;
        if (head.side != entry.side) head.side = kBoth;
        entry.d = 0;
        deflated.push_back(entry);
        continue;
      }
      if (previous != nullptr && entry.d - previous->d <= tolerance) {
        const double length = std::hypot(entry.z, previous->z);
        rotate(low, n, previous->row, entry.row, entry.z / length, -previous->z / length, true);
        entry.z = length;
        if (entry.side != previous->side) entry.side = kBoth;
        deflated.push_back(*previous);
      } else if (previous != nullptr) {
        kept.push_back(*previous);
      }
      previous = &entry;
    }
    if (previous != nullptr) kept.push_back(*previous);
    kept[0] = head;
    return combine(context, low, n, norm, kept, deflated);
  }

  Status combine(Context& context, int64_t low, int64_t n, double norm, std::vector<Entry>& kept,
                 const std::vector<Entry>& deflated) {
    const auto k = static_cast<int64_t>(kept.size());
    const Workspace::Scope scope(context.workspace);
    auto* const d = context.workspace.take<double>(k);
    auto* const z = context.workspace.take<double>(k);
    auto* const sigma = context.workspace.take<double>(k);
    const double unit = norm > 0 ? norm : 1;
    for (int64_t j = 0; j < k; ++j) {
      d[j] = kept[static_cast<size_t>(j)].d / unit;
      z[j] = kept[static_cast<size_t>(j)].z / unit;
    }
    // Groups by the part of the columns that is not zero; the order of products' terms.
    std::vector<int64_t> order(static_cast<size_t>(k));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return kept[static_cast<size_t>(a)].side < kept[static_cast<size_t>(b)].side;
    });
    T* const right = v_ != nullptr ? context.workspace.take<T>(k * k) : nullptr;
    T* const left = u_ != nullptr ? context.workspace.take<T>(k * k) : nullptr;
    std::vector<double> firsts(static_cast<size_t>(k)), lasts(static_cast<size_t>(k));
    if (k == 1) {
      sigma[0] = z[0];
      if (right != nullptr) right[0] = 1;
      if (left != nullptr) left[0] = 1;
      firsts[0] = first_[static_cast<size_t>(kept[0].row)];
      lasts[0] = last_[static_cast<size_t>(kept[0].row)];
    } else {
      vectors(context, k, d, z, kept, order, sigma, left, right, firsts, lasts);
    }
    PALIMPSEST_TRY(replace(context, low, n, kept, deflated, order, left, right));
    // The new values, and what goes on to the next merge.
    std::vector<double> old_first, old_last;
    for (const Entry& entry : deflated) {
      old_first.push_back(first_[static_cast<size_t>(entry.row)]);
      old_last.push_back(last_[static_cast<size_t>(entry.row)]);
    }
    for (int64_t i = 0; i < k; ++i) {
      const auto row = static_cast<size_t>(low + i);
      d_[row] = sigma[i] * unit;
      first_[row] = firsts[static_cast<size_t>(i)];
      last_[row] = lasts[static_cast<size_t>(i)];
    }
    for (size_t i = 0; i < deflated.size(); ++i) {
      const auto row = static_cast<size_t>(low + k) + i;
      d_[row] = deflated[i].d;
      first_[row] = old_first[i];
      last_[row] = old_last[i];
    }
    return {};
  }

  // Row i of `right` and `left`: the arrow's i-th singular vectors, components in `order`.
  void vectors(Context& context, int64_t k, const double* d, double* z,
               const std::vector<Entry>& kept, const std::vector<int64_t>& order, double* sigma,
               T* left, T* right, std::vector<double>& firsts, std::vector<double>& lasts) {
    const Secular secular(d, z, k);
    std::vector<Root> roots(static_cast<size_t>(k));
    context.parallel_chunks(k, kRootsATask, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Root root = secular.solve(i);
        roots[static_cast<size_t>(i)] = root;
        sigma[i] = std::sqrt(d[root.origin] * d[root.origin] + root.mu);
      }
    });
    // ẑⱼ² = (σ²_{k−1} − dⱼ²) Π_{i<j} (σᵢ² − dⱼ²)/(dᵢ² − dⱼ²) Π_{j≤i<k−1} (σᵢ² − dⱼ²)/(dᵢ₊₁² − dⱼ²).
    context.parallel_chunks(k, kRootsATask, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        double value = -secular.distance(j, roots[static_cast<size_t>(k - 1)]);
        for (int64_t i = 0; i + 1 < k; ++i) {
          const int64_t pole = i < j ? i : i + 1;
          value *= -secular.distance(j, roots[static_cast<size_t>(i)]) /
                   ((d[pole] - d[j]) * (d[pole] + d[j]));
        }
        z[j] = std::copysign(std::sqrt(std::fabs(value)), z[j]);
      }
    });
    context.parallel_chunks(k, kRootsATask, [&](int64_t begin, int64_t end) {
      std::vector<double> v(static_cast<size_t>(k));
      for (int64_t i = begin; i < end; ++i) {
        double squares = 0;
        double left_squares = 1;
        double first = 0;
        double last = 0;
        for (int64_t j = 0; j < k; ++j) {
          const auto at = static_cast<size_t>(j);
          v[at] = z[j] / secular.distance(j, roots[static_cast<size_t>(i)]);
          squares += v[at] * v[at];
          left_squares += (d[j] * v[at]) * (d[j] * v[at]);
          first += v[at] * first_[static_cast<size_t>(kept[at].row)];
          last += v[at] * last_[static_cast<size_t>(kept[at].row)];
        }
        const double scale = 1 / std::sqrt(squares);
        const double left_scale = 1 / std::sqrt(left_squares);
        firsts[static_cast<size_t>(i)] = first * scale;
        lasts[static_cast<size_t>(i)] = last * scale;
        for (int64_t p = 0; p < k; ++p) {
          const int64_t j = order[static_cast<size_t>(p)];
          const double value = v[static_cast<size_t>(j)];
          if (right != nullptr) right[i * k + p] = static_cast<T>(value * scale);
          if (left != nullptr) {
            left[i * k + p] = static_cast<T>((j == 0 ? -1 : d[j] * value) * left_scale);
          }
        }
      }
    });
  }

  // out [rows × cols] = q [rows × depth] · w [depth × cols].
  static Status times(Context& context, const T* q, int64_t q_stride, const T* w, int64_t w_stride,
                      T* out, int64_t out_stride, int64_t rows, int64_t depth, int64_t cols) {
    if (rows > kSmallProduct || cols > kSmallProduct) {
      return product(context, strided(q, rows, depth, q_stride), strided(w, depth, cols, w_stride),
                     strided(out, rows, cols, out_stride));
    }
    for (int64_t i = 0; i < rows; ++i) {
      T* const to = out + i * out_stride;
      std::fill(to, to + cols, T(0));
      for (int64_t j = 0; j < depth; ++j) {
        const T factor = q[i * q_stride + j];
        for (int64_t c = 0; c < cols; ++c) to[c] += factor * w[j * w_stride + c];
      }
    }
    return {};
  }

  // The rows of one matrix of vectors become combinations of the old ones; deflated rows follow.
  // Columns [0, split) are those of the upper half, [split, width) of the lower.
  Status turn_rows(Context& context, T* base, int64_t stride, int64_t split, int64_t lower,
                   int64_t width, const std::vector<int64_t>& rows, const std::vector<Side>& sides,
                   const std::vector<int64_t>& rest, const T* q, int64_t q_stride, int64_t count) {
    const auto depth = static_cast<int64_t>(rows.size());
    const auto others = static_cast<int64_t>(rest.size());
    const Workspace::Scope scope(context.workspace);
    T* const copy = context.workspace.take<T>((depth + others) * width);
    int64_t top = 0;
    int64_t above = 0;
    for (int64_t i = 0; i < depth; ++i) {
      const Side side = sides[static_cast<size_t>(i)];
      top += side != kBottom;
      above += side == kTop;
    }
    context.parallel_chunks(depth + others, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i < depth ? rows[static_cast<size_t>(i)] : rest[static_cast<size_t>(i - depth)];
        std::memcpy(copy + i * width, base + row * stride, static_cast<size_t>(width) * sizeof(T));
      }
    });
    PALIMPSEST_TRY(times(context, q, q_stride, copy, width, base, stride, count, top, split));
    PALIMPSEST_TRY(times(context, q + above, q_stride, copy + above * width + lower, width,
                         base + lower, stride, count, depth - above, width - lower));
    context.parallel_chunks(others, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::memcpy(base + (count + i) * stride, copy + (depth + i) * width,
                    static_cast<size_t>(width) * sizeof(T));
      }
    });
    return {};
  }

  Status replace(Context& context, int64_t low, int64_t n, const std::vector<Entry>& kept,
                 const std::vector<Entry>& deflated, const std::vector<int64_t>& order,
                 const T* left, const T* right) {
    const auto k = static_cast<int64_t>(kept.size());
    const int64_t half = n / 2;
    std::vector<int64_t> rows, rest;
    std::vector<Side> sides;
    for (const Entry& entry : deflated) rest.push_back(entry.row - low);
    for (int64_t j : order) {
      rows.push_back(kept[static_cast<size_t>(j)].row - low);
      sides.push_back(kept[static_cast<size_t>(j)].side);
    }
    if (v_ != nullptr) {
      PALIMPSEST_TRY(turn_rows(context, v_ + low * stride_ + low, stride_, half + 1, half + 1, n + 1,
                               rows, sides, rest, right, k, k));
    }
    if (u_ == nullptr) return {};
    // The row taken out has no left vector among the halves': its component stands alone.
    int64_t head = 0;
    while (order[static_cast<size_t>(head)] != 0) ++head;
    std::vector<T> alone(static_cast<size_t>(k));
    const Workspace::Scope scope(context.workspace);
    T* const others = context.workspace.take<T>(k * std::max<int64_t>(1, k - 1));
    for (int64_t i = 0; i < k; ++i) {
      alone[static_cast<size_t>(i)] = left[i * k + head];
      for (int64_t p = 0, to = 0; p < k; ++p) {
        if (p != head) others[i * (k - 1) + to++] = left[i * k + p];
      }
    }
    rows.erase(rows.begin() + head);
    sides.erase(sides.begin() + head);
    T* const base = u_ + low * n_ + low;
    PALIMPSEST_TRY(turn_rows(context, base, n_, half, half + 1, n, rows, sides, rest, others, k - 1, k));
    for (int64_t i = 0; i < k; ++i) base[i * n_ + half] = alone[static_cast<size_t>(i)];
    for (int64_t i = k; i < n; ++i) base[i * n_ + half] = 0;
    return {};
  }

  int64_t n_;
  const double* diagonal_;
  const double* super_;
  T* u_;
  T* v_;
  int64_t stride_;
  std::vector<double> d_, first_, last_;
};

}  // namespace

template <typename T>
Status bidiagonal_svd(Context& context, int64_t n, double* d, const double* e, T* u, T* v) {
  double scale = 0;
  for (int64_t i = 0; i < n; ++i) scale = std::max(scale, std::fabs(d[i]));
  for (int64_t i = 0; i + 1 < n; ++i) scale = std::max(scale, std::fabs(e[i]));
  const auto identity = [n](T* m) {
    if (m == nullptr) return;
    std::fill(m, m + n * n, T(0));
    for (int64_t i = 0; i < n; ++i) m[i * (n + 1)] = 1;
  };
  if (scale == 0) {
    identity(u);
    identity(v);
    return {};
  }
  const Workspace::Scope scope(context.workspace);
  auto* const diagonal = context.workspace.take<double>(n);
  auto* const super = context.workspace.take<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    diagonal[i] = d[i] / scale;
    super[i] = i + 1 < n ? e[i] / scale : 0;
  }
  T* const left = u != nullptr ? context.workspace.take<T>(n * n) : nullptr;
  T* const right = v != nullptr ? context.workspace.take<T>((n + 1) * (n + 1)) : nullptr;
  if (left != nullptr) std::fill(left, left + n * n, T(0));
  if (right != nullptr) std::fill(right, right + (n + 1) * (n + 1), T(0));
  Solver<T> solver(n, diagonal, super, left, right);
  PALIMPSEST_TRY(solver.run(context));
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return solver.value(a) > solver.value(b) || (solver.value(a) == solver.value(b) && a < b);
  });
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = order[static_cast<size_t>(i)];
    d[i] = solver.value(row) * scale;
    if (u != nullptr) std::copy(left + row * n, left + (row + 1) * n, u + i * n);
    // Column n is the one that the missing last superdiagonal entry cuts off.
    if (v != nullptr) std::copy(right + row * (n + 1), right + row * (n + 1) + n, v + i * n);
  }
  return {};
}

template Status bidiagonal_svd(Context&, int64_t, double*, const double*, float*, float*);
template Status bidiagonal_svd(Context&, int64_t, double*, const double*, double*, double*);

}  // namespace palimpsest
