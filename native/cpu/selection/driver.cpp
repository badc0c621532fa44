// Exact selection in one read, mostly. A sample of the scores (whole cache lines, evenly spread) gives
// two bounds between which the k-th largest lies unless six standard deviations are exceeded; one
// sweep over all scores writes the bits of those at or above the upper bound and keeps the few between
// the bounds; the k-th of these is found by histograms, and their bits are set. Where the bounds
// failed, or many equal scores overfill the room, a bound that the sample names is tried, then the
// k-th is found by a radix search over everything. Work is cut by size alone.

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/selection/rows.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kChunk = 1 << 16;       // entries a task
constexpr int64_t kRoom = kChunk / 16;    // entries between the bounds that a task can keep
constexpr int64_t kSmall = 1 << 14;       // fewer entries are searched directly
constexpr int kDigit = 11;                // bits of a histogram
constexpr int64_t kBins = 1 << kDigit;
constexpr int64_t kLine = 16;             // entries read in a row by the sample

// Keys order as the scores do; −0 has the key of +0.
inline uint32_t key_of(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  if (bits == 0x80000000u) return 0x80000000u;
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
inline uint64_t key_of(double v) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  const auto bits = std::bit_cast<uint64_t>(v);
  if (bits == kSign) return kSign;
  return bits ^ ((bits >> 63) != 0 ? ~uint64_t{0} : kSign);
}
inline float score_of(uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}
inline double score_of(uint64_t key) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  return std::bit_cast<double>(key ^ ((key >> 63) != 0 ? kSign : ~uint64_t{0}));
}

// From the top, the bin that holds rank `k` (from 1); k becomes the rank within it.
template <typename Count>
int64_t bin_of(const Count* bins, int64_t& k) {
  for (int64_t b = kBins - 1; b >= 0; --b) {
    const auto count = static_cast<int64_t>(bins[b]);
    if (k <= count) return b;
    k -= count;
  }
  return 0;
}

// The k-th largest of n keys (k from 1), which are rearranged.
template <typename U>
U kth_largest(U* keys, int64_t n, int64_t k) {
  while (n > 256) {
    const auto [low, high] = std::minmax_element(keys, keys + n);
    const U base = *low;
    const U range = *high - base;
    if (range == 0) return base;
    const int bits = std::bit_width(range);
    const int shift = bits > kDigit ? bits - kDigit : 0;
    uint32_t bins[kBins] = {};
    for (int64_t i = 0; i < n; ++i) ++bins[(keys[i] - base) >> shift];
    const auto bin = static_cast<U>(bin_of(bins, k));
    if (shift == 0) return base + bin;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      const U key = keys[i];
      if ((key - base) >> shift == bin) keys[kept++] = key;
    }
    n = kept;
  }
  std::nth_element(keys, keys + (k - 1), keys + n, [](U a, U b) { return a > b; });
  return keys[k - 1];
}

// Several ranks at once, without rearranging the keys.
template <typename U, size_t kRanks>
void ranked(const U* keys, int64_t n, const int64_t (&ranks)[kRanks], U (&result)[kRanks]) {
  U low = keys[0], high = keys[0];
  for (int64_t i = 1; i < n; ++i) {
    low = std::min(low, keys[i]);
    high = std::max(high, keys[i]);
  }
  const int bits = std::bit_width(static_cast<U>(high - low));
  const int shift = bits > kDigit ? bits - kDigit : 0;
  uint32_t bins[kBins] = {};
  for (int64_t i = 0; i < n; ++i) ++bins[(keys[i] - low) >> shift];
  std::vector<U> members[kRanks];
  int64_t left[kRanks];
  U bin[kRanks];
  for (size_t r = 0; r < kRanks; ++r) {
    left[r] = ranks[r];
    bin[r] = static_cast<U>(bin_of(bins, left[r]));
  }
  for (int64_t i = 0; i < n; ++i) {
    const U mine = (keys[i] - low) >> shift;
    for (size_t r = 0; r < kRanks; ++r) {
      if (mine == bin[r]) members[r].push_back(keys[i]);
    }
  }
  for (size_t r = 0; r < kRanks; ++r) {
    result[r] = kth_largest(members[r].data(), static_cast<int64_t>(members[r].size()), left[r]);
  }
}

struct Chunk {
  const SelectPiece* piece;
  int64_t begin, n;
  int64_t kept = 0;         // entries between the bounds
  int64_t ties = 0, quota = 0;
};

const Status kNaN(Code::numerical, "'scores' hold NaN, which has no place in an order");

template <typename V>
class Selection {
  using Key = decltype(key_of(V{}));

 public:
  Selection(Context& context, const SelectArgs& args, const SelectionRow<V>& row)
      : context_(context),
        args_(args),
        row_(row),
        form_{args.magnitude, !args.largest},
        width_(static_cast<int64_t>(size_of(args.dtype))) {
    for (int64_t p = 0; p < args.count; ++p) {
      const SelectPiece& piece = args.pieces[p];
      total_ += piece.n;
      for (int64_t begin = 0; begin < piece.n; begin += kChunk) {
        chunks_.push_back({&piece, begin, std::min(kChunk, piece.n - begin)});
      }
    }
  }

  Status run() {
    const int64_t k = args_.k;
    if (args_.threshold != nullptr) *args_.threshold = std::numeric_limits<double>::quiet_NaN();
    if (total_ == 0) return {};
    if (k == 0) {
      PALIMPSEST_TRY(mark(V{}));
      fill_masks(false);
      return {};
    }
    if (total_ <= kSmall) {
      const Workspace::Scope scope(context_.workspace);
      auto* keys = context_.workspace.take<Key>(total_);
      int64_t at = 0;
      for (const Chunk& chunk : chunks_) {
        if (!keys_of(chunk, 0, chunk.n, keys + at)) return kNaN;
        at += chunk.n;
      }
      return finish(score_of(kth_largest(keys, total_, k)));
    }
    return by_sample();
  }

 private:
  const void* at(const Chunk& chunk, int64_t i = 0) const {
    return static_cast<const std::byte*>(chunk.piece->x) + (chunk.begin + i) * width_;
  }
  static uint64_t* mask(const Chunk& chunk) { return chunk.piece->mask + chunk.begin / 64; }

  // False where one is NaN.
  bool keys_of(const Chunk& chunk, int64_t begin, int64_t end, Key* keys) const {
    V block[256];
    bool fine = true;
    for (int64_t i = begin; i < end; i += 256) {
      const int64_t count = std::min<int64_t>(256, end - i);
      row_.values(at(chunk, i), count, form_, block);
      for (int64_t j = 0; j < count; ++j) {
        fine = fine && block[j] == block[j];
        *keys++ = key_of(block[j]);
      }
    }
    return fine;
  }

  void fill_masks(bool on) {
    for (const Chunk& chunk : chunks_) {
      std::fill_n(mask(chunk), (chunk.n + 63) / 64, on ? ~uint64_t{0} : 0);
      if (on && chunk.n % 64 != 0) mask(chunk)[chunk.n / 64] = ~uint64_t{0} >> (64 - chunk.n % 64);
    }
  }

  Status by_sample() {
    const int64_t k = args_.k;
    const Workspace::Scope scope(context_.workspace);
    const int64_t wanted = std::clamp<int64_t>(total_ / 64, 2048, 1 << 16);
    auto* sample = context_.workspace.take<Key>(wanted + kLine);
    const int64_t s = draw_sample(wanted, sample);
    if (s == 0) return kNaN;
    const double p = static_cast<double>(k) / static_cast<double>(total_);
    const double rank = p * static_cast<double>(s);
    const double margin = 6 * std::sqrt(static_cast<double>(s) * p * (1 - p)) + 4;
    constexpr V kInf = std::numeric_limits<V>::infinity();
    const auto last = static_cast<double>(s);
    const auto place = [&](double r) { return static_cast<int64_t>(std::clamp(r, 1.0, last)); };
    Key keys[3];
    ranked(sample, s, {place(rank - margin), place(std::ceil(rank)), place(rank + margin)}, keys);
    const V high = rank - margin < 1 ? kInf : score_of(keys[0]);
    const V guess = score_of(keys[1]);
    const V low = rank + margin > last ? -kInf : score_of(keys[2]);

    const auto chunk_count = static_cast<int64_t>(chunks_.size());
    auto* values = context_.workspace.take<V>(chunk_count * kRoom);
    auto* indices = context_.workspace.take<uint32_t>(chunk_count * kRoom);
    std::vector<Swept> swept(chunks_.size());
    context_.parallel(chunk_count, [&](int64_t c) {
      const Chunk& chunk = chunks_[c];
      swept[c] = row_.sweep(at(chunk), chunk.n, form_, low, high, mask(chunk), values + c * kRoom,
                            indices + c * kRoom, kRoom);
    });
    int64_t upper = 0, above = 0;
    bool overfull = false;
    for (int64_t c = 0; c < chunk_count; ++c) {
      if (swept[c].nan) return kNaN;
      upper += swept[c].upper;
      above += swept[c].above;
      chunks_[c].kept = swept[c].above - swept[c].upper;
      // The sweep stops keeping when fewer than 64 places are left.
      overfull = overfull || chunks_[c].kept > kRoom - 64;
    }
    if (upper < k && k <= above && !overfull) {
      choose_between(k - upper, low, high, values, indices);
      return {};
    }
    // The k-th may be one of many equal scores: at a bound, or where the sample's k-th is.
    V bounds[] = {k <= upper ? high : (k > above ? low : guess), guess};
    for (V bound : bounds) {
      PALIMPSEST_TRY(mark(bound));
      if (above_ < k && k <= upper_) {
        give_ties(bound);
        return {};
      }
    }
    return finish(radix_search());
  }

  // Whole lines, evenly spread over everything; 0 where one score is NaN.
  int64_t draw_sample(int64_t wanted, Key* sample) const {
    struct Line {
      const Chunk* chunk;
      int64_t begin;
    };
    std::vector<Line> lines(static_cast<size_t>(wanted / kLine));
    const auto line_count = static_cast<double>(lines.size());
    size_t c = 0;
    int64_t before = 0;  // entries before chunk c
    for (size_t i = 0; i < lines.size(); ++i) {
      // Steps of irregular length, so that no period of the data is met every time.
      const double turn = static_cast<double>(i) * 0.6180339887498949;
      const double place = (static_cast<double>(i) + (turn - std::floor(turn))) / line_count *
                           static_cast<double>(total_);
      const int64_t entry = std::min(static_cast<int64_t>(place), total_ - 1);
      while (entry >= before + chunks_[c].n) before += chunks_[c++].n;
      lines[i] = {&chunks_[c], (entry - before) / kLine * kLine};
    }
    constexpr size_t kAhead = 16;
    int64_t count = 0;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (i + kAhead < lines.size()) {
        __builtin_prefetch(at(*lines[i + kAhead].chunk, lines[i + kAhead].begin));
      }
      const auto [chunk, begin] = lines[i];
      const int64_t end = std::min(begin + kLine, chunk->n);
      if (!keys_of(*chunk, begin, end, sample + count)) return 0;
      count += end - begin;
    }
    return count;
  }

  // Sets the bits of the `k` largest of the entries that the sweep kept.
  void choose_between(int64_t k, V low, V high, const V* values, const uint32_t* indices) {
    const Key base = key_of(low);
    const int bits = std::bit_width(static_cast<Key>(key_of(high) - base));
    const int shift = bits > kDigit ? bits - kDigit : 0;
    const auto chunk_count = static_cast<int64_t>(chunks_.size());
    const int64_t tasks = std::min<int64_t>(chunk_count, 16);
    const auto range = [&](int64_t task) { return task * chunk_count / tasks; };
    std::vector<uint32_t> bins(static_cast<size_t>(tasks * kBins));
    context_.parallel(tasks, [&](int64_t task) {
      uint32_t* mine = bins.data() + task * kBins;
      for (int64_t c = range(task); c < range(task + 1); ++c) {
        const V* v = values + c * kRoom;
        for (int64_t i = 0; i < chunks_[c].kept; ++i) ++mine[(key_of(v[i]) - base) >> shift];
      }
    });
    for (int64_t task = 1; task < tasks; ++task) {
      for (int64_t b = 0; b < kBins; ++b) bins[b] += bins[task * kBins + b];
    }
    int64_t left = k;
    const auto bin = static_cast<Key>(bin_of(bins.data(), left));
    std::vector<std::vector<Key>> found(static_cast<size_t>(tasks));
    context_.parallel(tasks, [&](int64_t task) {
      for (int64_t c = range(task); c < range(task + 1); ++c) {
        const V* v = values + c * kRoom;
        for (int64_t i = 0; i < chunks_[c].kept; ++i) {
          const Key key = key_of(v[i]);
          if ((key - base) >> shift == bin) found[task].push_back(key);
        }
      }
    });
    std::vector<Key> keys;
    for (const auto& part : found) keys.insert(keys.end(), part.begin(), part.end());
    const V bound = score_of(kth_largest(keys.data(), static_cast<int64_t>(keys.size()), left));
    std::vector<int64_t> set(chunks_.size());
    context_.parallel(tasks, [&](int64_t task) {
      for (int64_t c = range(task); c < range(task + 1); ++c) {
        Chunk& chunk = chunks_[c];
        const V* v = values + c * kRoom;
        const uint32_t* index = indices + c * kRoom;
        uint64_t* words = mask(chunk);
        int64_t ties = 0, more = 0;
        for (int64_t i = 0; i < chunk.kept; ++i) {
          const uint64_t larger = v[i] > bound;
          words[index[i] / 64] |= larger << (index[i] % 64);
          more += static_cast<int64_t>(larger);
          ties += v[i] == bound;
        }
        chunk.ties = ties;
        set[c] = more;
      }
    });
    int64_t rest = k;
    for (int64_t more : set) rest -= more;
    for (size_t c = 0; c < chunks_.size() && rest > 0; ++c) {
      const V* v = values + c * kRoom;
      const uint32_t* index = indices + c * kRoom;
      for (int64_t i = 0; chunks_[c].ties > 0 && rest > 0 && i < chunks_[c].kept; ++i) {
        if (v[i] != bound) continue;
        mask(chunks_[c])[index[i] / 64] |= uint64_t{1} << (index[i] % 64);
        --rest;
      }
    }
    report(bound);
  }

  // Bits of v > bound; counts of v > bound and v ≥ bound, in all and by chunk.
  Status mark(V bound) {
    std::vector<Swept> swept(chunks_.size());
    context_.parallel(static_cast<int64_t>(chunks_.size()), [&](int64_t c) {
      swept[c] = row_.mark(at(chunks_[c]), chunks_[c].n, form_, bound, mask(chunks_[c]));
    });
    above_ = upper_ = 0;
    for (size_t c = 0; c < chunks_.size(); ++c) {
      if (swept[c].nan) return kNaN;
      above_ += swept[c].above;
      upper_ += swept[c].upper;
      chunks_[c].ties = swept[c].upper - swept[c].above;
    }
    return {};
  }

  // After mark(bound): sets the bits of the first entries that equal it, until k are set.
  void give_ties(V bound) {
    int64_t left = args_.k - above_;
    for (Chunk& chunk : chunks_) {
      chunk.quota = std::min(left, chunk.ties);
      left -= chunk.quota;
    }
    context_.parallel(static_cast<int64_t>(chunks_.size()), [&](int64_t c) {
      const Chunk& chunk = chunks_[c];
      int64_t quota = chunk.quota;
      V block[256];
      for (int64_t i = 0; quota > 0 && i < chunk.n; i += 256) {
        const int64_t count = std::min<int64_t>(256, chunk.n - i);
        row_.values(at(chunk, i), count, form_, block);
        for (int64_t j = 0; quota > 0 && j < count; ++j) {
          const bool tie = block[j] == bound;
          mask(chunk)[(i + j) / 64] |= static_cast<uint64_t>(tie) << ((i + j) % 64);
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
      *args_.threshold = static_cast<double>(form_.negate ? -bound : bound) + 0.0;
    }
  }

  // The k-th largest, digit by digit over all entries.
  V radix_search() {
    constexpr int kBits = static_cast<int>(sizeof(Key)) * 8;
    const auto chunk_count = static_cast<int64_t>(chunks_.size());
    const int64_t tasks = std::min<int64_t>(chunk_count, 16);
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
        for (int64_t c = task * chunk_count / tasks; c < (task + 1) * chunk_count / tasks; ++c) {
          for (int64_t i = 0; i < chunks_[c].n; i += 256) {
            const int64_t end = std::min(i + 256, chunks_[c].n);
            keys_of(chunks_[c], i, end, keys);
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
  const SelectionRow<V>& row_;
  const ScoreForm form_;
  const int64_t width_;
  int64_t total_ = 0;
  int64_t above_ = 0, upper_ = 0;
  std::vector<Chunk> chunks_;
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
