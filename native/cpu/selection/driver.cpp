// Exact selection in one read, mostly. A sample of the scores gives two bounds between which the k-th
// largest very likely lies (bracket.h); one sweep over all scores writes the bits of those at or above the
// upper bound and keeps the few between the bounds; the k-th of these is found by a histogram, and their
// bits are set. Where the bounds failed, a second sweep goes from the bound that failed to a wider one;
// where many scores are equal, a bound that the sample names is tried, then the k-th is found by a radix
// search over everything. Work is cut by size alone.

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/selection/bracket.h"
#include "cpu/selection/scores.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kSmall = 1 << 14;  // fewer entries are searched directly
// The first bounds fail once in two thousand times; then they are this many times wider.
constexpr double kDeviations = 3.5;
constexpr double kWide = 5;

const Status kNaN(Code::numerical, "'scores' hold NaN, which has no place in an order");

// What a sweep keeps of a chunk: scores and places of the entries between the bounds.
template <typename V>
struct Kept {
  V* values;
  uint32_t* indices;
  int64_t room, count;
};

template <typename V>
class Selection {
  using Key = typename Scores<V>::Key;

 public:
  Selection(Context& context, const SelectArgs& args, const SelectionRow<V>& row)
      : context_(context), args_(args), scores_(args, row), ties_(scores_.chunks.size()) {}

  Status run() {
    const int64_t k = args_.k;
    if (args_.threshold != nullptr) *args_.threshold = std::numeric_limits<double>::quiet_NaN();
    if (scores_.total == 0) return {};
    if (k == 0) {
      PALIMPSEST_TRY(mark(V{}));
      for (const Chunk& chunk : scores_.chunks) std::fill_n(scores_.mask(chunk), (chunk.n + 63) / 64, 0);
      return {};
    }
    const Workspace::Scope scope(context_.workspace);
    if (scores_.total <= kSmall) {
      auto* keys = context_.workspace.take<Key>(scores_.total);
      for (const Chunk& chunk : scores_.chunks) {
        if (!scores_.keys_of(chunk, 0, chunk.n, keys + chunk.before)) return kNaN;
      }
      return finish(score_of(kth_largest(keys, scores_.total, k)));
    }
    return by_sample();
  }

 private:
  int64_t chunk_count() const { return static_cast<int64_t>(scores_.chunks.size()); }

  Status by_sample() {
    const int64_t k = args_.k;
    Sample<V> sample(context_, scores_);
    if (!sample.draw(k)) return kNaN;
    const Bracket<V> b = sample.bracket(kDeviations);
    // Twice what is expected, as chunks differ; of those that differ more make_room() takes care.
    const int64_t room = std::min(kChunk, static_cast<int64_t>(2 * b.part * static_cast<double>(kChunk))) + 128;
    auto* values = context_.workspace.take<V>(chunk_count() * room);
    auto* indices = context_.workspace.take<uint32_t>(chunk_count() * room);
    kept_.resize(scores_.chunks.size());
    for (int64_t c = 0; c < chunk_count(); ++c) kept_[c] = {values + c * room, indices + c * room, room, 0};
    V low = b.low, high = b.high;
    for (int sweeps = 0;; ++sweeps) {
      std::vector<Swept> swept(scores_.chunks.size());
      context_.parallel(chunk_count(), [&](int64_t c) { swept[c] = sweep(c, low, high); });
      upper_ = above_ = 0;
      for (int64_t c = 0; c < chunk_count(); ++c) {
        if (swept[c].nan) return kNaN;
        upper_ += swept[c].upper;
        above_ += swept[c].above;
        kept_[c].count = swept[c].above - swept[c].upper;
      }
      if (upper_ < k && k <= above_) {
        if (!make_room(low, high)) break;
        choose_between(k - upper_, low, high);
        return {};
      }
      const bool end = k <= upper_ ? std::isinf(high) : std::isinf(low);
      if (sweeps > 0 || b.tied || end) break;
      const Bracket<V> wide = sample.bracket(kWide * kDeviations);
      if (k <= upper_) {
        low = before(high);
        high = std::max(wide.high, high);
      } else {
        high = after(low);
        low = std::min(wide.low, low);
      }
    }
    // The k-th may be one of many equal scores: at a bound, or where the sample's k-th is.
    V bounds[] = {k <= upper_ ? high : (k > above_ ? low : b.guess), b.guess};
    for (V bound : bounds) {
      PALIMPSEST_TRY(mark(bound));
      if (above_ < k && k <= upper_) {
        give_ties(bound);
        return {};
      }
    }
    return finish(radix_search());
  }

  Swept sweep(int64_t c, V low, V high) const {
    const Chunk& chunk = scores_.chunks[c];
    const Kept<V>& kept = kept_[c];
    return scores_.row.sweep(scores_.at(chunk), chunk.n, scores_.form, low, high, scores_.mask(chunk), kept.values,
                             kept.indices, kept.room);
  }

  // Sweeps chunks again that had more between the bounds than room for it (scores that are sorted lie all
  // in a few); false where that would take much memory.
  bool make_room(V low, V high) {
    std::vector<int64_t> full;
    int64_t needed = 0;
    for (int64_t c = 0; c < chunk_count(); ++c) {
      // The sweep stops keeping when fewer than 64 places are left.
      if (kept_[c].count <= kept_[c].room - 64) continue;
      full.push_back(c);
      needed += kept_[c].count + 64;
    }
    if (full.empty()) return true;
    if (needed > std::max(scores_.total / 8, 4 * kChunk)) return false;
    auto* values = context_.workspace.take<V>(needed);
    auto* indices = context_.workspace.take<uint32_t>(needed);
    for (int64_t c : full) {
      const int64_t room = kept_[c].count + 64;
      kept_[c] = {values, indices, room, kept_[c].count};
      values += room;
      indices += room;
    }
    context_.parallel(static_cast<int64_t>(full.size()), [&](int64_t i) { sweep(full[i], low, high); });
    return true;
  }

  static void set_bit(uint64_t* words, uint32_t index, bool on) {
    words[index / 64] |= static_cast<uint64_t>(on) << (index % 64);
  }

  // Sets the bits of the `k` largest of the entries that the sweep kept.
  void choose_between(int64_t k, V low, V high) {
    const Key base = key_of(low);
    const int bits = std::bit_width(static_cast<Key>(key_of(high) - base));
    const int shift = bits > kDigit ? bits - kDigit : 0;
    const int64_t tasks = std::clamp<int64_t>((above_ - upper_) / 4096, 1, std::min<int64_t>(chunk_count(), 16));
    const auto first_chunk = [&](int64_t task) { return task * chunk_count() / tasks; };
    auto* bins = context_.workspace.take<uint32_t>(tasks * kBins);
    context_.parallel(tasks, [&](int64_t task) {
      uint32_t* mine = bins + task * kBins;
      std::fill_n(mine, kBins, 0);
      for (int64_t c = first_chunk(task); c < first_chunk(task + 1); ++c) {
        const V* v = kept_[c].values;
        for (int64_t i = 0; i < kept_[c].count; ++i) ++mine[(key_of(v[i]) - base) >> shift];
      }
    });
    for (int64_t task = 1; task < tasks; ++task) {
      for (int64_t b = 0; b < kBins; ++b) bins[b] += bins[task * kBins + b];
    }
    int64_t left = k;
    const auto bin = static_cast<Key>(bin_of(bins, left));
    // What is in larger bins is on; what is in the same moves together, in order.
    context_.parallel(tasks, [&](int64_t task) {
      for (int64_t c = first_chunk(task); c < first_chunk(task + 1); ++c) {
        Kept<V>& kept = kept_[c];
        uint64_t* words = scores_.mask(scores_.chunks[c]);
        int64_t same = 0;
        for (int64_t i = 0; i < kept.count; ++i) {
          const V v = kept.values[i];
          const uint32_t index = kept.indices[i];
          const auto own = static_cast<Key>((key_of(v) - base) >> shift);
          set_bit(words, index, own > bin);
          kept.values[same] = v;
          kept.indices[same] = index;
          same += own == bin;
        }
        kept.count = same;
      }
    });
    std::vector<Key> keys;
    for (const Kept<V>& kept : kept_) {
      for (int64_t i = 0; i < kept.count; ++i) keys.push_back(key_of(kept.values[i]));
    }
    const V bound = score_of(kth_largest(keys.data(), static_cast<int64_t>(keys.size()), left));
    for (const Kept<V>& kept : kept_) {
      for (int64_t i = 0; i < kept.count; ++i) left -= kept.values[i] > bound;
    }
    for (int64_t c = 0; c < chunk_count(); ++c) {
      const Kept<V>& kept = kept_[c];
      uint64_t* words = scores_.mask(scores_.chunks[c]);
      for (int64_t i = 0; i < kept.count; ++i) {
        const bool tie = kept.values[i] == bound && left > 0;
        left -= tie;
        set_bit(words, kept.indices[i], tie || kept.values[i] > bound);
      }
    }
    report(bound);
  }

  // Bits of v > bound; counts of v > bound and v ≥ bound, in all and by chunk.
  Status mark(V bound) {
    std::vector<Swept> swept(scores_.chunks.size());
    context_.parallel(chunk_count(), [&](int64_t c) {
      const Chunk& chunk = scores_.chunks[c];
      swept[c] = scores_.row.mark(scores_.at(chunk), chunk.n, scores_.form, bound, scores_.mask(chunk));
    });
    above_ = upper_ = 0;
    for (int64_t c = 0; c < chunk_count(); ++c) {
      if (swept[c].nan) return kNaN;
      above_ += swept[c].above;
      upper_ += swept[c].upper;
      ties_[c] = swept[c].upper - swept[c].above;
    }
    return {};
  }

  // After mark(bound): sets the bits of the first entries that equal it, until k are set.
  void give_ties(V bound) {
    int64_t left = args_.k - above_;
    for (int64_t& ties : ties_) {
      ties = std::min(left, ties);
      left -= ties;
    }
    context_.parallel(chunk_count(), [&](int64_t c) {
      const Chunk& chunk = scores_.chunks[c];
      int64_t quota = ties_[c];
      V block[256];
      for (int64_t i = 0; quota > 0 && i < chunk.n; i += 256) {
        const int64_t count = std::min<int64_t>(256, chunk.n - i);
        scores_.row.values(scores_.at(chunk, i), count, scores_.form, block);
        for (int64_t j = 0; quota > 0 && j < count; ++j) {
          const bool tie = block[j] == bound;
          scores_.mask(chunk)[(i + j) / 64] |= static_cast<uint64_t>(tie) << ((i + j) % 64);
          quota -= tie;
        }
      }
    });
    report(bound);
  }

  Status finish(V bound) {
    PALIMPSEST_TRY(mark(bound));
    give_ties(bound);
    return {};
  }

  void report(V bound) {
    if (args_.threshold != nullptr) {
      *args_.threshold = static_cast<double>(scores_.form.negate ? -bound : bound) + 0.0;
    }
  }

  // The k-th largest, digit by digit over all entries.
  V radix_search() {
    constexpr int kBits = static_cast<int>(sizeof(Key)) * 8;
    const int64_t tasks = std::min<int64_t>(chunk_count(), 16);
    std::vector<int64_t> bins(static_cast<size_t>(tasks * kBins));
    Key prefix = 0;
    int64_t k = args_.k;
    for (int done = 0; done < kBits;) {
      const int digit = std::min(kDigit, kBits - done);
      const int shift = kBits - done - digit;
      std::fill(bins.begin(), bins.end(), 0);
      context_.parallel(tasks, [&](int64_t task) {
        Key keys[256];
        int64_t* mine = bins.data() + task * kBins;
        for (int64_t c = task * chunk_count() / tasks; c < (task + 1) * chunk_count() / tasks; ++c) {
          const Chunk& chunk = scores_.chunks[c];
          for (int64_t i = 0; i < chunk.n; i += 256) {
            const int64_t end = std::min(i + 256, chunk.n);
            scores_.keys_of(chunk, i, end, keys);
            for (int64_t j = 0; j < end - i; ++j) {
              const Key beyond = done == 0 ? 0 : (keys[j] ^ prefix) >> (kBits - done);
              mine[(keys[j] >> shift) & ((1 << digit) - 1)] += beyond == 0;
            }
          }
        }
      });
      for (int64_t task = 1; task < tasks; ++task) {
        for (int64_t b = 0; b < kBins; ++b) bins[b] += bins[task * kBins + b];
      }
      prefix |= static_cast<Key>(bin_of(bins.data(), k)) << shift;
      done += digit;
    }
    return score_of(prefix);
  }

  Context& context_;
  const SelectArgs& args_;
  const Scores<V> scores_;
  int64_t above_ = 0, upper_ = 0;
  std::vector<int64_t> ties_;  // equal to a bound, by chunk
  std::vector<Kept<V>> kept_;  // by chunk
};

}  // namespace

Status select_entries(Context& context, const SelectArgs& args, const SelectionRows& rows) {
  switch (args.dtype) {
    case DType::f32: return Selection<float>(context, args, rows.f32).run();
    case DType::bf16: return Selection<float>(context, args, rows.bf16).run();
    case DType::f64: return Selection<double>(context, args, rows.f64).run();
    case DType::i32: return Selection<double>(context, args, rows.i32).run();
    default: return {Code::dtype, "'scores' must be float32, float64, bfloat16 or int32"};
  }
}

}  // namespace palimpsest::cpu
